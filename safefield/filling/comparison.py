"""Say whether a value is the same in another type."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import JSONField
from django.utils import timezone

from safefield.backends.base.conversion import Conversion
from safefield.fields import AnyField
from safefield.plan import Plan

#: Internal types whose columns have a length that databases enforce.
LIMITED_TEXTS = {
    "CharField",
    "EmailField",
    "FileField",
    "FilePathField",
    "SlugField",
    "URLField",
}

#: Internal types of texts.
TEXTS = LIMITED_TEXTS | {"TextField"}

#: The texts that a truth value is written as: by Python, PostgreSQL, and the others.
TRUTHS = {True: {"True", "true", "1"}, False: {"False", "false", "0"}}

#: The texts that are a number and nothing else: 007 is a code, which 7 is not.
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Comparison:
    """Compare values of an altered column with what its new type makes of them."""

    def __init__(self, plan: Plan, conversion: Conversion) -> None:
        self.connection = conversion.connection
        self.leaves_texts = conversion.leaves_texts
        self.old = _get_values_field(plan.old_field)
        self.new = _get_values_field(plan.field)
        self.kind = self.new.get_internal_type()
        self.range = self.connection.ops.integer_field_ranges.get(self.kind)

    def is_kept(self, old: Any, new: Any) -> bool:
        """Return whether the new field holds `new`, and `new` says what `old` says."""
        try:
            return self._fits(new) and self._is_same(old, new)
        except Exception:
            # Of what cannot be compared nobody knows that it is the same.
            return False

    def _fits(self, new: Any) -> bool:
        """Return whether the new field holds the value that it would read."""
        if self.kind in LIMITED_TEXTS and self.new.max_length:
            return isinstance(new, str) and len(new) <= self.new.max_length
        if self.range is not None:
            least, greatest = self.range
            return bool(least <= new <= greatest and new == int(new))
        if self.kind == "BooleanField":
            return isinstance(new, bool)
        if self.kind == "TextField":
            return isinstance(new, str)
        if self.kind == "BinaryField":
            return isinstance(new, (bytes, memoryview))
        if self.kind == "GenericIPAddressField":
            # Most databases take any text there.
            self.new.run_validators(new)
            return bool(self.new.to_python(new) == new)
        if self.kind == "DecimalField" and self.new.max_digits:
            # As Django reads it; SQLite keeps what was there.
            places = self.new.decimal_places
            limit = 10 ** (self.new.max_digits - places)
            return bool(abs(new) < limit and round(new, places) == new)
        return new is not None

    def _is_same(self, old: Any, new: Any) -> bool:
        if isinstance(new, float) and new != new:
            return bool(old != old)  # NaN
        if isinstance(self.new, JSONField) != isinstance(self.old, JSONField):
            is_new = isinstance(self.new, JSONField)
            return _is_json_of(new, old) if is_new else _is_json_of(old, new)
        if isinstance(old, str) and not isinstance(new, str):
            return self._is_read(old, new)
        if isinstance(old, bool) and isinstance(new, str):
            return new in TRUTHS[old]
        if isinstance(old, datetime) and isinstance(new, str):
            return self._is_moment(old, self.old.to_python(new))
        if isinstance(old, time) and isinstance(new, date):
            # The day is made up: MariaDB takes that of today.
            return False
        if isinstance(old, date) and isinstance(new, date):
            return self._is_moment(old, new)
        if isinstance(old, Decimal) and isinstance(new, float):
            return old == Decimal(repr(new))
        return bool(self.old.to_python(new) == old)

    def _is_read(self, old: str, new: Any) -> bool:
        """Return whether `new` is what a text says, and the text says nothing else."""
        if isinstance(new, bool):
            return old in TRUTHS[new]
        if isinstance(new, (Decimal, float)):
            number = new if isinstance(new, Decimal) else Decimal(repr(new))
            return bool(NUMBER.fullmatch(old)) and Decimal(old) == number
        if isinstance(new, (datetime, time, timedelta, UUID)):
            if self.leaves_texts:
                # Another text than the one that save() writes is not found again.
                return bool(self.new.get_db_prep_value(new, self.connection) == old)
            read = self.new.to_python(old)
            if isinstance(new, datetime):
                return self._is_moment(read, new)
            return bool(read == new)
        return bool(self.old.to_python(new) == old)

    def _is_moment(self, one: date, other: date) -> bool:
        return self._get_moment(one) == self._get_moment(other)

    def _get_moment(self, value: date) -> datetime:
        """Return a date or a time as the database compares the two."""
        if not isinstance(value, datetime):
            return datetime.combine(value, time())
        if timezone.is_aware(value):
            return timezone.make_naive(value, self.connection.timezone)
        return value


def _is_json_of(document: Any, value: Any) -> bool:
    """Return whether a JSON document is what a value of another type says."""
    if isinstance(value, str):
        return bool(json.loads(value) == document)
    return isinstance(document, bool) == isinstance(value, bool) and document == value


def _get_values_field(field: AnyField) -> AnyField:
    """Return the field whose values are in the column: a foreign key's target."""
    while field.remote_field is not None:
        field = field.target_field
    return field
