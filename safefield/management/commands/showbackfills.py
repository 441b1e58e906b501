"""The showbackfills command: how far each backfill is."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    no_translations,
)
from django.db import DEFAULT_DB_ALIAS, connections

from safefield.filling.endings import CommandEnding
from safefield.inspection.status import Status, read_statuses


class Command(BaseCommand):
    """Prints a line for each backfill in the project's migrations."""

    help = "Shows how far each backfill of the project is on a database."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "app_label",
            nargs="?",
            help="App label of the backfills. Default: all apps.",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Exit with code 1 if a backfill is not done, and say how many.",
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help=(
                'Nominates a database to look at. Defaults to the "default" database.'
            ),
        )
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of lines."
        )

    # As migrate, so that values and messages are the same.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Print the statuses; with --check, end with an error if one is not done."""
        connection, app_label = connections[options["database"]], options["app_label"]
        with CommandEnding(connection, "showbackfills").told():
            statuses = list(read_statuses(connection, app_label))
        if options["json"]:
            texts = [status.as_dict() for status in statuses]
            self.stdout.write(json.dumps(texts, indent=2))
        elif statuses:
            self._write_lines(statuses)
        else:
            where = "this project" if app_label is None else f"app {app_label!r}"
            self.stdout.write(f"No migration of {where} has a backfill.")
        left = sum(not status.is_done for status in statuses)
        if options["check"] and left:
            raise CommandError(
                f"{left:,} of {len(statuses):,} backfills "
                f"{'is' if left == 1 else 'are'} not done."
            )

    def _write_lines(self, statuses: list[Status]) -> None:
        migrations = max(len(status.migration) for status in statuses)
        fields = max(len(status.field) for status in statuses)
        for status in statuses:
            self.stdout.write(
                f"{status.migration:{migrations}}  {status.field:{fields}}  "
                f"{status.describe()}"
            )
