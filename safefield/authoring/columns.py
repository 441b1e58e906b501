"""Columns of fields that are bound to no model, as operations have them."""

from __future__ import annotations

from typing import Any


def get_column(field: Any, name: str) -> str | None:
    """Return the column of a field that is bound to no model; None if it has none."""
    if field.many_to_many:
        return None
    named = field.clone()
    named.set_attributes_from_name(name)
    column: str | None = named.column
    return column


def move_column(field: Any, name: str, column: str) -> Any:
    """Return a copy of a field that has another column."""
    moved = rebuild_field(field, db_column=None)
    if get_column(moved, name) == column:
        return moved
    return rebuild_field(field, db_column=column)


def rebuild_field(field: Any, **changes: Any) -> Any:
    """Return a copy of a field with other arguments; None leaves one out."""
    _, _, args, kwargs = field.deconstruct()
    kwargs = {**kwargs, **changes}
    return type(field)(
        *args, **{name: value for name, value in kwargs.items() if value is not None}
    )
