"""The makemigrations command: backfills in place of questions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management import find_commands
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.commands import makemigrations
from django.db.migrations import Migration
from django.db.migrations.writer import MigrationWriter
from django.db.models import CharField, TextField

from safefield.autodetector import wrap_autodetector
from safefield.checks import allow_unwritten
from safefield.conf import get_configuration
from safefield.grouping import describe_keys
from safefield.linter import spare_from_linter
from safefield.migration_file import get_backfills, is_first_phase, write_stubs
from safefield.operations import AlterFieldWithBackfill
from safefield.phases import find_first_phases
from safefield.populate import function_name, is_unwritten
from safefield.stubs import ImportedStub, Stub

__all__ = ["BackfillCommand", "Command"]

APP_NAME = "safefield"


class BackfillCommand(makemigrations.Command):
    """Django's command, which writes backfills instead of asking questions."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of safefield."""
        super().add_arguments(parser)
        parser.add_argument(
            "--one-off-default",
            action="store_true",
            help=(
                "Ask for one-off defaults as Django does, instead of writing backfills."
            ),
        )

        parser.add_argument(
            "--two-phase",
            action=argparse.BooleanOptionalAction,
            default=None,
            help=(
                "Write two migrations for a new required field: one that adds and "
                "fills it, and one that makes it required, to run when the new code "
                "is live. SAFEFIELD['TWO_PHASE'] is the default."
            ),
        )

    def check(self, *args: Any, **kwargs: Any) -> Any:
        """Run the checks; what is still to be written does not stop the command."""
        with allow_unwritten():
            return super().check(*args, **kwargs)

    def handle(self, *app_labels: Any, **options: Any) -> Any:
        """Run the command with an autodetector that writes backfills."""
        two_phase = options.pop("two_phase", None)
        if options.pop("one_off_default", False):
            return super().handle(*app_labels, **options)
        if options.get("update"):
            if two_phase:
                raise CommandError(
                    "--two-phase writes two migrations, and --update only one. Leave "
                    "one of them out."
                )
            two_phase = False
        elif two_phase is None:
            two_phase = get_configuration().TWO_PHASE
        original = self.autodetector
        # On the instance: on the class it would have to be the same one as on
        # migrate, or Django's check commands.E001 stops both commands,
        # which is why mypy's complaint about a class variable is ignored.
        self.autodetector = wrap_autodetector(  # type: ignore[misc]
            original, two_phase=two_phase
        )
        try:
            return super().handle(*app_labels, **options)
        finally:
            # The same object may be called again.
            self.autodetector = original  # type: ignore[misc]

    def write_migration_files(
        self, changes: dict[str, list[Migration]], *args: Any, **kwargs: Any
    ) -> None:
        """Write the files and say what is to be done next."""
        with write_stubs():
            super().write_migration_files(changes, *args, **kwargs)
        if self.verbosity > 0 and not self.dry_run:
            self._log_next_steps(changes)
        for migrations in changes.values():
            spare_from_linter(migrations)

    def _log_next_steps(self, changes: dict[str, list[Migration]]) -> None:
        first_phases = find_first_phases(changes)
        ending = "." if first_phases else ", then run migrate."
        for migrations in changes.values():
            for migration in migrations:
                path = self.get_relative_path(MigrationWriter(migration).path)
                for text in _describe_next_steps(migration, path, ending, migrations):
                    self.log(self.style.WARNING(text))
        for text in describe_keys(changes.values()):
            self.log(self.style.WARNING(text))
        if first_phases:
            self.log(self.style.WARNING(_describe_deployment(first_phases)))


def _describe_deployment(first_phases: list[Migration]) -> str:
    """Return the order of deployment of migrations in two phases."""
    lines = ["Then deploy in this order:"]
    lines += [
        f"  1. manage.py migrate {migration.app_label} {migration.name}"
        for migration in first_phases
    ]
    lines += [
        "  2. Let the new code replace the old code everywhere.",
        "  3. manage.py migrate",
    ]
    return "\n".join(lines)


def _describe_next_steps(
    migration: Migration, path: str, ending: str, others: list[Migration]
) -> Iterator[str]:
    """Yield what is to be done with one of several new migrations of an app."""
    for operation in get_backfills(migration):
        populate = operation.populate
        if populate is None and may_meet_duplicates(operation, others):
            is_text = isinstance(operation.field, CharField | TextField)
            what = "=safefield.numbered" if is_text else ", a function,"
            yield (
                f"If rows share a {operation.name}, migrate stops and names them. Then "
                f"add deduplicate{what} to the operation in {path}."
            )
        if not callable(populate) or isinstance(populate, ImportedStub):
            continue
        name = function_name(populate)
        if isinstance(populate, Stub) and populate.returns_now:
            yield (
                f"{name} in {path} returns timezone.now() for each row: change it "
                f"if they should get something else{ending}"
            )
        elif isinstance(populate, Stub) or is_unwritten(populate):
            yield f"Next: write {name} in {path}{ending}"


def may_meet_duplicates(operation: Any, migrations: list[Migration]) -> bool:
    """Return whether a field becomes unique with values from before `migrations`."""
    return (
        isinstance(operation, AlterFieldWithBackfill)
        and operation.field.unique
        and operation.deduplicate is None
        and not operation.field.has_default()
        and not any(
            is_first_phase(other, operation)
            for migration in migrations
            for other in get_backfills(migration)
        )
    )


def build_command() -> type[BaseCommand]:
    """
    Return the command: the next app's makemigrations, on top of safefield's.

    Django uses the makemigrations of the first app in INSTALLED_APPS that has
    one. Safefield's stands in the order of methods just above Django's own, so
    that another package's handle() runs around it.
    """
    bases: list[type[BaseCommand]] = [BackfillCommand]
    next_command = _find_next_command()
    if next_command is not None and not issubclass(BackfillCommand, next_command):
        bases.insert(0, next_command)
    return type("Command", tuple(bases), {"__module__": __name__})


def _find_next_command() -> type[BaseCommand] | None:
    """Return the Command of the first app behind safefield that has one."""
    configs = iter(apps.get_app_configs())
    if not any(config.name == APP_NAME for config in configs):
        return None
    for config in configs:
        if "makemigrations" in find_commands(os.path.join(config.path, "management")):
            module = import_module(f"{config.name}.management.commands.makemigrations")
            command: type[BaseCommand] = module.Command
            return command
    return None


# Another app's command may derive from this one, and is imported by build_command().
Command: type[BaseCommand] = BackfillCommand
Command = build_command()
