"""MySQL and MariaDB: truth values are small integers, and addresses are texts."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, F, Func

from safefield.backends.base.misfits import ALWAYS, is_stock
from safefield.fields import AnyField


def find_misfits(connection: Any, field: AnyField) -> Any:
    """Return the condition on rows whose value may be none of the field's."""
    kind = field.get_internal_type()
    if not is_stock(field):
        return None
    if kind == "BooleanField":
        return Func(
            F(field.attname),
            template="%(expressions)s NOT IN (0, 1)",
            output_field=BooleanField(),
        )
    has_uuids = connection.features.has_native_uuid_field
    if kind == "GenericIPAddressField" or (kind == "UUIDField" and not has_uuids):
        return ALWAYS
    return None
