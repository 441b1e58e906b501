"""From what a function returns to what a row is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from safefield.backends import get_backend
from safefield.backends.base.writer import Writer
from safefield.filling.acceptance import refuse_all
from safefield.filling.assignment import (
    Assignment,
    CompanionWriter,
    has_own_attribute,
    snapshot,
)
from safefield.filling.values import Values
from safefield.plan import Plan


class Preparation:
    """Assign, check and convert the values of the field."""

    def __init__(self, plan: Plan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.connection = connection
        self.values = Values(plan.field, connection, allow_blank=plan.allow_blank)
        #: What assigns the values, where that does more than set the column.
        self.assignment: Assignment | None = None
        if has_own_attribute(plan.new_model, plan.field):
            self.assignment = Assignment(plan.new_model, connection)
        #: Says of a value that prepare() would return it as it is, and nothing else.
        self.accepts = refuse_all if self.assignment else self.values.accepts

    def make_writer(self) -> Writer:
        """Return what writes prepared values into rows that have none."""
        writer_class: Callable[..., Writer] = get_backend(self.connection).writer
        if self.assignment is not None:
            writer_class = partial(CompanionWriter, writer_class)
        return writer_class(
            self.connection,
            self.plan.new_model,
            [self.plan.field],
            only_null=self.plan.field,
        )

    def copy(self, row: Model) -> Model | None:
        """Return what a value is assigned to, before the function changes the row."""
        return None if self.assignment is None else self.assignment.copy(row)

    def get_stored(self, value: Any) -> Any:
        """Return a prepared value as Django reads it from the column, to be kept."""
        if self.values.accepts(value):
            return value
        return snapshot(self.values.clean(value))

    def prepare(
        self, instance: Model | None, value: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """
        Assign a value, and make ready for the database what that changes.

        Args:
            instance (Model | None): From copy(); it is changed.

        Returns:
            tuple: What the field holds then; and what is written: the value of the
                column and, if others change, theirs by field.

        Raises:
            ValidationError: The value cannot be assigned, or a column does not take
                what it gets.
        """
        field = self.plan.field
        if self.assignment is None or instance is None:
            return value, (self.values.prepare(value),)
        if value is None and not field.null:
            return value, (self.values.prepare(value), {})
        columns = self.assignment.assign(instance, {self.plan.field_name: value})
        (_, value), *others = columns.items()
        prepare = self.assignment.prepare
        return value, (
            self.values.prepare(value),
            {other: prepare(other, content) for other, content in others},
        )
