"""The way back: write what reverse says into the other fields of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Writer
from safefield.conf import get_configuration
from safefield.exceptions import BadRow, BadValue
from safefield.fields import AnyField
from safefield.filling.assignment import Assignment
from safefield.filling.attributes import has_own_attribute
from safefield.filling.marker import Marker
from safefield.filling.passes import Pass
from safefield.filling.values import Values
from safefield.filling.violations import find_violation
from safefield.plan import Plan
from safefield.populate import bind, function_name


class Reversal(Pass):
    """
    Write back what reverse says of each row.

    Re-run: a row that is reversed has NULL in the column, or in that of the marker
    where the field takes NULL or stays, so each is reversed once. In a transaction
    nothing has to be known.
    """

    def __init__(self, plan: Plan, schema: Schema) -> None:
        super().__init__(plan, schema, plan.new_model)
        assert plan.reverse is not None
        self.reverse = bind(plan.reverse, plan.migration_apps)
        self.source = function_name(plan.reverse)
        self.goes_away = plan.old_field is None
        self.marker: Marker | None = None
        #: The column that is set to NULL row by row.
        self.done: AnyField | None = None
        if self.goes_away and not plan.field.null:
            self.done = plan.interim_field
        elif schema.commits:
            self.marker = Marker(plan, schema)
            self.done = self.marker.field
        #: The columns that a row is found by, also those of its parents.
        self.key_names = {
            field.attname
            for model in (self.model, *self.model._meta.all_parents)
            for field in model._meta.pk_fields
        }
        #: What assigns the values, where that may do more than set columns.
        self.assignment: Assignment | None = None
        if any(
            has_own_attribute(self.model, field)
            for field in self.model._meta.concrete_fields
        ):
            self.assignment = Assignment(self.model, self.connection)
        self._values: dict[AnyField, Values] = {}
        self._writers: dict[tuple[type[Model], tuple[AnyField, ...]], Writer] = {}

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
        if self.marker is not None:
            self.marker.add()
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
            f"{kept} Fix {self.source} and run migrate again.",
        )

    def handle(self, rows: Sequence[Model], *, savepoints: bool) -> None:
        """Write back what reverse says of one batch."""
        # Rows whose answers name the same fields are written together.
        groups: dict[tuple[AnyField, ...], list[_Answer]] = {}
        reverse = self.guard(self.reverse, savepoints)
        for row in self.size.take(rows):
            # Read before reverse has the row, which it may change.
            key = self.last_key = self.key_of(row)
            parts = SimpleNamespace(
                **{name: getattr(row, name) for name in self.key_names}
            )
            try:
                copy = None if self.assignment is None else self.assignment.copy(row)
                answer = self._checked(reverse(row) or {})
                if copy is not None:
                    answer = self._assign(copy, answer)
                prepared = {
                    field: self._prepare(field, answer[field.name])
                    for field in map(self.model._meta.get_field, sorted(answer))
                }
            except DatabaseError as exc:
                if not savepoints:
                    raise
                self.note_bad(key, self.source, exc)
            except Exception as exc:
                self.note_bad(key, self.source, exc)
            else:
                group = groups.setdefault(tuple(prepared), [])
                group.append(_Answer(key, parts, tuple(prepared.values())))
        for fields, answers in groups.items():
            answers = self._take_existing(fields, answers)
            if savepoints:
                for single in answers:
                    self._write_singly(fields, single)
            else:
                self._write(fields, answers)

    def _prepare(self, field: AnyField, value: Any) -> Any:
        if field not in self._values:
            self._values[field] = Values(
                field, self.connection, allow_blank=self.plan.allow_blank
            )
        return self._values[field].prepare(value)

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
            if field.name in answer or not self._is_going(field)
        }

    def _is_going(self, field: AnyField) -> bool:
        return self.goes_away and bool(field.name == self.plan.field_name)

    def _checked(self, answer: Any) -> Mapping[str, Any]:
        """
        Return an answer by the names of its fields.

        Raises:
            BadValue: It names something else than columns that can be written.
        """
        if not isinstance(answer, Mapping):
            raise BadValue(
                f"it must be a mapping of field names to values or None, not "
                f"{type(answer).__name__}"
            )
        checked: dict[str, Any] = {}
        for name, value in answer.items():
            try:
                field: AnyField = self.model._meta.get_field(name)
            except FieldDoesNotExist:
                shows_name = get_configuration().SHOW_VALUES
                shown = repr(name) if shows_name else "of a name in its answer"
                raise BadValue(f"{self.plan.label} has no field {shown}") from None
            if not field.concrete or field.many_to_many or field.primary_key:
                raise BadValue(f"{name!r} is not a column that can be written")
            if self._is_going(field):
                raise BadValue(f"{name!r} is the column that goes away")
            if field.name in checked:
                raise BadValue(f"{field.name!r} and {field.attname!r} are one column")
            checked[field.name] = value
        return checked

    def _take_existing(
        self, fields: Sequence[AnyField], answers: list[_Answer]
    ) -> list[_Answer]:
        """Return the answers whose keys are there, and take note of the others."""
        for position, field in enumerate(fields):
            if not (
                self.connection.features.supports_foreign_keys
                and getattr(field, "db_constraint", False)
            ):
                continue
            keys = {answer.values[position] for answer in answers} - {None}
            missing = self._find_missing(field.target_field, keys)
            label = field.target_field.model._meta.label
            for answer in answers:
                if answer.values[position] in missing:
                    fault = BadValue(f"there is no {label} with this key")
                    self.note_bad(answer.key, self.source, fault)
            answers = [a for a in answers if a.values[position] not in missing]
        return answers

    def _find_missing(self, target: AnyField, keys: set[Any]) -> set[Any]:
        rows: QuerySet[Any] = QuerySet(target.model, using=self.alias)
        found = rows.filter(**{f"{target.attname}__in": keys})
        known = {
            target.get_db_prep_save(key, self.connection)
            for key in found.values_list(target.attname, flat=True)
        }
        # One by one: a collation may take another spelling for the same.
        return {
            key
            for key in keys - known
            if not rows.filter(**{target.attname: key}).exists()
        }

    def _write_singly(self, fields: Sequence[AnyField], answer: _Answer) -> None:
        """Write back one row, so that an error is about this row alone."""
        try:
            with transaction.atomic(using=self.alias):
                self._write(fields, [answer])
        except Exception as exc:
            violation = isinstance(exc, DatabaseError) and find_violation(exc)
            if violation:
                reason = f"the database refused what {self.source} gave"
                self.bad_rows.append(BadRow(answer.key, f"{reason}: {violation.value}"))
            else:
                self.note_bad(answer.key, "the database", exc)

    def _write(self, fields: Sequence[AnyField], answers: Sequence[_Answer]) -> None:
        # In multi-table inheritance a field may be in the table of a parent.
        by_model: dict[type[Model], list[int]] = {}
        if self.done is not None:
            by_model[self.model] = []
        for position, field in enumerate(fields):
            by_model.setdefault(field.model, []).append(position)
        # The row's own table last: its NULL says that the row is done.
        for model in sorted(by_model, key=lambda model: model is self.model):
            positions = by_model[model]
            writer = self._get_writer(model, tuple(fields[p] for p in positions))
            writer.write(
                [
                    (
                        writer.key_of(answer.parts),
                        tuple(answer.values[position] for position in positions),
                    )
                    for answer in answers
                ]
            )

    def _get_writer(self, model: type[Model], fields: tuple[AnyField, ...]) -> Writer:
        if (model, fields) not in self._writers:
            self._writers[model, fields] = self.writer_class(
                self.connection,
                model,
                fields,
                set_null=self.done if model is self.model else None,
            )
        return self._writers[model, fields]


class _Answer(NamedTuple):
    """
    What reverse says of one row.

    Args:
        key (Any): Primary key of the row.
        parts (Any): Has the parts of the key, and the keys of its parents.
        values (tuple): Ready for the database.
    """

    key: Any
    parts: Any
    values: tuple[Any, ...]
