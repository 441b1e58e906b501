"""The rehearsebackfill command: what migrate would do, and nothing done."""

from __future__ import annotations

import json
from textwrap import indent
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    no_translations,
)
from django.db import DEFAULT_DB_ALIAS, connections

from safefield.conf import get_configuration
from safefield.exceptions import SafefieldError
from safefield.filling.endings import CommandEnding
from safefield.filling.queries import not_kept
from safefield.inspection.estimate import Estimate
from safefield.inspection.rehearsal import rehearse
from safefield.inspection.rehearsed import Rehearsal
from safefield.progress import show_progress
from safefield.reports import count_rows, may_show_key, shorten

NOTHING = "Nothing to rehearse: each backfill is applied."


class Command(BaseCommand):
    """Prints what migrate would do with the backfills of a migration."""

    help = (
        "Dry-runs the backfills of a migration and reports what migrate would do, "
        "without changing anything. The exit code is 1 if migrate would fail."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "app_label",
            nargs="?",
            help="App label of the migration. Defaults to all apps.",
        )
        parser.add_argument(
            "migration_name",
            nargs="?",
            help="Name of the migration, or a unique prefix of it. Defaults to each "
            "one that is not applied.",
        )
        parser.add_argument(
            "--limit",
            type=int,
            help="Rehearse only this many rows of each table, by primary key.",
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='Nominates a database to read. Defaults to the "default" database.',
        )
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of lines."
        )

    # As migrate, so that values and messages are the same.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Rehearse and report; end with an error if migrate would."""
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError(
                f"--limit must be a whole number of rows, at least 1, not "
                f"{options['limit']!r}."
            )
        connection = connections[options["database"]]
        found, texts = _rehearse(connection, options)
        if options["json"]:
            reports = [as_dict(rehearsal) for rehearsal in found]
            self.stdout.write(json.dumps(reports, indent=2, default=str))
        else:
            told = [describe(rehearsal) for rehearsal in found] or [NOTHING]
            self.stdout.write("\n\n".join(told))
        if errors := [item.error for item in found if item.error is not None]:
            # Of an earlier backfill, perhaps, whose values this one needs.
            failing = dict.fromkeys(f"{each.model}.{each.field}" for each in errors)
            texts.insert(0, f"migrate would fail at {', '.join(failing)}.")
        if texts:
            raise CommandError("\n".join(texts))


def _rehearse(
    connection: Any, options: dict[str, Any]
) -> tuple[list[Rehearsal], list[str]]:
    """Return what was rehearsed, and why the rest could not be."""
    found: list[Rehearsal] = []
    try:
        with (
            CommandEnding(connection, "rehearsebackfill").told(),
            show_progress(options["verbosity"]),
            not_kept(connection),
        ):
            for rehearsal in rehearse(
                connection,
                options["app_label"],
                options["migration_name"],
                limit=options["limit"],
            ):
                found.append(rehearsal)
    except SafefieldError as exc:
        if not found:
            raise
        return found, [str(exc)]
    return found, []


def describe(rehearsal: Rehearsal) -> str:
    """Return the report for people."""
    if not rehearsal.is_here:
        return f"{rehearsal.field}: not on this database."
    of_rows = count_rows(rehearsal.rows)
    if rehearsal.rehearsed != rehearsal.rows:
        of_rows = f"{rehearsal.rehearsed:,} of {of_rows}"
    lines = [
        f"{rehearsal.field}, filled by {rehearsal.source}: "
        f"dry run on {of_rows}, nothing was changed."
    ]
    if rehearsal.filled:
        lines.append(f"{rehearsal.filled:,} of them have a value already.")
    if rehearsal.writes:
        lines.append(
            f"{rehearsal.source} writes to the database; what it wrote was rolled back."
        )
    if rehearsal.error is not None:
        lines += ["migrate would report:", indent(str(rehearsal.error), "  ")]
    if rehearsal.renumbered:
        lines.append(
            f"{count_rows(rehearsal.renumbered)} would get another value, because an "
            f"earlier row has the same:"
        )
        lines += [
            f"  {show_key(pk)}: {show(old)} becomes {show(new)}"
            for pk, old, new in rehearsal.renumbered_samples
        ]
    if rehearsal.samples and get_configuration().SHOW_VALUES:
        lines.append("Some values:")
        lines += [f"  pk {pk!r}: {show(v)}" for pk, v in rehearsal.samples]
    if rehearsal.error is None and rehearsal.estimate is not None:
        lines.append(f"migrate takes about {describe_seconds(rehearsal.estimate)}.")
    lines += rehearsal.notes
    return "\n".join(lines)


def describe_seconds(estimate: Estimate) -> str:
    """Return such as "12 s", or "5 to 20 s" where few rows were tried."""
    least, most = (
        f"{max(seconds, 0.1):,.{0 if seconds >= 10 else 1}f}"
        for seconds in (estimate.least, estimate.most)
    )
    return f"{most} s" if least == most else f"{least} to {most} s"


def as_dict(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return what --json prints."""
    shows = get_configuration().SHOW_VALUES
    error, estimate = rehearsal.error, rehearsal.estimate
    span = estimate and [round(estimate.least, 1), round(estimate.most, 1)]
    return {
        "field": rehearsal.field,
        "source": rehearsal.source,
        "rows": rehearsal.rows,
        "rehearsed": rehearsal.rehearsed,
        "filled": rehearsal.filled,
        "error": error and str(error),
        "bad_rows": [
            {"pk": row.pk if may_show_key(row.pk) else None, "reason": row.reason}
            for row in (error.rows if error else ())
        ],
        "renumbered": rehearsal.renumbered,
        "renumbered_samples": [
            {"pk": pk, "from": old, "to": new}
            for pk, old, new in (rehearsal.renumbered_samples if shows else ())
        ],
        "samples": [
            {"pk": pk, "value": value}
            for pk, value in (rehearsal.samples if shows else ())
        ],
        "seconds": estimate and round(estimate.seconds, 1),
        "seconds_range": span,
        "writes": rehearsal.writes,
        "notes": rehearsal.notes,
        "is_here": rehearsal.is_here,
    }


def show(value: Any) -> str:
    """Return a value for a message, shortened, or not at all."""
    if not get_configuration().SHOW_VALUES:
        return "(not shown)"
    return shorten(value)


def show_key(key: Any) -> str:
    """Return a primary key for a message, or that it is not shown."""
    return f"pk {key!r}" if may_show_key(key) else "a row"
