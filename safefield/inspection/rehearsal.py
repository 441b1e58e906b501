"""Run a backfill on a temporary table, to see what migrate would say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.backends import get_backend
from safefield.backends.base.shadow import SHADOW_TABLE
from safefield.exceptions import BackfillError, SafefieldError
from safefield.filling.isolation import Trial
from safefield.inspection.entries import Change, Entry
from safefield.inspection.history import History
from safefield.inspection.links import Link, Tried
from safefield.inspection.rehearsed import Rehearsal, Reporter
from safefield.inspection.supply import ColumnValue, Supply


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
        limit (int | None): Rows to rehearse; None for all.
        earlier (Sequence[Change]): What `migrate` does before it.
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
        self.reporter = Reporter(connection, self.plan, self.supply, self.trial)

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
            return self.reporter.report(exc)
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
                    return self.reporter.report(refusal)
                tried = link.run(shadow, may_write=may_write)
                if tried.error is not None and link is not last:
                    return self.reporter.report(tried.error)
            error = None if tried is None else tried.error
            return self.reporter.report(error, tried, shadow)

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

    def _refuse_missing_columns(self) -> None:
        """Refuse a table that cannot be made what populate is to find."""
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
