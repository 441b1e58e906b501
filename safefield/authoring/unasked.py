"""Changes about which Django asks nothing, though rows of the table stop them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from django.db.migrations.state import ModelState
from django.db.models import UniqueConstraint

from safefield.fields import list_references


class Values(Enum):
    """What gives each row its value."""

    #: A function that the developer writes.
    FUNCTION = auto()
    #: A function that is complete: it returns the time.
    NOW = auto()
    #: The default of the field, called once a row. Where a field is altered and
    #: has no default, rows keep what they have.
    DEFAULT = auto()


def find_addition(model_state: ModelState, name: str) -> Values | None:
    """Return what rows need for a new field, if AddField is not enough."""
    field = model_state.get_field(name)
    if field.has_db_default():
        return None
    if lacks_value(field):
        return Values.FUNCTION
    if has_callable_default(field):
        return Values.DEFAULT if is_in_constraint(model_state, name) else None
    # AddField gives each row the empty text.
    is_blank = field.blank and field.empty_strings_allowed and not field.has_default()
    if is_blank and not field.null and is_unique(model_state, name):
        return Values.FUNCTION
    return None


def find_alteration(
    model_state: ModelState, name: str, old_field: Any
) -> Values | None:
    """Return what rows need for a changed field, if AlterField is not enough."""
    field = model_state.get_field(name)
    is_unique_now = field.unique and not old_field.unique
    if field.null:
        # The rows without a value keep none, also where there is a default.
        return Values.DEFAULT if is_unique_now and not field.has_default() else None
    if not old_field.null:
        return Values.DEFAULT if is_unique_now else None
    if field.has_db_default():
        return None
    if lacks_value(field):
        return Values.FUNCTION
    is_called = has_callable_default(field) and is_in_constraint(model_state, name)
    return Values.DEFAULT if field.unique or is_called else None


def lacks_value(field: Any) -> bool:
    """Return whether the field is required and its default is None."""
    return not field.null and field.has_default() and field.default is None


def has_callable_default(field: Any) -> bool:
    """Return whether the field's default is called, which Django does but once."""
    return field.has_default() and callable(field.default)


def is_unique(model_state: ModelState, name: str) -> bool:
    """Return whether no two rows may have the same value of the field."""
    return (
        model_state.get_field(name).unique
        or [name] in map(list, model_state.options.get("unique_together", ()))
        or any(
            get_names(constraint) == [name] and constraint.condition is None
            for constraint in get_constraints(model_state)
        )
    )


def is_in_constraint(model_state: ModelState, name: str) -> bool:
    """Return whether values of the field are unique, if only among some rows."""
    return any(
        name in names
        for names in (
            *model_state.options.get("unique_together", ()),
            *map(get_names, get_constraints(model_state)),
        )
    )


def get_constraints(model_state: ModelState) -> Iterator[Any]:
    """Yield the unique constraints of a model."""
    for constraint in model_state.options.get("constraints", ()):
        if isinstance(constraint, UniqueConstraint):
            yield constraint


def get_names(constraint: Any) -> list[str]:
    """Return the fields that a unique constraint compares."""
    names = list(constraint.fields)
    for expression in constraint.expressions:
        names += list_references(expression)
    return names
