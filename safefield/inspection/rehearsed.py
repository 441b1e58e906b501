"""What a rehearsal has found, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet

from safefield.backends.base.shadow import Shadow
from safefield.exceptions import BackfillError
from safefield.filling.assignment import has_own_attribute
from safefield.filling.isolation import Trial
from safefield.filling.rows import sort_by_key
from safefield.inspection.entries import Entry
from safefield.inspection.estimate import Estimate, estimate
from safefield.inspection.links import Link, Tried
from safefield.inspection.supply import Supply
from safefield.plan import Plan

#: Values and renumbered rows that a rehearsal keeps to be shown.
SAMPLES = 5


@dataclass(frozen=True)
class Rehearsal:
    """What migrate would do with one backfill."""

    #: Such as "films.Movie.slug".
    field: str
    #: What the values come from.
    source: str
    #: Rows of the table, those that were rehearsed, and how many of these have a value.
    rows: int = 0
    rehearsed: int = 0
    filled: int = 0
    error: BackfillError | None = None
    #: Rows that would get another value, for theirs is taken.
    renumbered: int = 0
    #: Key, first value and last value of some of them.
    renumbered_samples: Sequence[tuple[Any, Any, Any]] = ()
    #: Key and value of some rows.
    samples: Sequence[tuple[Any, Any]] = ()
    estimate: Estimate | None = None
    #: Whether populate writes to a database.
    writes: bool = False
    #: What was not rehearsed, or could not be undone.
    notes: Sequence[str] = ()
    #: Whether the model is on the database at all.
    is_here: bool = True


class Reporter:
    """
    Says what the rehearsal of one backfill has found.

    Args:
        supply (Supply): What its table was given first.
        trial (Trial): What the function was let do meanwhile.
    """

    def __init__(
        self, connection: Any, plan: Plan, supply: Supply, trial: Trial
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.supply = supply
        self.trial = trial

    def refuse(self, error: BackfillError | None) -> Rehearsal:
        """Return what there is to say where the backfill itself did not begin."""
        return Rehearsal(
            self.plan.title,
            self.plan.source_name,
            self._count(),
            error=error,
            notes=self._describe_left_out(),
        )

    def report(self, tried: Tried, shadow: Shadow) -> Rehearsal:
        """Return what there is to say of a backfill that filled the temporary table."""
        report = self.refuse(tried.error)
        link = tried.link
        rows = link.rows()
        values = rows.filter(**{f"{link.column_name}__isnull": False}).order_by("pk")
        originals = tried.originals
        final = rows.filter(pk__in=sort_by_key(originals)[:SAMPLES]).order_by("pk")
        rehearsed = rows.count()
        return replace(
            report,
            rehearsed=rehearsed,
            filled=tried.filled,
            renumbered=len(originals),
            renumbered_samples=[
                (pk, originals[pk], value)
                for pk, value in final.values_list("pk", link.column_name)
            ],
            samples=self._read_samples(link, values[:SAMPLES]),
            estimate=estimate(
                tried.batches,
                self._count(only_empty=link.has_column),
                batch_rows=self.plan.batch_size,
                other_seconds=tried.seconds,
                slowdown=shadow.slowdown,
            ),
            writes=shadow.is_written or bool(self.trial.written),
            notes=[
                *report.notes,
                *self._describe_limit(rehearsed < report.rows),
                *self._describe_unseen(shadow),
            ],
        )

    def _count(self, *, only_empty: bool = False) -> int:
        """Return how many rows the table has, or how many of them have no value."""
        quote = self.connection.ops.quote_name
        sql = f"SELECT COUNT(*) FROM {quote(self.plan.table)}"
        if only_empty:
            sql += f" WHERE {quote(self.plan.field.column)} IS NULL"
        with self.connection.cursor() as cursor:
            cursor.execute(sql, None)
            return int(cursor.fetchone()[0])

    def _read_samples(
        self, link: Link, rows: QuerySet[Any, Any]
    ) -> list[tuple[Any, Any]]:
        """Return key and value of some rows, as the application will see them."""
        if not has_own_attribute(rows.model, link.plan.field):
            return list(rows.values_list("pk", link.column_name))
        return [(row.pk, getattr(row, link.plan.field_name)) for row in rows]

    def _describe_left_out(self) -> list[str]:
        """Say what was done first, and what was not, of unapplied migrations."""
        migrations = dict.fromkeys(
            str(each.migration)
            for each in self.supply.actions
            if isinstance(each, Entry)
        )
        done = [
            f"What {', '.join(migrations)} is to fill was filled first, in a copy of "
            f"the table."
        ]
        return (done if migrations else []) + [
            f"{migration} is not applied, and this was not done: {'; '.join(texts)}."
            for migration, texts in self.supply.left_out.items()
        ]

    def _describe_limit(self, is_part: bool) -> list[str]:
        if not is_part:
            return []
        notes = []
        if self.plan.unique_columns:
            notes.append("Duplicates were looked for among the rehearsed rows only.")
        if self.supply.is_needed:
            notes.append(
                f"{self.plan.source_name} found only the rehearsed rows in the table."
            )
        return notes

    def _describe_unseen(self, shadow: Shadow) -> list[str]:
        """Say what cannot be rehearsed, or cannot be undone."""
        notes = []
        if triggers := shadow.find_triggers():
            are = "trigger is" if len(triggers) == 1 else "triggers are"
            notes.append(
                f"{len(triggers)} {are} not rehearsed, which table {self.plan.table} "
                f"has for UPDATE: {', '.join(triggers)}."
            )
        return notes + [
            f"{self.plan.source_name} opened a connection of its own to the {alias!r} "
            f"database: what it may have written through it stays."
            for alias in sorted(self.trial.strangers)
        ]
