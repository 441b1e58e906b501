"""Run a backfill on a temporary table, to see what migrate would say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from safefield.backends import get_backend
from safefield.backends.base.shadow import SHADOW_TABLE
from safefield.exceptions import BackfillError, SafefieldError
from safefield.filling.isolation import NeedsWriting, Trial
from safefield.inspection.entries import Change, Entry
from safefield.inspection.history import History
from safefield.inspection.links import Link
from safefield.inspection.rehearsed import Rehearsal, Reporter
from safefield.inspection.supply import ColumnValue, Supply
from safefield.operations import BACKFILLS


def rehearse(
    connection: BaseDatabaseWrapper,
    app_label: str | None,
    migration_name: str | None,
    *,
    limit: int | None = None,
) -> Iterator[Rehearsal]:
    """
    Rehearse backfills in order, changing nothing.

    Args:
        app_label (str | None): The app; None for all.
        migration_name (str | None): Name of a migration, or how it begins; None for all
            that are not applied.
        limit (int | None): Rows of each table, by primary key; None for all.

    Raises:
        SafefieldError: There is nothing to rehearse, or not yet; of all, after the
            others.
    """
    history = History(connection)
    if app_label is None or migration_name is None:
        yield from _rehearse_all(history, app_label, limit)
        return
    migration = history.get_migration(app_label, migration_name)
    found = history.get_backfills(migration)
    if history.is_applied(migration):
        raise SafefieldError(f"Migration {migration} is already applied.")
    if not any(entry.is_allowed(connection) for entry in found.entries):
        names = ", ".join(entry.title for entry in found.entries)
        raise SafefieldError(
            f"Nothing of migration {migration} can be rehearsed on the "
            f"{connection.alias!r} database: {names} is not on this database."
        )
    yield from _rehearse_migration(history, migration, limit)


def _rehearse_all(
    history: History, app_label: str | None, limit: int | None
) -> Iterator[Rehearsal]:
    refusals = []
    for found in history.list_unapplied_backfills(app_label):
        try:
            yield from _rehearse_migration(history, found.migration, limit)
        except SafefieldError as exc:
            refusals.append(exc)
    if refusals:
        raise SafefieldError("\n".join(map(str, refusals))) from refusals[0]


def _rehearse_migration(
    history: History, migration: Migration, limit: int | None
) -> Iterator[Rehearsal]:
    connection = history.connection
    # Not the entries of the history: these have the models as migrate has them. Applied
    # migrations of other apps count, too, which the history puts behind this one.
    changes = list(history.find_unapplied(migration))
    for place, change in enumerate(changes):
        if change.migration is migration and isinstance(change.operation, BACKFILLS):
            entry, earlier = Entry(*change), changes[:place]
            if entry.is_allowed(connection):
                yield Stage(connection, history, entry, limit, earlier).rehearse()
            else:
                source = entry.make_plan().source_name
                yield Rehearsal(entry.title, source, is_here=False)


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
        #: Name of the temporary table.
        self.name = f"{SHADOW_TABLE}_{token_hex(4)}"
        self.plan = entry.make_plan()
        self.supply = Supply(connection, entry, self.plan, earlier)
        self.trial = Trial(connection)
        #: Whether the database has refused a statement, for another reason than values.
        self.has_failed = False
        self.reporter = Reporter(connection, self.plan, self.supply, self.trial)

    def rehearse(self) -> Rehearsal:
        """
        Return what migrate would do.

        Raises:
            SafefieldError: Other operations have to run first.
        """
        self._refuse_missing_columns()
        try:
            earlier = [
                self._make_link(action) if isinstance(action, Entry) else action
                for action in self.supply.actions
            ]
            last = self._make_link(self.entry)
        except BackfillError as exc:
            return self.reporter.refuse(exc)
        try:
            rehearsal = self._perform(earlier, last, may_write=False)
        except NeedsWriting:
            rehearsal = self._perform(earlier, last, may_write=True)
            rehearsal = replace(rehearsal, writes=True)
        if rehearsal.error is not None and self.has_failed:
            # Perhaps at what an earlier operation is to make of another table.
            self._refuse_missing_columns(self._list_models())
        return rehearsal

    def _list_models(self) -> list[Any]:
        """Return the models that are on the database, as populate finds them."""
        models = self.plan.migration_apps.get_models(include_auto_created=True)
        allows = self.entry.operation.allow_migrate_model
        return [model for model in models if allows(self.connection.alias, model)]

    def _make_link(self, entry: Entry) -> Link:
        return Link(
            self.connection, entry, self.supply, self.name, self.limit, self.clock
        )

    def _perform(
        self, earlier: Sequence[Link | ColumnValue], last: Link, *, may_write: bool
    ) -> Rehearsal:
        links = [*(each for each in earlier if isinstance(each, Link)), last]
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
            for action in earlier:
                if isinstance(action, Link):
                    error = refusals[action]
                    error = error or action.run(shadow, may_write=may_write).error
                    if error is not None:
                        return self.reporter.refuse(error)
                elif not shadow.generates(action.column):
                    action.run(self.connection, shadow.layout.name)
            if (error := refusals[last]) is not None:
                return self.reporter.refuse(error)
            return self.reporter.report(last.run(shadow, may_write=may_write), shadow)

    @contextmanager
    def _watch_for_writes(self, may_write: bool) -> Iterator[None]:
        rights = get_backend(self.connection).rights(self.connection)

        def watch(execute: Any, *args: Any) -> Any:
            try:
                return execute(*args)
            except DatabaseError as exc:
                self.has_failed |= not isinstance(exc, (DataError, IntegrityError))
                if not may_write and rights.is_read_only(exc):
                    raise NeedsWriting from exc
                raise

        with self.connection.execute_wrapper(watch):
            yield

    def _refuse_missing_columns(self, models: Sequence[Any] = ()) -> None:
        """Refuse tables that cannot be made what populate is to find."""
        missing = self.supply.find_missing(models)
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
