"""The way back: write what reverse says into the other fields of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError
from django.db.models import Field, Model
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.assignment import Assignment
from safefield.attributes import has_own_attribute
from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Row
from safefield.exceptions import BadValue
from safefield.passes import Pass
from safefield.plan import Plan
from safefield.populate import bind, function_name
from safefield.values import Values

__all__ = ["Reversal"]


class Reversal(Pass):
    """Write back what reverse says of each row."""

    def __init__(self, plan: Plan, schema: Schema) -> None:
        super().__init__(plan, schema, plan.new_model)
        assert plan.reverse is not None
        self.reverse = bind(plan.reverse, plan.migration_apps)
        self.source = function_name(plan.reverse)
        #: A column that goes away is set to NULL row by row: that is how a
        #: second run knows which rows are done.
        self.done: Field[Any, Any] | None = (
            plan.loose_field if plan.old_field is None else None
        )

        #: What assigns the values, where that may do more than set columns.
        self.assignment: Assignment | None = None
        if any(
            has_own_attribute(self.model, field)
            for field in self.model._meta.concrete_fields
        ):
            self.assignment = Assignment(self.model, self.connection)

    def wanted(self) -> Any:
        """Return the condition that a row is not reversed yet."""
        return (
            None
            if self.done is None
            else IsNull(Col(self.plan.table, self.done), False)
        )

    def run(self) -> None:
        """
        Reverse every row.

        Raises:
            BackfillError: Some rows could not be reversed. The others are,
                and the column is still there.
        """
        self.run_pages(f"Reversing {self.plan.title}")
        if self.done is not None and not self.bad_rows:
            # What the application inserted behind the pass.
            self.run_pages(f"Reversing {self.plan.title}")
        kept = (
            "The other rows are reversed, and the column is still there."
            if self.schema.commits
            else "Nothing was changed."
        )
        self.raise_bad(
            " could not be reversed in some rows",
            f"{kept} Mend {self.source} and run migrate again.",
        )

    def handle(self, rows: Sequence[Model], *, savepoints: bool) -> None:
        """Write back what reverse says of one batch."""
        # Rows whose answers name the same fields are written together.
        groups: dict[tuple[str, ...], list[tuple[Model, Mapping[str, Any]]]] = {}
        reverse = self.guard(self.reverse, savepoints)
        for row in self.size.take(rows):
            self.last_key = self.key_of(row)
            try:
                copy = None if self.assignment is None else self.assignment.copy(row)
                answer = self._checked(reverse(row) or {})
                if copy is not None:
                    answer = self._assign(copy, answer)
                names = tuple(sorted(answer))
            except DatabaseError as exc:
                if not savepoints:
                    raise
                self.note_bad(row.pk, self.source, exc)
            except Exception as exc:
                self.note_bad(row.pk, self.source, exc)
            else:
                groups.setdefault(names, []).append((row, answer))
        for names, answers in groups.items():
            self._write(names, answers)

    def _assign(self, copy: Model, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `answer` with all that assigning its values to `copy` changes."""
        assert self.assignment is not None
        fields = [self.model._meta.get_field(name) for name in answer]
        if not any(has_own_attribute(self.model, field) for field in fields):
            return answer
        found = self.assignment.assign(copy, answer)
        return {
            field.name: value
            for field, value in found.items()
            # It goes away.
            if field.name in answer or field != self.done
        }

    def _checked(self, answer: Any) -> Mapping[str, Any]:
        if not isinstance(answer, Mapping):
            raise BadValue(
                f"it must be a mapping of field names to values or None, not "
                f"{type(answer).__name__}"
            )
        for name in answer:
            try:
                field = self.model._meta.get_field(name)
            except FieldDoesNotExist:
                raise BadValue(f"{self.plan.label} has no field {name!r}") from None
            if not field.concrete or field.many_to_many or field.primary_key:
                raise BadValue(f"{name!r} is not a column that can be written")
        return answer

    def _write(
        self,
        names: tuple[str, ...],
        answers: Sequence[tuple[Model, Mapping[str, Any]]],
    ) -> None:
        fields: list[Any] = [self.model._meta.get_field(name) for name in names]
        # In multi-table inheritance a field may be in the table of a parent.
        by_model: dict[type[Model], list[Field[Any, Any]]] = {}
        if self.done is not None:
            by_model[self.model] = []
        for field in fields:
            by_model.setdefault(field.model, []).append(field)
        # The row's own table last: its NULL says that the row is done.
        for model in sorted(by_model, key=lambda model: model is self.model):
            self._write_table(model, by_model[model], answers)

    def _write_table(
        self,
        model: type[Model],
        fields: list[Field[Any, Any]],
        answers: Sequence[tuple[Model, Mapping[str, Any]]],
    ) -> None:
        writer = self.writer_class(
            self.connection,
            model,
            fields,
            set_null=self.done if model is self.model else None,
        )
        values = [
            Values(field, self.connection, allow_blank=self.plan.allow_blank)
            for field in fields
        ]
        written: list[Row] = []
        for row, answer in answers:
            try:
                converted = tuple(
                    value.prepare(answer[value.field.name]) for value in values
                )
            except Exception as exc:
                self.note_bad(row.pk, self.source, exc)
                continue
            written.append((writer.key_of(row), converted))
        writer.write(written)
