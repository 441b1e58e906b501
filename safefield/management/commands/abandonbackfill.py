"""The abandonbackfill command: back to the schema from before."""

from __future__ import annotations

from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    no_translations,
)
from django.db import DEFAULT_DB_ALIAS, connections

from safefield.filling.endings import CommandEnding
from safefield.inspection.abandonment import Abandonment, find_abandonment


class Command(BaseCommand):
    """Drops what an unfinished backfill left behind."""

    help = (
        "Drops what an unfinished backfill left behind, and restores the schema from "
        "before its migration."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments, as migrate and flush have them."""
        parser.add_argument("app_label", help="App label of the migration.")
        parser.add_argument(
            "migration_name", help="Name of the migration, or a unique prefix of it."
        )
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Tells Django to NOT prompt the user for input of any kind.",
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='Nominates a database to change. Defaults to the "default" database.',
        )

    # As migrate, so that values and messages are the same.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Say what there is, ask, and remove it."""
        connection = connections[options["database"]]
        ending = CommandEnding(connection, "abandonbackfill")
        with ending.told():
            found = find_abandonment(
                connection, options["app_label"], options["migration_name"]
            )
            if not found.remnants:
                self.stdout.write(_describe_nothing(found))
                return
            question = _describe(found, options["database"])
            if options["interactive"] and not _ask(question):
                self.stdout.write("Cancelled.")
                return
            for remnant in found.remnants:
                remnant.remove(connection)
                ending.done = "What was removed stays so."
                self.stdout.write(remnant.done_text)
        self._describe_end(found)

    def _describe_end(self, found: Abandonment) -> None:
        if found.others:
            self.stdout.write(
                "\n".join([f"{found.migration} also has:", *_list(found.others)])
                + "\nSee which of them have run, and undo them by hand."
            )
        else:
            self.stdout.write(
                self.style.SUCCESS(f"The schema is as it was before {found.migration}.")
            )


def _ask(question: str) -> bool:
    """Return whether somebody says yes."""
    try:
        return input(question) == "yes"
    except EOFError as exc:
        raise CommandError("Nobody answers here. Use --noinput.") from exc


def _describe_nothing(found: Abandonment) -> str:
    if found.waits_for:
        return (
            f"Nothing to remove: {found.migration} cannot have begun before "
            f"{', '.join(found.waits_for)}."
        )
    return f"Nothing to remove: no backfill of {found.migration} has left anything."


def _describe(found: Abandonment, alias: str) -> str:
    """Return the question, in the form of flush's."""
    lines = [
        f"You have requested to abandon {found.migration} on the {alias!r} database.",
        "This will:",
        *_list(remnant.plan_text for remnant in found.remnants),
    ]
    if found.others:
        lines += [
            "It will NOT undo what else the migration may have done before it stopped:",
            *_list(found.others),
        ]
    lines += [
        "Are you sure you want to do this?",
        "",
        "    Type 'yes' to continue, or 'no' to cancel: ",
    ]
    return "\n".join(lines)


def _list(texts: Any) -> list[str]:
    return [f"  - {text}" for text in texts]
