"""An expression stores what save() of its value would store, or the row is named."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.functions import Cast, Now

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse

ID = ("id", models.BigAutoField(primary_key=True))
TEXT = models.CharField(max_length=60)
MOMENT = datetime(2020, 1, 2, 3, 4, 5, 6, timezone.utc)
INTEGER = models.IntegerField()
NUMBER = models.DecimalField(max_digits=20, decimal_places=6)

#: The new field; the field that it is computed from; a value that is one of the new
#: field, and one that is not. SQLite stores whatever it is given.
CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    "smallint": (models.SmallIntegerField(), INTEGER, 32767, 70_000),
    "integer": (models.IntegerField(), NUMBER, Decimal("7"), Decimal("1.5")),
    "positive": (models.PositiveSmallIntegerField(), INTEGER, 32767, 32768),
    "integer, a text": (models.IntegerField(), TEXT, "12", "twelve"),
    "decimal": (
        models.DecimalField(max_digits=5, decimal_places=2),
        NUMBER,
        Decimal("123.45"),
        Decimal("1234.5"),
    ),
    "decimal, a text": (
        models.DecimalField(max_digits=5, decimal_places=2),
        TEXT,
        "1.5",
        "one",
    ),
    "float": (models.FloatField(), TEXT, "0.5", "half"),
    "boolean": (models.BooleanField(), INTEGER, 1, 2),
    "uuid": (models.UUIDField(), TEXT, UUID(int=10).hex, "not a uuid"),
    "uuid, hyphens": (models.UUIDField(), TEXT, UUID(int=11).hex, str(UUID(int=11))),
    "address": (models.GenericIPAddressField(), TEXT, "10.0.0.1", "10.0.0.300"),
    "address, spelling": (
        models.GenericIPAddressField(),
        TEXT,
        "2001:db8::1",
        "2001:0DB8::1",
    ),
    "date": (models.DateField(), TEXT, "2020-02-29", "2021-02-29"),
    "date, a moment": (
        models.DateField(),
        models.DateTimeField(),
        None,
        MOMENT,
    ),
    "datetime": (
        models.DateTimeField(),
        TEXT,
        "2020-01-02 03:04:05.000006",
        "2020-01-02 03:04",
    ),
    "datetime, no day": (
        models.DateTimeField(),
        TEXT,
        "9999-12-31 23:59:59",
        "2020-02-30 03:04:05",
    ),
    "date, first": (models.DateField(), TEXT, "0001-01-01", "0000-01-01"),
    "datetime, zone": (
        models.DateTimeField(),
        TEXT,
        "2020-01-02 03:04:05",
        "2020-01-02 03:04:05+02:00",
    ),
    "datetime, a date": (models.DateTimeField(), models.DateField(), None, MOMENT),
    "time": (models.TimeField(), TEXT, "03:04:05.120000", "03:04:05."),
    "duration": (models.DurationField(), INTEGER, 7, None),
    "duration, a text": (models.DurationField(), TEXT, "7", "a day"),
    "text, bytes": (TEXT, models.BinaryField(), None, b"abc"),
}


def create(history: History, source: Any, *values: Any) -> None:
    history.apply(
        migrations.CreateModel("Movie", [ID, ("source", source.clone())]), atomic=False
    )
    for value in values:
        history.rows("Movie").create(source=value)


def read_raw(history: History, column: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT typeof({column}), {column} FROM films_movie ORDER BY 1")
        return list(cursor.fetchall())


REASON = "F(source) gave a value that save() would not store in this field"


@pytest.mark.parametrize("alias", ["default"], indirect=True)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_altered", [False, True], ids=["added", "altered"])
def test_sqlite(alias: str, name: str, is_altered: bool) -> None:
    """Fails if the column is taken as it comes out of the expression."""
    history = History(alias)
    field, source, good, bad = CASES[name]
    create(history, source, *(value for value in (good, bad) if value is not None))
    if is_altered:
        nullable = field.clone()
        nullable.null = True
        history.apply(migrations.AddField("Movie", "code", nullable))
    kind = AlterFieldWithBackfill if is_altered else AddFieldWithBackfill
    operation = kind("Movie", "code", field.clone(), F("source"))

    if bad is not None:
        rehearsal = rehearse(history, operation)
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert rehearsal.error is not None
        assert rehearsal.error.rows == caught.value.rows
        pk = 1 if good is None else 2
        assert [(row.pk, row.reason) for row in caught.value.rows] == [(pk, REASON)]
        history.rows("Movie").filter(pk=pk).delete()
    if good is None:
        return
    history.apply(operation)
    found = read_raw(history, "code")
    # What Django writes for what it reads.
    movie = history.rows("Movie").get()
    movie.save(update_fields=["code"])
    assert read_raw(history, "code") == found


@pytest.mark.parametrize("alias", ["default"], indirect=True)
@pytest.mark.parametrize(
    "field_class",
    [
        models.CharField,
        models.EmailField,
        models.FileField,
        models.FilePathField,
        models.SlugField,
        models.URLField,
    ],
)
def test_a_text_that_is_too_long(alias: str, field_class: Any) -> None:
    """Fails if SQLite, which knows no lengths, keeps what other databases refuse."""
    history = History(alias)
    create(history, TEXT, "12345", "123456")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "code", field_class(max_length=5), F("source")
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, "F(source) gave a text of more than 5 characters")
    ]


@pytest.mark.parametrize("field_class", [models.FileField, models.FilePathField])
def test_an_empty_name_of_a_file(alias: str, field_class: Any) -> None:
    """Fails if an expression fills a required file with nothing."""
    history = History(alias)
    create(history, TEXT, "movie.txt", "")

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "code", field_class(), F("source")))

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (
            2,
            "the value is an empty text, and the field is required: if it is meant, "
            "add allow_blank=True to the operation",
        )
    ]


@pytest.mark.parametrize("alias", ["default"], indirect=True)
def test_no_file_of_a_field_that_takes_null(alias: str) -> None:
    """Fails if the empty text that save() makes of no file is refused."""
    history = History(alias)
    create(history, TEXT, "movie.txt")

    history.apply(
        AddFieldWithBackfill(
            "Movie", "code", models.FileField(null=True), lambda row: None
        )
    )

    movie = history.rows("Movie").get()
    found = read_raw(history, "code")
    movie.code = None
    movie.save(update_fields=["code"])
    assert read_raw(history, "code") == found


@pytest.mark.parametrize(
    ("field", "source", "bad"),
    [
        (models.BooleanField(), INTEGER, 2),
        (models.GenericIPAddressField(), TEXT, "10.0.0.300"),
    ],
    ids=["boolean", "address"],
)
def test_other_databases(alias: str, field: Any, source: Any, bad: Any) -> None:
    """Fails if a small integer or a text of any kind is taken there."""
    history = History(alias)
    create(history, source, bad)

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "code", field, F("source")))

    if history.connection.vendor == "postgresql":
        return
    assert [(row.pk, row.reason) for row in caught.value.rows] == [(1, REASON)]


@pytest.mark.parametrize(
    ("field", "expression"),
    [
        (models.DateTimeField(), Now()),
        (models.DateTimeField(), Cast("source", models.DateTimeField())),
        (models.DateField(), Cast("source", models.DateField())),
        (models.TimeField(), Cast("source", models.TimeField())),
        (models.DateTimeField(), Value(MOMENT)),
        (models.DateTimeField(), F("source") + timedelta(days=1)),
        (models.DateField(), Value(date(2020, 1, 2))),
        (models.TimeField(), Value(time(3, 4, 5))),
        (models.DurationField(), Value(timedelta(days=1))),
        (models.UUIDField(), Value(UUID(int=1))),
        (models.DecimalField(max_digits=5, decimal_places=2), Value(Decimal("1.10"))),
        (models.BinaryField(), Value(b"abc")),
        (models.FloatField(), Value(2)),
        (models.BooleanField(), Value(True)),
        (models.JSONField(), Value({"a": 1}, models.JSONField())),
    ],
    ids=str,
)
def test_expressions_of_django(alias: str, field: Any, expression: Any) -> None:
    """Fails if what Django computes is refused, such as milliseconds of Now()."""
    history = History(alias)
    create(history, models.DateTimeField(), MOMENT)

    history.apply(AddFieldWithBackfill("Movie", "code", field.clone(), expression))

    assert history.rows("Movie").get().code is not None
