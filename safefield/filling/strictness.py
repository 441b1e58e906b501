"""What Field.clean() lets pass, and a database refuses or changes."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import math
import numbers
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from safefield.fields import AnyField
from safefield.filling.nonvalues import find_nonvalue, find_stray_object

#: Takes a field and a value; returns a clause that says what is wrong, or None.
Check = Callable[[AnyField, Any], "str | None"]

#: What makes of a value what the database is given.
CONVERSIONS = ("to_python", "get_prep_value", "get_db_prep_value", "get_db_prep_save")

#: Types whose objects have one text that says all of them.
TEXTS = (
    *(str, numbers.Real, Decimal, UUID, PurePath, FieldFile),
    *(dt.date, dt.time, dt.timedelta, dt.tzinfo),
    *(ipaddress.IPv4Address, ipaddress.IPv6Address),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network),
)


def get_type_check(field: AnyField) -> Check:
    """
    Return what finds a type that `field` would bend into its own.

    CharField makes a text of everything, and IntegerField drops a fraction. A field
    of the project's own decides itself, but for what is no value at all.
    """
    if not is_djangos(field):
        return _type_of_own
    own = _find(_TYPES, field)

    def check(field: AnyField, value: Any) -> str | None:
        fault = find_nonvalue(value) or find_stray_object(value)
        if fault is None and own is not None:
            fault = own(field, value)
        return fault

    return check


def get_value_check(field: AnyField, connection: BaseDatabaseWrapper) -> Check | None:
    """
    Return what finds a cleaned value that not every database can store.

    Args:
        connection (BaseDatabaseWrapper): Where the values go. The validators of an
            integer ask the default database for its range.
    """
    is_integer = isinstance(field, models.IntegerField)
    if not is_integer and not is_djangos(field):
        return None
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


def is_djangos(field: AnyField) -> bool:
    """Return whether `field` leaves the conversion of its values to Django."""
    return all(
        str(getattr(type(field), name).__module__).startswith("django.")
        for name in CONVERSIONS
    )


def _find(
    checks: dict[type[models.Field[Any, Any]], Check], field: AnyField
) -> Check | None:
    return next(
        (check for kind, check in checks.items() if isinstance(field, kind)), None
    )


# Types


def _type_of_own(field: AnyField, value: Any) -> str | None:
    fault = find_nonvalue(value)
    kind: Any = type(value)
    if (
        fault is None
        and isinstance(field, (models.CharField, models.TextField))
        and kind.__str__ is object.__str__
        and kind.__repr__ is object.__repr__
    ):
        fault = f"it is of type {kind.__name__}, which has no text"
    return fault


def _type_of_text(field: AnyField, value: Any) -> str | None:
    kind = type(value).__name__
    if isinstance(value, (bytes, memoryview)):
        return f"it is of type {kind}; decode it to a text"
    if isinstance(value, str):
        return None
    if isinstance(value, (dict, list, set, frozenset, tuple)):
        return f"it is of type {kind}, not a text"
    if isinstance(value, Enum):
        # Before Python 3.11, str() of an IntEnum is its name.
        is_plain = str(value) == str(value.value)
        return None if is_plain else f"it is a member of {kind}: give its .value"
    if not isinstance(value, TEXTS) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        return f"it is of type {kind}, not a text: give str() of it if that is meant"
    return None


def _type_of_integer(field: AnyField, value: Any) -> str | None:
    if isinstance(value, numbers.Integral):
        return None
    if isinstance(value, (numbers.Real, Decimal)) and (
        not math.isfinite(value) or value != int(value)  # type: ignore[arg-type]  # every Real has it
    ):
        kind = type(value).__name__
        return f"it is a {kind} that is not a whole number; give round() of it"
    return None


def _must_be(kinds: type | tuple[type, ...], instead: str) -> Check:
    def check(field: AnyField, value: Any) -> str | None:
        if isinstance(value, kinds):
            return None
        return f"it is of type {type(value).__name__}{instead}"

    return check


def _type_of_datetime(field: AnyField, value: Any) -> str | None:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return "it is a date without a time; give a datetime.datetime"
    return None


def _type_of_ip_address(field: AnyField, value: Any) -> str | None:
    if not isinstance(value, str):
        return f"it is of type {type(value).__name__}; give str() of it"
    if value != value.strip():
        return "it has blanks around it; give strip() of it"
    return None


def _type_of_file(field: AnyField, value: Any) -> str | None:
    if isinstance(value, FieldFile) and not getattr(value, "_committed", True):
        return "it is a file that is not saved; save it, and give its name"
    if not isinstance(value, (str, FieldFile)):
        return f"it is of type {type(value).__name__}; give the name of a saved file"
    return None


# Values


def find_surrogate(text: str) -> str | None:
    """Return a clause that says why no database stores `text`; or None."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it has half of a surrogate pair, which UTF-8 cannot store"
    return None


def _value_of_text(field: AnyField, value: Any) -> str | None:
    text = str(value)
    return "it has a NUL character" if "\0" in text else find_surrogate(text)


def _value_of_path(field: AnyField, value: Any) -> str | None:
    # No validator looks at this, nor does SQLite.
    if field.max_length is not None and len(str(value)) > field.max_length:
        return f"it has more than {field.max_length} characters"
    return _value_of_text(field, value)


def _value_of_float(field: AnyField, value: Any) -> str | None:
    return None if math.isfinite(value) else "it is not a finite number"


def _value_of_datetime(field: AnyField, value: Any) -> str | None:
    if settings.USE_TZ and timezone.is_naive(value):
        return (
            "it is a datetime without a time zone, and USE_TZ is True; give "
            "timezone.make_aware() of it"
        )
    if not settings.USE_TZ and timezone.is_aware(value):
        return (
            "it is a datetime with a time zone, and USE_TZ is False; give "
            "timezone.make_naive() of it"
        )
    if timezone.is_aware(value):
        try:
            value.astimezone(dt.timezone.utc)
        except OverflowError:
            return "in UTC it is not between the years 1 and 9999"
    return None


def _value_of_time(field: AnyField, value: Any) -> str | None:
    return "it is a time with a time zone" if value.tzinfo is not None else None


def _value_of_json(field: AnyField, value: Any) -> str | None:
    if hasattr(value, "resolve_expression"):
        # JSON null.
        return None
    try:
        text = json.dumps(value, cls=field.encoder, allow_nan=False)
    except ValueError:
        return "it has a number that is not finite, which JSON cannot store"
    # An escaped backslash before u0000 is a text of six characters.
    if "\\u0000" in text.replace("\\\\", ""):
        return "it has a NUL character"
    return None


_TYPES: dict[type[models.Field[Any, Any]], Check] = {
    models.CharField: _type_of_text,
    models.TextField: _type_of_text,
    models.IntegerField: _type_of_integer,
    models.BinaryField: _must_be(bytes, ", not bytes"),
    models.DateTimeField: _type_of_datetime,
    models.DurationField: _must_be(dt.timedelta, "; give a datetime.timedelta"),
    models.GenericIPAddressField: _type_of_ip_address,
    models.FileField: _type_of_file,
    models.FilePathField: _must_be((str, PurePath), ", not a path"),
}

_VALUES: dict[type[models.Field[Any, Any]], Check] = {
    models.CharField: _value_of_text,
    models.TextField: _value_of_text,
    models.FileField: _value_of_path,
    models.FilePathField: _value_of_path,
    models.FloatField: _value_of_float,
    models.DateTimeField: _value_of_datetime,
    models.TimeField: _value_of_time,
    models.JSONField: _value_of_json,
}
