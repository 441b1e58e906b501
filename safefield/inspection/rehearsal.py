"""Run a backfill on a temporary table, to see what migrate would say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from safefield.backends import get_backend
from safefield.backends.base.shadow import SHADOW_TABLE, Shadow
from safefield.exceptions import BackfillError, SafefieldError
from safefield.filling.attributes import has_own_attribute
from safefield.filling.isolation import Trial
from safefield.inspection.entries import Change, Entry
from safefield.inspection.estimate import Estimate, estimate
from safefield.inspection.history import History
from safefield.inspection.links import Link, Tried
from safefield.inspection.supply import ColumnValue, Supply

#: Values and renumbered rows that a rehearsal keeps to be shown.
SAMPLES = 5


@dataclass(frozen=True)
class Rehearsal:
    """
    What migrate would do with one backfill.

    Args:
        field (str): Such as "films.Movie.slug".
        source (str): What the values come from.
        rows (int): Rows of the table.
        rehearsed (int): Rows that were rehearsed, by primary key.
        filled (int): Rows among these that have a value already.
        error (BackfillError | None): What migrate would raise.
        renumbered (int): Rows that would get another value, for theirs is taken.
        renumbered_samples: Key, first value and last value of some of them.
        samples: Key and value of some rows.
        estimate (Estimate | None): How long the real run takes, about.
        writes (bool): Whether populate writes to a database.
        notes (list[str]): What was not rehearsed, or could not be undone.
        is_here (bool): Whether the model is on the database at all.
    """

    field: str
    source: str
    rows: int = 0
    rehearsed: int = 0
    filled: int = 0
    error: BackfillError | None = None
    renumbered: int = 0
    renumbered_samples: Sequence[tuple[Any, Any, Any]] = ()
    samples: Sequence[tuple[Any, Any]] = ()
    estimate: Estimate | None = None
    writes: bool = False
    notes: Sequence[str] = ()
    is_here: bool = True


class _NeedsWriting(BaseException):
    """Populate writes: past its own `except Exception`, and that of the fill."""


def rehearse(
    connection: BaseDatabaseWrapper,
    app_label: str,
    migration_name: str,
    *,
    limit: int | None = None,
) -> Iterator[Rehearsal]:
    """
    Rehearse the backfills of a migration, in order, changing nothing.

    Args:
        connection (BaseDatabaseWrapper): The database.
        app_label (str): App label of the migration.
        migration_name (str): Its name, or how it begins.
        limit (int | None): Rows of each table, by primary key; None for all.

    Raises:
        SafefieldError: There is nothing to rehearse, or not yet.
    """
    history = History(connection)
    migration = history.get_migration(app_label, migration_name)
    label = str(migration)
    found = history.get_backfills(migration)
    if history.is_applied(found.migration):
        raise SafefieldError(f"Migration {label} is already applied.")
    here = [entry for entry in found.entries if entry.is_allowed(connection)]
    if not here:
        names = ", ".join(entry.title for entry in found.entries)
        raise SafefieldError(
            f"Nothing of migration {label} can be rehearsed on the "
            f"{connection.alias!r} database: {names} is not on this database."
        )
    changes = list(history.find_unapplied(found.migration))
    for entry in found.entries:
        if entry not in here:
            source = entry.make_plan().source_name
            yield Rehearsal(entry.title, source, is_here=False)
            continue
        place = [change.operation for change in changes].index(entry.operation)
        # The models as migrate has them: applied migrations of other apps count, too,
        # which the order of the whole history puts behind this one.
        entry = replace(
            entry,
            start=next(c.before for c in changes if c.migration is found.migration),
            before=changes[place].before,
            after=changes[place].after,
        )
        yield Stage(connection, history, entry, limit, changes[:place]).rehearse()


class Stage:
    """
    One backfill, and all that its rehearsal needs.

    Args:
        connection (BaseDatabaseWrapper): The database.
        history (History): The migrations of the project.
        entry (Entry): The backfill.
        limit (int | None): Rows to rehearse; None for all.
        earlier (Sequence[Change]): What `migrate` does before it.
        clock (Callable[[], float]): Gives the time in seconds.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        history: History,
        entry: Entry,
        limit: int | None,
        earlier: Sequence[Change] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.connection: Any = connection
        self.history = history
        self.entry = entry
        self.limit = limit
        self.clock = clock
        self.plan = entry.make_plan()
        self.supply = Supply(connection, entry, self.plan, earlier)
        self.trial = Trial(connection)

    def rehearse(self) -> Rehearsal:
        """
        Return what migrate would do.

        Raises:
            SafefieldError: Other operations have to run first.
        """
        self._refuse_missing_columns()
        try:
            links = self._make_links()
        except BackfillError as exc:
            return self._report(exc)
        try:
            return self._perform(links, may_write=False)
        except _NeedsWriting:
            return replace(self._perform(links, may_write=True), writes=True)

    def _make_links(self) -> list[Link]:
        """Return the backfills to be run, the one that is rehearsed last."""
        name = f"{SHADOW_TABLE}_{token_hex(4)}"
        actions = [*self.supply.actions, self.entry]
        return [
            Link(self.connection, entry, self.supply, name, self.limit, self.clock)
            for entry in actions
            if isinstance(entry, Entry)
        ]

    def _perform(self, links: list[Link], *, may_write: bool) -> Rehearsal:
        last = links[-1]
        shadow = get_backend(self.connection).shadow(
            self.connection, last.make_layout()
        )

        refusals: dict[Link, BackfillError | None] = {}

        def prepare() -> None:
            for link in links:
                refusals[link] = link.prepare(shadow)

        with ExitStack() as stack:
            stack.enter_context(
                shadow.open(limit=self.limit, may_write=may_write, prepare=prepare)
            )
            if not all(link.plan.is_expression for link in links):
                stack.enter_context(self.trial.open())
            stack.enter_context(self._watch_for_writes(may_write))
            waiting = iter(links)
            tried: Tried | None = None
            for action in [*self.supply.actions, self.entry]:
                if isinstance(action, ColumnValue):
                    if not shadow.generates(action.column):
                        action.run(self.connection, shadow.layout.name)
                    continue
                link = next(waiting)
                if (refusal := refusals[link]) is not None:
                    return self._report(refusal)
                tried = link.run(shadow, may_write=may_write)
                if tried.error is not None and link is not last:
                    return self._report(tried.error)
            error = None if tried is None else tried.error
            return self._report(error, tried, shadow)

    @contextmanager
    def _watch_for_writes(self, may_write: bool) -> Iterator[None]:
        rights = get_backend(self.connection).rights(self.connection)

        def watch(execute: Any, *args: Any) -> Any:
            try:
                return execute(*args)
            except DatabaseError as exc:
                if not may_write and rights.is_read_only(exc):
                    raise _NeedsWriting from exc
                raise

        with self.connection.execute_wrapper(watch):
            yield

    # What it says

    def _report(
        self,
        error: BackfillError | None,
        tried: Tried | None = None,
        shadow: Shadow | None = None,
    ) -> Rehearsal:
        report = Rehearsal(
            self.plan.title,
            self.plan.source_name,
            self._count(),
            error=error,
            notes=self._describe_left_out(),
        )
        if tried is None or shadow is None:
            return report
        link = tried.link
        rows = link.rows()
        values = rows.filter(**{f"{link.column_name}__isnull": False}).order_by("pk")
        originals = tried.originals
        final = rows.filter(pk__in=sorted(originals)[:SAMPLES]).order_by("pk")
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
            notes.append(
                "That values are unique was looked for among the rehearsed rows alone."
            )
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

    # What is there

    def _refuse_missing_columns(self) -> None:
        """
        Refuse a table that cannot be made what populate is to find.

        Raises:
            SafefieldError: Other operations have to run first.
        """
        missing = self.supply.find_missing()
        if not missing:
            return
        parents = self.history.find_unapplied_parents(self.entry.migration)
        first = (
            f"Apply {', '.join(parents)} first."
            if parents
            else "An operation before it in the same migration is to make them."
        )
        raise SafefieldError(
            f"{self.plan.title} cannot be rehearsed yet, because these columns are "
            f"not there: {', '.join(missing)}. {first}"
        )
