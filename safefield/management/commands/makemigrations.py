"""The makemigrations command: backfills in place of questions."""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from itertools import chain
from typing import Any

from django.apps import apps
from django.core.management import find_commands
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.commands import makemigrations
from django.db.migrations import Migration

from safefield.conf import get_configuration
from safefield.populate import is_unwritten_allowed

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
                "Write two migrations for each new required field: the first adds and "
                "fills it, the second makes it required after the new code is "
                "deployed. Default: SAFEFIELD['TWO_PHASE']."
            ),
        )

    def check(self, *args: Any, **kwargs: Any) -> Any:
        """Run the checks; what is still to be written does not stop the command."""
        token = is_unwritten_allowed.set(True)
        try:
            return super().check(*args, **kwargs)
        finally:
            is_unwritten_allowed.reset(token)

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
        # Here, as below: a check of Django's own, which runs before most commands,
        # imports this module.
        from safefield.authoring.autodetector import wrap_autodetector

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
        from safefield.authoring.migration_file import refuse_unwritable, write_stubs
        from safefield.authoring.next_steps import describe_next_steps

        with write_stubs():
            refuse_unwritable(chain.from_iterable(changes.values()))
            super().write_migration_files(changes, *args, **kwargs)
        if self.verbosity > 0 and not self.dry_run:
            two_phase = getattr(self.autodetector, "two_phase", False)
            for text in describe_next_steps(
                changes, self.get_relative_path, two_phase=two_phase
            ):
                self.log(self.style.WARNING(text))
        for migrations in changes.values():
            _spare_from_linter(migrations)


def _spare_from_linter(migrations: list[Migration]) -> None:
    """
    Keep `makemigrations --lint` from deleting some of the new migrations of one app.

    A backfill sets NOT NULL, which django-migration-linter reports, and with --noinput
    it deletes each file that it reports: a file with a function to be written, on which
    the next migration may depend. So all of them stay where one has a backfill. In
    memory only: the files do not need the linter, and `lintmigrations` reports on them
    as on any other.
    """
    from safefield.authoring.migration_file import get_backfills

    if not apps.is_installed("django_migration_linter"):
        return
    if any(map(get_backfills, migrations)):
        linter = import_module("django_migration_linter")
        written: Any
        for written in migrations:
            written.operations = [*written.operations, linter.IgnoreMigration()]


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
    """Return the Command of the first app after safefield that has one."""
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
