"""Run a backfill on a temporary table, to see what migrate would say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState
from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.attributes import has_own_attribute
from safefield.backends import get_backend
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import SHADOW_TABLE, Shadow
from safefield.backfill import Backfill
from safefield.deduplicate import Deduplication
from safefield.exceptions import BackfillError, SafefieldError
from safefield.history import Entry, History
from safefield.pages import Page
from safefield.plan import Plan
from safefield.steps import fill_and_check, find_column, get_backfill, refuse_plan

__all__ = ["Rehearsal", "Stage", "rehearse"]

#: Values and renumbered rows that a rehearsal keeps to be shown.
SAMPLES = 5

#: The model of the temporary table, among the historical ones.
SHADOW_MODEL = "SafefieldRehearsal"


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
        seconds (float): Seconds that the real run takes, about.
        writes (bool): Whether populate writes to the database.
    """

    field: str
    source: str
    rows: int
    rehearsed: int
    filled: int
    error: BackfillError | None
    renumbered: int
    renumbered_samples: list[tuple[Any, Any, Any]]
    samples: list[tuple[Any, Any]]
    seconds: float
    writes: bool


class _NeedsWriting(BaseException):
    """Populate writes: past its own `except Exception`, and the engine's."""


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
    step = next(
        (
            step
            for step in history.walk()
            if (step.migration.app_label, step.migration.name)
            == (app_label, migration.name)
        ),
        None,
    )
    if step is not None and step.error is not None:
        raise SafefieldError(
            f"Migration {label} cannot be read: {step.error}"
        ) from step.error
    if step is None:
        raise SafefieldError(f"There is no backfill in migration {label}.")
    if history.is_applied(step.migration):
        raise SafefieldError(f"Migration {label} is applied: nothing is to be done.")
    for entry in step.entries:
        if entry.is_allowed(connection):
            yield Stage(connection, history, entry, limit).rehearse()


class Stage:
    """One backfill, and all that its rehearsal needs."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        history: History,
        entry: Entry,
        limit: int | None,
    ) -> None:
        self.connection: Any = connection
        self.history = history
        self.entry = entry
        self.limit = limit
        # Not entered: it only spells SQL here.
        self.editor: Any = connection.schema_editor(atomic=False)
        self.schema: Schema = entry.make_schema(connection, self.editor)
        self.plan = self.schema.plan
        self.shadow_plan = replace(self.plan, new_model=self._make_shadow_model())
        self.shadow: Shadow = get_backend(connection).shadow(
            connection, self.plan, self.shadow_plan
        )

    def rehearse(self) -> Rehearsal:
        """Return what migrate would do."""
        self._refuse_missing_columns()
        try:
            refuse_plan(self.plan)
            column = find_column(self.plan, self.schema)
        except BackfillError as exc:
            return self._report(error=exc)
        # An expression calls no Python that could write.
        if self.plan.is_expression:
            return self._perform(column, may_write=True)
        try:
            return self._perform(column, may_write=False)
        except _NeedsWriting:
            return replace(self._perform(column, may_write=True), writes=True)

    def _perform(self, column: LiveColumn | None, *, may_write: bool) -> Rehearsal:
        with (
            self.shadow.open(
                has_column=column is not None, limit=self.limit, may_write=may_write
            ),
            self._watch_for_writes(may_write),
        ):
            schema = type(self.schema)(self.editor, self.shadow_plan)
            engine = self._make_engine(schema, column)
            filled = self._rows().filter(**{f"{self._column}__isnull": False}).count()
            started = time.perf_counter()
            error = None
            try:
                fill_and_check(engine, column, prepare=lambda: None)
            except BackfillError as exc:
                error = exc
            seconds = time.perf_counter() - started
            return self._report(error, engine, filled, seconds)

    def _report(
        self,
        error: BackfillError | None = None,
        engine: Backfill | None = None,
        filled: int = 0,
        seconds: float = 0.0,
    ) -> Rehearsal:
        real: QuerySet[Any, Any] = QuerySet(
            self.plan.model, using=self.connection.alias
        )
        rows = real.count()
        rehearsed = self._rows().count() if engine else 0
        samples: list[tuple[Any, Any]] = []
        losers: dict[Any, Any] = {}
        if engine is not None:
            values = self._rows().filter(**{f"{self._column}__isnull": False})
            samples = self._read_samples(values.order_by("pk")[:SAMPLES])
            if isinstance(engine, Deduplication):
                losers = engine.losers
        final = dict(
            self._rows()
            .filter(pk__in=sorted(losers)[:SAMPLES])
            .order_by("pk")
            .values_list("pk", self._column)
            if losers
            else ()
        )
        return Rehearsal(
            field=self.plan.title,
            source=self.plan.source_name,
            rows=rows,
            rehearsed=rehearsed,
            filled=filled,
            error=error,
            renumbered=len(losers),
            renumbered_samples=[
                (pk, losers[pk].original, value) for pk, value in final.items()
            ],
            samples=samples,
            seconds=seconds * self.shadow.slowdown * rows / max(rehearsed, 1),
            writes=False,
        )

    def _read_samples(self, rows: QuerySet[Any, Any]) -> list[tuple[Any, Any]]:
        """Return key and value of some rows, as the application will see them."""
        field = self.shadow_plan.field
        if not has_own_attribute(self.shadow_plan.new_model, field):
            return list(rows.values_list("pk", self._column))
        return [(row.pk, getattr(row, field.name)) for row in rows]

    # The temporary table

    @property
    def _column(self) -> str:
        return str(self.plan.field.attname)

    def _rows(self) -> QuerySet[Any, Any]:
        return QuerySet(self.shadow_plan.new_model, using=self.connection.alias)

    def _make_shadow_model(self) -> type[Model]:
        """Return a model of the temporary table, beside the real one."""
        app_label = self.entry.migration.app_label
        after = self.entry.after
        # Anew, because the models of `after` itself are in use.
        state = ProjectState(
            {key: model.clone() for key, model in after.models.items()},
            real_apps=after.real_apps,
        )
        real = state.models[app_label, self.plan.new_model._meta.model_name]
        copy = real.clone()
        copy.name = SHADOW_MODEL
        copy.options = {**copy.options, "db_table": SHADOW_TABLE, "indexes": []}
        for name, field in copy.fields.items():
            if field.remote_field and field.remote_field.model == "self":
                field = field.clone()
                field.remote_field.model = f"{app_label}.{real.name}"
                copy.fields[name] = field
        state.add_model(copy)
        model: Any = state.apps.get_model(app_label, SHADOW_MODEL)
        # Messages name the model that the user knows.
        model._meta.object_name = self.plan.new_model._meta.object_name
        return model  # type: ignore[no-any-return]  # Any, to set object_name

    def _make_engine(self, schema: Schema, column: LiveColumn | None) -> Backfill:
        """Return the engine, which reads the table and writes to the other one."""
        plain = type(get_backfill(self.shadow_plan, schema))
        base = _OverExpression if self.plan.is_expression else _OverRows
        engine: Any = type("Rehearsed", (base, plain), {})(self.shadow_plan, schema)
        engine.real_table = self.plan.table
        engine.has_column = column is not None
        engine.rows_left = self.limit
        return engine  # type: ignore[no-any-return]  # a class made here

    @contextmanager
    def _watch_for_writes(self, may_write: bool) -> Iterator[None]:
        def watch(execute: Any, *args: Any) -> Any:
            try:
                return execute(*args)
            except DatabaseError as exc:
                if not may_write and self.shadow.is_refused_write(exc):
                    raise _NeedsWriting from exc
                raise

        with self.connection.execute_wrapper(watch):
            yield

    def _refuse_missing_columns(self) -> None:
        """
        Refuse a table that is not yet as populate is to find it.

        Raises:
            SafefieldError: Other operations have to run first.
        """
        introspection = self.connection.introspection
        live: dict[str, set[str]] = {}
        missing = []
        with self.connection.cursor() as cursor:
            tables = set(introspection.table_names(cursor))
            for field in self.plan.model._meta.concrete_fields:
                table = field.model._meta.db_table
                if table not in live:
                    live[table] = (
                        {
                            column.name
                            for column in introspection.get_table_description(
                                cursor, table
                            )
                        }
                        if table in tables
                        else set()
                    )
                if field.column not in live[table]:
                    missing.append(f"{table}.{field.column}")
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


class _OverRows:
    """Mixed in before an engine that calls populate for each row."""

    plan: Plan
    real_table: str
    has_column: bool
    rows_left: int | None

    def wanted(self) -> Any:
        """Return the condition that a row of the real table has no value yet."""
        if not self.has_column:
            return None
        return IsNull(Col(self.real_table, self.plan.loose_field), True)

    def empty_rows(self) -> QuerySet[Model]:
        """Return no rows: nothing undoes an UPDATE of the temporary table."""
        return QuerySet(self.plan.model).none()

    def _find_page(self, after: Any, size: int) -> Page:
        if self.rows_left is not None:
            size = min(size, self.rows_left)
        return super()._find_page(after, size)  # type: ignore[misc, no-any-return]  # mixed in

    def _run_page(self, page: Page) -> tuple[int, Any, bool]:
        rows, after, is_last = super()._run_page(page)  # type: ignore[misc]  # mixed in
        if self.rows_left is not None:
            self.rows_left -= rows
            is_last = is_last or not self.rows_left
        return rows, after, is_last

    def _estimate(self) -> int | None:
        return self.rows_left


class _OverExpression:
    """Mixed in before an engine whose values the database computes."""

    def _updatable(self) -> Any:
        # Of the real table, once: the other one has not the columns.
        return self._values_table()  # type: ignore[attr-defined]  # mixed in

    def _estimate(self) -> int | None:
        return None
