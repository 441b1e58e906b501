"""The showbackfills command: how far each backfill is."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, no_translations
from django.db import DEFAULT_DB_ALIAS, connections

from safefield.status import Status, read_statuses

__all__ = ["Command"]


class Command(BaseCommand):
    """Prints a line for each backfill in the project's migrations."""

    help = "Shows how far each backfill in the project's migrations is on a database."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
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
        """Print the statuses."""
        statuses = list(read_statuses(connections[options["database"]]))
        if options["json"]:
            texts = [status.as_dict() for status in statuses]
            self.stdout.write(json.dumps(texts, indent=2))
        elif statuses:
            self._write_lines(statuses)
        else:
            self.stdout.write("No migration of this project has a backfill.")

    def _write_lines(self, statuses: list[Status]) -> None:
        migrations = max(len(status.migration) for status in statuses)
        fields = max(len(status.field) for status in statuses)
        for status in statuses:
            self.stdout.write(
                f"{status.migration:{migrations}}  {status.field:{fields}}  "
                f"{status.describe()}"
            )
