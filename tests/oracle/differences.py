"""Where safefield and save() differ on purpose: each with its reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from tests.oracle.values import NO_VALUES

__all__ = ["DIFFERENCES", "Difference", "Found"]


#: Django 6.1: a value that JSONField.clean() refuses and save() stores.
JSON_NULL: Any = getattr(models, "JSONNull", ())


@dataclass(frozen=True)
class Found:
    """
    A value of which safefield and save() do not make the same.

    Args:
        case (str): The case.
        field (Field): Its field.
        vendor (str): The database.
        value (Any): The value.
        kind (str): "stricter", "looser" or "other".
        said (str): Why the one of them refused it.
    """

    case: str
    field: Any
    vendor: str
    value: Any
    kind: str
    said: str


@dataclass(frozen=True)
class Difference:
    """
    A difference that is meant.

    Args:
        reason (str): Why.
        kind (str): As in Found.
        fits (Callable): Whether what was found is this difference.
    """

    reason: str
    kind: str
    fits: Callable[[Found], bool]


def clean_refuses(found: Found) -> bool:
    """Return whether Django's own Field.clean() refuses the value."""
    found.field.editable = True
    try:
        found.field.clean(found.value, None)
    except ValidationError:
        return not isinstance(found.value, JSON_NULL)
    except Exception:
        # Decimal("sNaN") and the like.
        return False
    return False


def is_out_of_range(found: Found) -> bool:
    """Return whether an integer is out of the range that Django's fields have."""
    vendor = "mysql" if found.vendor == "mysql" else "postgresql"
    ranges = import_string(f"django.db.backends.{vendor}.operations.DatabaseOperations")
    bounds = ranges.integer_field_ranges.get(found.field.get_internal_type())
    try:
        value = int(found.value)
    except (ArithmeticError, TypeError, ValueError):
        return False
    return bool(bounds) and not bounds[0] <= value <= bounds[1]


def loses_a_fraction(found: Found) -> bool:
    """Return whether an integer field would drop a part of a number."""
    return (
        isinstance(found.field, (models.IntegerField, models.ForeignKey))
        and isinstance(found.value, (float, Decimal))
        and found.value % 1 != 0
    )


def is_no_text(found: Found) -> bool:
    """Return whether a field of texts was given something else."""
    kinds = (models.CharField, models.TextField, models.FileField, models.FilePathField)
    return isinstance(found.field, kinds) and not isinstance(found.value, str)


def is_too_long(found: Found) -> bool:
    most = found.field.max_length
    return most is not None and len(str(found.value)) > most


def is_naive(found: Found) -> bool:
    return (
        isinstance(found.field, models.DateTimeField)
        and isinstance(found.value, dt.date)
        and getattr(found.value, "tzinfo", None) is None
    )


def is_of_numpy(found: Found) -> bool:
    return type(found.value).__module__ == "numpy"


DIFFERENCES = [
    Difference(
        "Values go through Field.clean(): choices, validators, blank, max_length. "
        "SQLite would store what PostgreSQL refuses, and a required text is not ''.",
        "stricter",
        clean_refuses,
    ),
    Difference(
        "SQLite knows no bounds: an integer must fit into the field elsewhere, too.",
        "stricter",
        is_out_of_range,
    ),
    Difference("save() drops a fraction without a word.", "stricter", loses_a_fraction),
    Difference(
        "PostgreSQL stores no NUL, so that no other database gets one.",
        "stricter",
        lambda found: found.said.endswith("it has a NUL character"),
    ),
    Difference(
        "MariaDB and MySQL store no NaN and no infinity.",
        "stricter",
        lambda found: found.said.endswith("it is not a finite number"),
    ),
    Difference(
        "PostgreSQL drops the zone of a time.",
        "stricter",
        lambda found: found.said.endswith("it is a time with a time zone"),
    ),
    Difference("What is no text would be stored as its repr.", "stricter", is_no_text),
    Difference(
        "No validator looks at the length of a path, and SQLite knows none.",
        "stricter",
        is_too_long,
    ),
    Difference(
        "save() makes a naive datetime one of the default time zone and warns.",
        "stricter",
        is_naive,
    ),
    Difference(
        "populate= takes expressions itself, and then computes all rows at once.",
        "stricter",
        lambda found: (
            hasattr(found.value, "resolve_expression")
            and not isinstance(found.value, JSON_NULL)
        ),
    ),
    Difference(
        "A lazy text is a text, also for fields that cannot store one.",
        "looser",
        lambda found: isinstance(found.value, Promise),
    ),
    Difference(
        "Functions, classes, iterators and the like are no values: their reprs are.",
        "stricter",
        lambda found: any(found.value is value for value in NO_VALUES),
    ),
    Difference(
        "PostgreSQL takes more than timedeltas for intervals, no other database does.",
        "stricter",
        lambda found: (
            isinstance(found.field, models.DurationField)
            and not isinstance(found.value, dt.timedelta)
        ),
    ),
    Difference(
        "PostgreSQL refuses an address with blanks around it.",
        "stricter",
        lambda found: (
            isinstance(found.field, models.GenericIPAddressField)
            and found.value != str(found.value).strip()
        ),
    ),
    Difference(
        "Bytes are copied as soon as populate returns them, so that any view will do.",
        "looser",
        lambda found: isinstance(found.value, memoryview),
    ),
    Difference(
        "For a foreign key, None says that there is no object.",
        "stricter",
        lambda found: isinstance(found.field, models.ForeignKey) and found.value == "",
    ),
    Difference(
        "ArrayField of arrays takes no array of less dimensions.",
        "stricter",
        lambda found: found.case == "array of arrays",
    ),
    Difference(
        "SQLite takes whatever has a buffer for bytes, such as a number of numpy.",
        "stricter",
        lambda found: (
            isinstance(found.field, models.BinaryField)
            and not isinstance(found.value, (bytes, bytearray, memoryview))
        ),
    ),
    Difference(
        "Field.clean() itself fails where it compares numpy's numbers with [].",
        "stricter",
        is_of_numpy,
    ),
    Difference(
        "BooleanField cannot be asked about numpy's True while it may be NULL, as "
        "here where save() is tried.",
        "looser",
        is_of_numpy,
    ),
]
