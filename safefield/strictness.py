"""What Field.clean() lets pass, and a database refuses or changes."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.utils import timezone
from django.utils.functional import Promise

from safefield.fields import AnyField

__all__ = ["get_type_check", "get_value_check"]

#: Takes a field and a value; returns a clause that says what is wrong, or None.
Check = Callable[[AnyField, Any], "str | None"]


def get_type_check(field: AnyField) -> Check:
    """
    Return what finds a type that `field` would bend into its own.

    CharField makes a text of everything, and IntegerField drops a fraction.
    """
    own = _find(_TYPES, field)

    def check(field: AnyField, value: Any) -> str | None:
        if isinstance(value, Model):
            return (
                f"it is an instance of {value._meta.label}, and the field is not "
                f"a relation"
            )
        if isinstance(value, Promise):
            return "it is a lazy translation; give str() of it"
        return None if own is None else own(field, value)

    return check


def get_value_check(field: AnyField, connection: BaseDatabaseWrapper) -> Check | None:
    """Return what finds a cleaned value that not every database can store."""
    # By name, because the method of SQLite knows no bounds.
    bounds = connection.ops.integer_field_ranges.get(field.get_internal_type())
    if bounds is None:
        return _find(_VALUES, field)
    least, most = bounds

    def check(field: AnyField, value: Any) -> str | None:
        if isinstance(value, int) and not least <= value <= most:
            return f"it is not between {least} and {most}"
        return None

    return check


def _find(
    checks: dict[type[models.Field[Any, Any]], Check], field: AnyField
) -> Check | None:
    if not _is_djangos(field):
        return None
    return next(
        (check for kind, check in checks.items() if isinstance(field, kind)), None
    )


def _is_djangos(field: AnyField) -> bool:
    """Return whether a field of the project's own leaves conversion to Django."""
    return str(type(field).to_python.__module__).startswith("django.")


def _type_of_text(field: AnyField, value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"it is of type {type(value).__name__}; decode it to a text"
    if isinstance(value, (dict, list, set, frozenset, tuple)):
        return f"it is of type {type(value).__name__}, not a text"
    return None


def _type_of_integer(field: AnyField, value: Any) -> str | None:
    if isinstance(value, float) and not value.is_integer():
        return "it is a float that is not a whole number"
    return None


def _type_of_binary(field: AnyField, value: Any) -> str | None:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return f"it is of type {type(value).__name__}, not bytes"
    return None


def _type_of_datetime(field: AnyField, value: Any) -> str | None:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return "it is a date without a time"
    return None


def _value_of_text(field: AnyField, value: Any) -> str | None:
    if "\0" in str(value):
        return "it has a NUL character"
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return "it has half of a surrogate pair, which UTF-8 cannot store"
    return None


def _value_of_float(field: AnyField, value: Any) -> str | None:
    return None if math.isfinite(value) else "it is not a finite number"


def _value_of_datetime(field: AnyField, value: Any) -> str | None:
    if settings.USE_TZ and timezone.is_naive(value):
        return "it is a datetime without a time zone, and USE_TZ is True"
    if not settings.USE_TZ and timezone.is_aware(value):
        return "it is a datetime with a time zone, and USE_TZ is False"
    return None


def _value_of_time(field: AnyField, value: Any) -> str | None:
    return "it is a time with a time zone" if value.tzinfo is not None else None


def _value_of_json(field: AnyField, value: Any) -> str | None:
    try:
        text = json.dumps(value, cls=field.encoder, allow_nan=False)
    except ValueError:
        return "it has a number that is not finite, which JSON cannot store"
    except TypeError:
        # An expression, such as Value(None, JSONField()).
        return None
    # An escaped backslash before u0000 is a text of six characters.
    if "\\u0000" in text.replace("\\\\", ""):
        return "it has a NUL character"
    return None


_TYPES: dict[type[models.Field[Any, Any]], Check] = {
    models.CharField: _type_of_text,
    models.TextField: _type_of_text,
    models.IntegerField: _type_of_integer,
    models.BinaryField: _type_of_binary,
    models.DateTimeField: _type_of_datetime,
}

_VALUES: dict[type[models.Field[Any, Any]], Check] = {
    models.CharField: _value_of_text,
    models.TextField: _value_of_text,
    models.FileField: _value_of_text,
    models.FloatField: _value_of_float,
    models.DateTimeField: _value_of_datetime,
    models.TimeField: _value_of_time,
    models.JSONField: _value_of_json,
}
