"""SQLite: foreign keys to a column that changes, by the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.fields import AnyField

#: Fields as they are, and as they are to be.
Alterations = Sequence[tuple[AnyField, AnyField]]


def find_own_keys(
    alterations: Alterations, connection: BaseDatabaseWrapper
) -> Alterations:
    """Return the foreign keys of the table to a column of its own that changes."""
    return [
        (key, key)
        for old, new in alterations
        if old.db_type(connection) != new.db_type(connection)
        for key in new.model._meta.local_concrete_fields
        if key.is_relation
        and key.column != new.column
        and key.target_field.model._meta.db_table == new.model._meta.db_table
        and key.target_field.column == new.column
    ]


def find_keys_to(model: Any, table: str) -> Alterations:
    """Return the foreign keys of a model to `table`, or to a key that leads there."""
    return [
        (field, field)
        for field in model._meta.local_concrete_fields
        if _leads_to(field, table)
    ]


def _leads_to(field: AnyField, table: str) -> bool:
    """Return whether a foreign key refers to `table`, or to a key that does."""
    while field.remote_field is not None:
        field = field.target_field
        if field.model._meta.db_table == table:
            return True
    return False
