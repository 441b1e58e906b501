"""One backfill on the temporary table of a rehearsal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import CheckConstraint, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.backends import get_backend
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import Layout, Shadow
from safefield.exceptions import BackfillError
from safefield.fields import AnyField
from safefield.filling.attributes import has_own_attribute
from safefield.filling.backfill import Backfill
from safefield.filling.narrowing import Narrowing, make_refusal
from safefield.filling.pages import Page
from safefield.inspection.entries import Entry
from safefield.inspection.estimate import Batch
from safefield.inspection.states import clone, redirect
from safefield.inspection.supply import Supply
from safefield.plan import Plan
from safefield.steps import (
    fill_and_check,
    find_column,
    get_backfill,
    refuse_plan,
    refused,
)

#: The model of the temporary table, among the historical ones.
SHADOW_MODEL = "SafefieldRehearsal"


class Link:
    """
    One backfill, which reads the table and writes to the temporary one.

    Where earlier backfills have not run, it reads the temporary one too: that is then
    a copy of the whole table, and has what these fill.

    Args:
        connection (BaseDatabaseWrapper): The database.
        entry (Entry): The backfill.
        supply (Supply): What the table is given first.
        name (str): Name of the temporary table.
        limit (int | None): Rows to rehearse; None for all.
        clock (Callable[[], float]): Gives the time in seconds.

    Raises:
        BackfillError: What migrate would say before it changes anything.
    """

    def __init__(
        self,
        connection: Any,
        entry: Entry,
        supply: Supply,
        name: str,
        limit: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.connection = connection
        self.entry = entry
        self.supply = supply
        self.name = name
        self.limit = limit
        self.clock = clock
        # Not entered: it spells SQL, and changes temporary tables at the most.
        self.editor: Any = connection.schema_editor(atomic=False)
        self.editor.deferred_sql = []
        real = entry.make_schema(connection, self.editor)
        self.plan: Plan = real.plan
        refuse_plan(self.plan)
        self.column = find_column(self.plan, real)
        Narrowing(self.plan, real).refuse()
        #: Whether the real table has the column.
        self.has_column = self.column is not None
        if self.column is None and self.plan.old_field is not None:
            # An operation before it makes the column.
            self.column = LiveColumn(null=True, has_default=False)
        #: The plan on the temporary table alone, and the one of the engine.
        self.shadow_plan = self._make_shadow_plan()
        self.engine_plan = (
            self.shadow_plan
            if supply.is_needed
            else replace(self.plan, new_model=self.shadow_plan.new_model)
        )
        self.column_name = str(self.plan.field.attname)
        self.engine: Backfill | None = None
        self.error: BackfillError | None = None
        self.batches: list[Batch] = []
        #: Seconds beside those of the batches.
        self.seconds = 0.0
        #: Rows that had a value before.
        self.filled = 0

    def make_layout(self) -> Layout:
        """Return what the temporary table is to be made of."""
        supply, table = self.supply, self.plan.table
        model: Any = self.shadow_plan.new_model
        fields = {key.column: key for key in model._meta.pk_fields}
        if supply.is_needed or has_own_attribute(self.plan.new_model, self.plan.field):
            fields |= supply.fields
        else:
            fields |= {field.column: field for field in self._named_fields()}
        fields[self.plan.field.column] = self.plan.field
        live = supply.live(table)
        return Layout(
            table=table,
            name=self.name,
            model=model,
            copied=[
                field
                for column, field in fields.items()
                # A plain one, if it is needed: what it is made of may be left out.
                if column in live
                and (
                    not field.generated
                    or supply.is_needed
                    or field.name in self.plan.unique_with
                )
            ],
            made=[
                field
                for column, field in supply.made.items()
                if column not in supply.filled
            ],
            column=self.plan.old_field or self.plan.field if self.has_column else None,
        )

    def prepare(self, shadow: Shadow) -> None:
        """Give the temporary table the column, or the column its new type."""
        schema = self._make_schema(self.shadow_plan)
        self.engine = self.error = None
        try:
            with self._undone_together():
                if self.plan.old_field is not None:
                    shadow.change_type(schema)
                elif not self.has_column:
                    shadow.add(self.plan.field)
                shadow.try_definition(schema)
        except BackfillError as exc:
            self.error = exc
        except DatabaseError as exc:
            self.error = self._refuse_definition(exc)

    def _refuse_definition(self, exc: DatabaseError) -> BackfillError:
        if self.plan.old_field is not None:
            return make_refusal(self.plan, exc)
        return BackfillError(
            f"{self.plan.title}: the database refused the definition of column "
            f"{self.plan.field.column}: {exc}",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def run(self, shadow: Shadow, *, may_write: bool) -> None:
        """Do what migrate does; the error is what it would raise."""
        if self.error is not None:
            return
        self.batches = []
        # An expression calls no Python that could write, and wants a table of its own.
        may_write = may_write or self.plan.is_expression
        with shadow.watch(may_write=may_write):
            values = {f"{self.column_name}__isnull": False}
            self.filled = self.rows().filter(**values).count()
            self.engine = self._make_engine()
            started = self.clock()
            try:
                fill_and_check(self.engine, self.column, prepare=lambda: None)
            except BackfillError as exc:
                self.error = exc
            self.seconds = self.clock() - started
            self.seconds -= sum(batch.seconds for batch in self.batches)
        if self.error is None:
            self._enforce(shadow, self.engine)

    def rows(self) -> QuerySet[Any, Any]:
        """Return the rows of the temporary table."""
        return QuerySet(self.shadow_plan.new_model, using=self.connection.alias)

    def _enforce(self, shadow: Shadow, engine: Backfill) -> None:
        schema = self._make_schema(replace(self.shadow_plan))
        try:
            with transaction.atomic(using=self.connection.alias):
                shadow.enforce(schema)
        except DatabaseError as exc:
            self.error = refused(self.shadow_plan, schema, exc, engine)

    def _undone_together(self) -> AbstractContextManager[Any]:
        """Return a savepoint, where there is a transaction."""
        if not self.connection.in_atomic_block:
            return nullcontext()
        savepoint: AbstractContextManager[Any] = transaction.atomic(
            using=self.connection.alias
        )
        return savepoint

    # The plans

    def _make_shadow_plan(self) -> Plan:
        entry = self.entry
        if self.supply.is_needed:
            app_label = entry.migration.app_label
            key = app_label, entry.operation.model_name_lower
            return entry.operation.make_plan(
                app_label,
                redirect(entry.before, key, self.name),
                redirect(entry.after, key, self.name),
            )
        return replace(
            self.plan,
            model=self._make_shadow_model(is_after=False),
            new_model=self._make_shadow_model(is_after=True),
        )

    def _make_shadow_model(self, *, is_after: bool) -> type[Model]:
        """Return a model of the temporary table, beside the real one."""
        app_label = self.entry.migration.app_label
        name = self.entry.operation.model_name_lower
        state = clone(self.entry.after if is_after else self.entry.before)
        real = state.models[app_label, name]
        copy = real.clone()
        copy.name = SHADOW_MODEL
        copy.options = {**copy.options, "db_table": self.name, "indexes": []}
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

    def _named_fields(self) -> list[AnyField]:
        """Return the other fields that the constraints of the field are about."""
        model: Any = self.shadow_plan.new_model
        fields = [model._meta.get_field(name) for name in self.plan.unique_with]
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                names = {
                    reference[0]
                    for reference in model._get_expr_references(constraint.condition)
                }
                if self.plan.field_name in names:
                    fields += [
                        model._meta.get_field(name)
                        for name in sorted(names - {self.plan.field_name, "pk"})
                    ]
        return fields

    # The engine

    def _make_schema(self, plan: Plan) -> Schema:
        return get_backend(self.connection).schema(self.editor, plan)

    def _make_engine(self) -> Backfill:
        """Return the engine, which writes to the temporary table."""
        schema: Any = self._make_schema(self.engine_plan)
        rows = self.rows().count()
        schema.catalogue.estimate_rows = lambda: rows
        plain = type(get_backfill(self.engine_plan, schema))
        bases: tuple[type, ...] = (_Timed, plain)
        if not self.supply.is_needed:
            bases = (
                _OverExpression if self.plan.is_expression else _OverRows,
                *bases,
            )
        engine: Any = type("Rehearsed", bases, {})(self.engine_plan, schema)
        engine.link = self
        if self.limit is not None:
            empty = self.rows().filter(**{f"{self.column_name}__isnull": True})
            engine.final_key = (
                empty.order_by("-pk").values_list("pk", flat=True).first()
            )
        return engine  # type: ignore[no-any-return]  # a class made here


class _Timed:
    """Mixed in before any engine, to take down how long its batches take."""

    link: Link
    size: Any

    def _run_page(self, page: Page) -> tuple[int, Any, bool]:
        clock = self.size.clock = self.link.clock
        started = clock()
        found = super()._run_page(page)  # type: ignore[misc]  # mixed in
        if self.size.taken:
            self.link.batches.append(
                Batch(self.size.taken, clock() - started, self.size.computing_seconds)
            )
        return found  # type: ignore[no-any-return]  # mixed in


class _OverRows:
    """Mixed in before an engine that calls populate for the rows of the table."""

    link: Link
    #: The last row that is rehearsed; None for all.
    final_key: Any = None

    def wanted(self) -> Any:
        """Return the condition that a row of the real table has no value yet."""
        if not self.link.has_column:
            return None
        plan = self.link.plan
        return IsNull(Col(plan.table, plan.interim_field), True)

    def empty_rows(self) -> QuerySet[Any, Any]:
        """Return no rows: nothing undoes an UPDATE of the temporary table."""
        return self.link.rows().none()

    def all_rows(self) -> QuerySet[Any, Any]:
        """Return the rows that are cut into pages."""
        if self.final_key is not None:
            return self.link.rows()
        return super().all_rows()  # type: ignore[misc, no-any-return]  # mixed in

    def rows(self) -> QuerySet[Any, Any]:
        """Return the rows as populate gets them."""
        rows: QuerySet[Any, Any] = super().rows()  # type: ignore[misc]  # mixed in
        return rows if self.final_key is None else rows.filter(pk__lte=self.final_key)


class _OverExpression:
    """Mixed in before an engine whose values the database computes from real rows."""

    def _updatable(self) -> Any:
        # Of the real table, once: the other one has not the columns.
        return self._values_table()  # type: ignore[attr-defined]  # mixed in
