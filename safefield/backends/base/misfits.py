"""Values in a column that Django's field would not have stored there."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from safefield.fields import AnyField

#: Every row: only Python can tell of its value.
ALWAYS = ~Q(pk__in=())

#: What makes a field store and read its values in its own way.
METHODS = (
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
    "from_db_value",
    "db_type",
)


def find_misfits(connection: Any, field: AnyField) -> Any:
    """
    Return the condition on rows whose value may be none of the field's.

    None where the types of the columns see to it.
    """
    return None


def is_stock(field: AnyField) -> bool:
    """Return whether `field` stores what Django's field of its type does."""
    base = getattr(models, field.get_internal_type(), None)
    return field.remote_field is None and all(
        getattr(type(field), name, None) is getattr(base, name, None)
        for name in METHODS
    )
