"""
An alteration of the type ends as Django's own AlterField does, or is refused.

It is refused where the value would say something else, or less, than before.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.servers import LABELS

ID = ("id", models.BigAutoField(primary_key=True))
MOMENT = datetime(2020, 1, 2, 3, 4, 5, 6, timezone.utc)
MIDNIGHT = datetime(2020, 1, 2, tzinfo=timezone.utc)

ALL = "sqlite postgresql mariadb mysql"
NONE = ""


def char(length: int = 60) -> Any:
    return models.CharField(max_length=length, null=True)


def decimal(digits: int, places: int) -> Any:
    return models.DecimalField(max_digits=digits, decimal_places=places, null=True)


TEXT = models.TextField(null=True)
MOMENTS = models.DateTimeField(null=True)
DATES = models.DateField(null=True)
TIMES = models.TimeField(null=True)
DURATIONS = models.DurationField(null=True)
INTEGERS = models.IntegerField(null=True)
BIG = models.BigIntegerField(null=True)
FLOATS = models.FloatField(null=True)
BOOLEANS = models.BooleanField(null=True)
UUIDS = models.UUIDField(null=True)
JSON = models.JSONField(null=True)
ADDRESSES = models.GenericIPAddressField(null=True)

#: Before, after, a value, and the databases on which it is kept.
CASES: dict[str, tuple[Any, Any, Any, str]] = {
    "datetime-char": (MOMENTS, char(), MOMENT, ALL),
    "datetime-text": (MOMENTS, TEXT, MOMENT, ALL),
    "midnight-char": (MOMENTS, char(), MIDNIGHT, ALL),
    "datetime-char, short": (MOMENTS, char(19), MOMENT, NONE),
    "date-char": (DATES, char(), date(2020, 1, 2), ALL),
    "date-char, short": (DATES, char(9), date(2020, 1, 2), NONE),
    "time-char": (TIMES, char(), time(3, 4), ALL),
    "time-text": (TIMES, TEXT, time(3, 4, 5, 6), ALL),
    "time-char, short": (TIMES, char(8), time(3, 4, 5, 6), NONE),
    # Microseconds are how two of them keep it, and no text that says so.
    "duration-char": (DURATIONS, char(), timedelta(1, 3, 4), "postgresql"),
    "decimal-char": (decimal(10, 2), char(), Decimal("1.20"), ALL),
    "decimal-char, whole": (decimal(10, 2), char(), Decimal("2.00"), ALL),
    "decimal-text": (decimal(10, 2), TEXT, Decimal("-12345678.90"), ALL),
    "decimal-char, short": (decimal(10, 2), char(3), Decimal("123.45"), NONE),
    "uuid-char": (UUIDS, char(), UUID(int=10), ALL),
    "uuid-char, short": (UUIDS, char(31), UUID(int=10), NONE),
    "true-char": (BOOLEANS, char(), True, ALL),
    "false-text": (BOOLEANS, TEXT, False, ALL),
    "integer-char": (INTEGERS, char(), -7, ALL),
    "bigint-text": (BIG, TEXT, 2**62, ALL),
    "float-char": (FLOATS, char(), 0.1, ALL),
    "float-char, whole": (FLOATS, char(), 2.0, ALL),
    "float-char, large": (FLOATS, char(), 1e300, ALL),
    # SQLite writes fifteen digits.
    "float-text": (FLOATS, TEXT, 1 / 3, "postgresql mariadb mysql"),
    "json-text": (JSON, TEXT, {"a": [1, "b"]}, ALL),
    "json-text, a text": (JSON, TEXT, "5", ALL),
    "json-char": (JSON, char(), [None, True], ALL),
    # PostgreSQL writes 10.0.0.1/32.
    "address-char": (ADDRESSES, char(), "10.0.0.1", "sqlite mariadb mysql"),
    "bytes-text": (models.BinaryField(null=True), TEXT, b"ab", NONE),
    # The day, or the time, would be made up or lost.
    "time-datetime": (TIMES, MOMENTS, time(3, 4), NONE),
    "time-date": (TIMES, DATES, time(3, 4), NONE),
    "date-time": (DATES, TIMES, date(2020, 1, 2), NONE),
    "datetime-time": (MOMENTS, TIMES, MIDNIGHT, NONE),
    "datetime-date": (MOMENTS, DATES, MOMENT, NONE),
    # SQLite keeps the text of a moment, of which DateField reads nothing.
    "midnight-date": (MOMENTS, DATES, MIDNIGHT, "postgresql mariadb mysql"),
    "time-integer": (TIMES, INTEGERS, time(3, 4), NONE),
    "time-duration": (TIMES, DURATIONS, time(3, 4), NONE),
    "date-integer": (DATES, INTEGERS, date(2020, 1, 2), NONE),
    "date-decimal": (DATES, decimal(12, 2), date(2020, 1, 2), NONE),
    "datetime-bigint": (MOMENTS, BIG, MOMENT, NONE),
    "integer-date": (INTEGERS, DATES, 20200102, NONE),
    "integer-datetime": (INTEGERS, MOMENTS, 20200102, NONE),
    "integer-time": (INTEGERS, TIMES, 7, NONE),
    "integer-boolean": (INTEGERS, BOOLEANS, -7, NONE),
    "float-boolean": (FLOATS, BOOLEANS, 0.1, NONE),
    # PostgreSQL has no such cast.
    "integer-json": (INTEGERS, JSON, -7, "sqlite mariadb mysql"),
    "boolean-json": (BOOLEANS, JSON, True, NONE),
    # What a text says, and what only a database takes it for.
    "char-datetime": (char(), MOMENTS, "2020-01-02 03:04:05", ALL),
    "char-datetime, now": (char(), MOMENTS, "now", NONE),
    "char-date": (char(), DATES, "2020-01-02", ALL),
    "char-date, today": (char(), DATES, "today", NONE),
    "char-date, short": (char(), DATES, "2020-1-2", NONE),
    "char-time": (char(), TIMES, "03:04:00", ALL),
    "char-float": (char(), FLOATS, "1.50", ALL),
    "char-decimal": (char(), decimal(5, 2), "1.5", ALL),
    "char-decimal, a code": (char(), decimal(5, 2), "01.5", NONE),
    "char-boolean": (char(), BOOLEANS, "1", ALL),
    "char-boolean, yes": (char(), BOOLEANS, "yes", NONE),
    "char-address": (char(), ADDRESSES, "10.0.0.1", ALL),
    "char-address, none": (char(), ADDRESSES, "now", NONE),
    # MySQL has no type for it, but a column of 32 characters.
    "char-uuid, hyphens": (char(36), UUIDS, str(UUID(int=10)), "postgresql mariadb"),
}

#: The texts that come back from another type are spelled as the database spells them.
RESPELLED = {
    "char-datetime",
    "char-time",
    "char-float",
    "char-decimal",
    "char-boolean",
    "char-address",
}


def create(history: History, model: str, field: Any, value: Any) -> None:
    history.apply(
        migrations.CreateModel(model, [ID, ("code", field.clone())]), atomic=False
    )
    history.model(model).objects.using(history.connection.alias).create(code=value)


def read(history: History, model: str) -> Any:
    """Return the value of the one row as Django reads it."""
    return history.rows(model).values_list("code", flat=True).get()


@pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime")
@pytest.mark.parametrize("name", CASES)
def test_as_django_or_refused(alias: str, name: str) -> None:
    """Fails if a value is refused that says the same, or taken that does not."""
    history = History(alias)
    old, new, value, kept_on = CASES[name]
    create(history, "Movie", old, value)
    before = history.describe("Movie"), read(history, "Movie")
    alteration = AlterFieldWithBackfill("Movie", "code", new.clone(), lambda row: None)

    if LABELS[alias] not in kept_on.split():
        with pytest.raises(BackfillError) as caught:
            history.apply(alteration)
        assert [row.pk for row in caught.value.rows] == [1]
        assert (history.describe("Movie"), read(history, "Movie")) == before
        return
    history.apply(alteration)
    create(history, "Twin", old, value)
    history.apply(migrations.AlterField("Twin", "code", new.clone()))

    assert read(history, "Movie") == read(history, "Twin")
    checks = [history.describe(model)["checks"] for model in ("Movie", "Twin")]
    assert checks[0] == checks[1]
    history.unapply()
    history.unapply()
    if name == "char-address" and history.connection.vendor == "postgresql":
        # It would come back as 10.0.0.1/32.
        with pytest.raises(BackfillError):
            history.unapply()
        return
    history.unapply()
    assert history.describe("Movie") == before[0]
    back = read(history, "Movie")
    assert back == value or name in RESPELLED
