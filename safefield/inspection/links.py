"""One backfill on the temporary table of a rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import CheckConstraint, QuerySet

from safefield.backends import get_backend
from safefield.backends.base.catalogue import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import Layout, Shadow
from safefield.exceptions import BackfillError
from safefield.fields import AnyField, list_references
from safefield.filling.assignment import has_own_attribute
from safefield.filling.batch_size import Timing
from safefield.filling.fill import Fill
from safefield.filling.narrowing import Narrowing, make_refusal
from safefield.filling.refusals import find_column, refuse_plan
from safefield.filling.refused_constraints import refused
from safefield.filling.target import Target, has_no_value
from safefield.inspection.entries import Entry
from safefield.inspection.shadow_plans import make_shadow_plan
from safefield.inspection.supply import Supply
from safefield.plan import Plan


@dataclass(frozen=True)
class Tried:
    """What came of a backfill on the temporary table."""

    link: Link
    error: BackfillError | None
    #: Rows that had a value before.
    filled: int
    #: What rows had that had to give way to others, by their primary keys.
    originals: Mapping[Any, Any]
    #: How long each batch took.
    batches: Sequence[Timing]
    #: Seconds beside those.
    seconds: float


class Link:
    """
    One backfill, which reads the table and writes to the temporary one.

    Where earlier backfills have not run, it reads the temporary one too: that is then
    a copy of the whole table, and has what these fill.

    Args:
        supply (Supply): What the table is given first.
        limit (int | None): Rows to rehearse; None for all.

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
        #: The plan on the temporary table alone.
        self.shadow_plan = make_shadow_plan(
            entry, self.plan, name, is_instead=supply.is_needed
        )
        self.column_name = str(self.plan.field.attname)

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

    def prepare(self, shadow: Shadow) -> BackfillError | None:
        """
        Give the temporary table the column, or the column its new type.

        Returns:
            BackfillError | None: What the database has against it.
        """
        schema = self._make_schema(self.shadow_plan)
        alias, is_inside = self.connection.alias, self.connection.in_atomic_block
        try:
            with transaction.atomic(alias) if is_inside else nullcontext():
                if self.plan.old_field is not None:
                    shadow.change_type(schema)
                elif not self.has_column:
                    shadow.add(self.plan.field)
                shadow.try_definition(schema)
        except BackfillError as exc:
            return exc
        except DatabaseError as exc:
            if self.plan.old_field is not None:
                return make_refusal(self.plan, exc)
            return self.plan.error(
                f"{self.plan.title}: the database refused the definition of column "
                f"{self.plan.field.column}: {exc}"
            )
        return None

    def run(self, shadow: Shadow, *, may_write: bool) -> Tried:
        """Do what migrate does."""
        error: BackfillError | None = None
        batches: list[Timing] = []
        # An expression calls no Python that could write, and wants a table of its own.
        may_write = may_write or self.plan.is_expression
        with shadow.watch(may_write=may_write):
            values = {f"{self.column_name}__isnull": False}
            filled = self.rows().filter(**values).count()
            fill = Fill(self._make_target(batches))
            started = self.clock()
            try:
                fill.fill_and_check(self.column, prepare=lambda: None)
            except BackfillError as exc:
                error = exc
            seconds = self.clock() - started
            seconds -= sum(batch.seconds for batch in batches)
        return Tried(
            self,
            error or self._enforce(shadow, fill),
            filled,
            {} if fill.collisions is None else fill.collisions.originals,
            batches,
            seconds,
        )

    def rows(self) -> QuerySet[Any, Any]:
        """Return the rows of the temporary table."""
        return QuerySet(self.shadow_plan.new_model, using=self.connection.alias)

    def _enforce(self, shadow: Shadow, fill: Fill) -> BackfillError | None:
        schema = self._make_schema(replace(self.shadow_plan))
        try:
            with transaction.atomic(using=self.connection.alias):
                shadow.enforce(schema)
        except DatabaseError as exc:
            return refused(self.shadow_plan, schema, exc, fill.filled)
        return None

    def _named_fields(self) -> list[AnyField]:
        """Return the other fields that the constraints of the field are about."""
        model: Any = self.shadow_plan.new_model
        fields = [model._meta.get_field(name) for name in self.plan.unique_with]
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                names = set(list_references(constraint.condition))
                if self.plan.field_name in names:
                    fields += [
                        model._meta.get_field(name)
                        for name in sorted(names - {self.plan.field_name, "pk"})
                    ]
        return fields

    # The fill

    def _make_schema(self, plan: Plan) -> Schema:
        return get_backend(self.connection).schema(self.editor, plan)

    def _make_target(self, batches: list[Timing]) -> Target:
        """Return the temporary table as a target, which takes down its batches."""
        rows = self.rows()
        count = rows.count()
        plan = self.shadow_plan
        target = Target(
            plan,
            self._make_schema(plan),
            has_no_value(plan),
            estimate_rows=lambda: count,
            clock=self.clock,
            on_batch=batches.append,
        )
        if self.supply.is_needed:
            return target
        plan = replace(self.plan, new_model=plan.new_model)
        target = replace(
            target,
            plan=plan,
            schema=self._make_schema(plan),
            wanted=has_no_value(self.plan) if self.has_column else None,
            is_beside=True,
        )
        if self.plan.is_expression:
            return replace(target, paged=rows)
        if self.limit is None:
            return target
        empty = rows.filter(**{f"{self.column_name}__isnull": True})
        last_key = empty.order_by("-pk").values_list("pk", flat=True).first()
        if last_key is None:
            return target
        return replace(target, last_key=last_key, paged=rows)
