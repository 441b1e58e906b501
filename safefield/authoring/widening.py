"""Whether the values of a field can stay as they are when it is altered."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import CharField, Field, ForeignKey, IntegerField, TextField

#: Arguments of a field that change no value; its null is looked at by itself.
_HARMLESS = {
    *Field.non_db_attrs,
    "auto_now",
    "auto_now_add",
    "db_comment",
    "db_constraint",
    "db_default",
    "db_index",
    "default",
    "null",
    "on_delete",
    "unique",
}


def keeps_values(old: Any, new: Any) -> bool:
    """Return whether an alteration leaves each value, and each NULL, as it is."""
    if old.null and not new.null:
        return False
    if old.many_to_many and new.many_to_many:
        return bool(old.db_table == new.db_table)
    if old.many_to_many or new.many_to_many:
        return False
    if _describe(old) == _describe(new):
        return True
    if isinstance(old, (CharField, TextField)) and isinstance(new, TextField):
        return True
    if isinstance(old, CharField) and isinstance(new, CharField):
        return bool(
            old.max_length and new.max_length and new.max_length >= old.max_length
        )
    ranges = BaseDatabaseOperations.integer_field_ranges
    if old.primary_key != new.primary_key or old.unique != new.unique:
        return False
    old_range, new_range = (
        ranges.get(field.get_internal_type()) for field in (old, new)
    )
    return bool(
        old_range
        and new_range
        and new_range[0] <= old_range[0]
        and old_range[1] <= new_range[1]
    )


def holds_no_keys(
    state: ProjectState, key: tuple[str, str], old_field: Any, field: Any
) -> bool:
    """Return whether texts are to become a foreign key to rows with numbers."""
    is_text = isinstance(old_field, (CharField, TextField))
    if not is_text or not isinstance(field, ForeignKey):
        return False
    target = state.models.get(resolve_relation(field.remote_field.model, *key))
    wanted = field.remote_field.field_name
    return target is not None and any(
        isinstance(other, IntegerField)
        for name, other in target.fields.items()
        if (name == wanted if wanted else other.primary_key)
    )


def _describe(field: Any) -> tuple[str, list[Any], dict[str, Any]]:
    _, path, args, kwargs = field.deconstruct()
    return (
        path,
        args,
        {name: value for name, value in kwargs.items() if name not in _HARMLESS},
    )
