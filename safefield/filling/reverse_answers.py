"""Ask reverse what it says of the rows of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError
from django.db.models import Model, QuerySet

from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BadRow, BadValue
from safefield.fields import AnyField
from safefield.filling.assignment import Assignment, has_own_attribute
from safefield.filling.bad_rows import blame_row, keep_apart
from safefield.filling.row_reader import RowReader
from safefield.filling.values import Values
from safefield.plan import Plan
from safefield.populate import bind, function_name


class Answer(NamedTuple):
    """
    What reverse says of one row.

    Args:
        parts (Any): Has the parts of the key, and the keys of its parents.
        values (tuple): Ready for the database.
    """

    key: Any
    parts: Any
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Asked:
    """
    What reverse says of the rows of a batch.

    Args:
        groups (Mapping): Answers by the fields that they name: these are written
            together.
    """

    groups: Mapping[tuple[AnyField, ...], list[Answer]]
    bad_rows: Sequence[BadRow]
    last_key: Any

    @property
    def count(self) -> int:
        """How many rows there were."""
        return len(self.bad_rows) + sum(map(len, self.groups.values()))


class ReverseAnswers:
    """Ask reverse, check what it says, and make it ready for the database."""

    def __init__(self, plan: Plan, schema: Schema, reader: RowReader) -> None:
        assert plan.reverse is not None
        self.plan = plan
        self.schema = schema
        self.connection = connection = schema.connection
        self.reader = reader
        self.model = reader.model
        self.reverse = bind(plan.reverse, plan.migration_apps)
        self.source = function_name(plan.reverse)
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
            self.assignment = Assignment(self.model, connection)
        #: Check and convert the values of a field.
        self.get_values = cache(
            lambda field: Values(field, connection, allow_blank=plan.allow_blank)
        )

    def ask(self, rows: Iterable[Model], *, singly: bool) -> Asked:
        """Call reverse for each row, and make its answers ready."""
        groups: dict[tuple[AnyField, ...], list[Answer]] = {}
        bad_rows: list[BadRow] = []
        reverse = self.reverse
        if singly:
            reverse = keep_apart(reverse, self.connection.alias)
        key = None
        for row in rows:
            # Read before reverse has the row, which it may change.
            key = self.reader.key_of(row)
            parts = SimpleNamespace(
                **{name: getattr(row, name) for name in self.key_names}
            )
            try:
                copy = None if self.assignment is None else self.assignment.copy(row)
                answer = self._checked(reverse(row) or {})
                if copy is not None:
                    answer = self._assign(copy, answer)
                prepared = {
                    field: self.get_values(field).prepare(answer[field.name])
                    for field in map(self.model._meta.get_field, sorted(answer))
                }
            except Exception as exc:
                if isinstance(exc, DatabaseError) and not singly:
                    raise
                bad_rows.append(blame_row(self.schema, key, self.source, exc))
            else:
                group = groups.setdefault(tuple(prepared), [])
                group.append(Answer(key, parts, tuple(prepared.values())))
        return Asked(groups, bad_rows, key)

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
        goes_away = self.plan.old_field is None
        return goes_away and bool(field.name == self.plan.field_name)

    def _checked(self, answer: Any) -> Mapping[str, Any]:
        """Return an answer by the names of its fields."""
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

    def split_existing(
        self, fields: Sequence[AnyField], answers: list[Answer]
    ) -> tuple[list[Answer], list[BadRow]]:
        """Return the answers whose keys are there, and what to say of the others."""
        bad_rows: list[BadRow] = []
        for position, field in enumerate(fields):
            if not (
                self.connection.features.supports_foreign_keys
                and getattr(field, "db_constraint", False)
            ):
                continue
            keys = {answer.values[position] for answer in answers} - {None}
            missing = self._find_missing(field.target_field, keys)
            label = field.target_field.model._meta.label
            fault = BadValue(f"there is no {label} with this key")
            bad_rows += [
                blame_row(self.schema, answer.key, self.source, fault)
                for answer in answers
                if answer.values[position] in missing
            ]
            answers = [a for a in answers if a.values[position] not in missing]
        return answers, bad_rows

    def _find_missing(self, target: AnyField, keys: set[Any]) -> set[Any]:
        rows: QuerySet[Any] = QuerySet(target.model, using=self.connection.alias)
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
