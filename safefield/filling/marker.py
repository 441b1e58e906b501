"""A column for the time of the way back: which rows are still to be reversed."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import truncate_name
from django.db.models import BooleanField

from safefield.backends.base.schema import Schema
from safefield.backends.base.sql import find_column_names
from safefield.plan import Plan

#: Characters that the names of columns may have everywhere.
MAX_NAME_LENGTH = 60


class Marker:
    """
    A column that is NULL in rows that are reversed.

    Where the column of the field may be NULL in any row, that says nothing. What the
    application inserts meanwhile is still to be reversed by the default.
    """

    def __init__(self, plan: Plan, schema: Schema) -> None:
        self.plan = plan
        self.schema = schema
        field: Any = BooleanField(null=True, db_default=True)
        name = f"safefield_{plan.field.column}_unreversed"
        field.set_attributes_from_name(truncate_name(name, MAX_NAME_LENGTH))
        field.model = plan.new_model
        self.field = field

    def is_there(self) -> bool:
        """Return whether a run that was stopped has left it."""
        names = find_column_names(self.schema.connection, self.plan.table)
        return self.field.column in names

    def add(self) -> None:
        """Add it: all rows are to be reversed."""
        if not self.is_there():
            editor, model = self.schema.editor, self.plan.new_model
            self.schema.locks.change_table(lambda: editor.add_field(model, self.field))

    def drop(self) -> None:
        """Drop it, if it is there."""
        if self.is_there():
            editor, model = self.schema.editor, self.plan.new_model
            self.schema.locks.change_table(
                lambda: editor.remove_field(model, self.field)
            )
