"""What populate returns, next to what Django's own save() would have stored."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import ipaddress
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import django
import pytest
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.fields.files import FieldFile
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.extensions import require_extension
from tests.support.history import History

MOVIE_FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=40)),
    ("old", models.CharField(max_length=40, null=True)),
]


@pytest.fixture
def history(alias: str) -> History:
    return make_twins(alias)


def make_twins(alias: str, rows: int = 2) -> History:
    """Make two tables of the same rows: one is filled, in the other Django saves."""
    history = History(alias)
    history.apply(
        migrations.CreateModel("Movie", MOVIE_FIELDS),
        migrations.CreateModel("Twin", MOVIE_FIELDS),
    )
    for name in ("Movie", "Twin"):
        history.rows(name).bulk_create(
            history.model(name)(pk=pk, title=str(pk)) for pk in range(1, rows + 1)
        )
    return history


def read_raw(history: History, name: str, column: str) -> list[Any]:
    """Return what the server has in the column of each row."""
    as_text = {
        "sqlite": "quote({0})",
        "postgresql": "{0}::text",
        "mysql": "HEX({0})",
    }[history.connection.vendor].format(history.connection.ops.quote_name(column))
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT {as_text} FROM films_{name} ORDER BY id")
        return [value for (value,) in cursor.fetchall()]


def save(history: History, field: Any, value: Any) -> list[Any]:
    """Return what save() stores of `value`: Django is the witness."""
    nullable = field.clone()
    nullable.null = True
    history.apply(migrations.AddField("Twin", "extra", nullable))
    for row in history.rows("Twin"):
        row.extra = value
        row.save(update_fields=["extra"])
    return read_raw(history, "twin", "extra")


def fill(history: History, field: Any, value: Any, **options: Any) -> list[Any]:
    """Return what a backfill stores of `value`."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", field.clone(), lambda movie: value, **options
        )
    )
    return read_raw(history, "movie", "extra")


# Empty values


@pytest.mark.parametrize(
    ("field", "value", "options"),
    [
        (models.JSONField(), [], {}),
        (models.JSONField(), {}, {}),
        (models.JSONField(), "", {}),
        (models.JSONField(editable=False), [], {}),
        (models.BinaryField(), b"", {}),
        (models.CharField(max_length=9), "", {"allow_blank": True}),
        (models.TextField(editable=False), "", {"allow_blank": True}),
        (models.TextField(blank=True), "", {}),
        (models.CharField(max_length=9, choices=["a"]), "", {"allow_blank": True}),
        (models.FileField(), "", {"allow_blank": True}),
    ],
    ids=repr,
)
def test_empty_values(
    history: History, field: Any, value: Any, options: dict[str, Any]
) -> None:
    """Fails if an empty list, dict or bytes is refused, or allow_blank is not seen."""
    assert fill(history, field, value, **options) == save(history, field, value)


def test_empty_text_of_an_expression(history: History) -> None:
    """Fails if verify does not know of allow_blank."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.TextField(), Value(""), allow_blank=True
        )
    )

    assert [row.extra for row in history.rows("Movie")] == ["", ""]


def test_empty_text_of_an_altered_field(history: History) -> None:
    """Fails if the operations do not share allow_blank."""
    field = models.CharField(max_length=40)
    with pytest.raises(BackfillError) as caught:
        history.apply(AlterFieldWithBackfill("Movie", "old", field, lambda movie: ""))

    assert caught.value.rows[0].reason == (
        "<lambda>() gave a bad value: it is an empty text, and the field is required: "
        "if it is meant, add allow_blank=True to the operation"
    )

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "old", field, lambda movie: "", allow_blank=True
        )
    )

    assert [row.old for row in history.rows("Movie")] == ["", ""]


def test_empty_default(history: History) -> None:
    """Fails if what each new row gets is refused in old ones."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.CharField(max_length=9, default="")
        )
    )

    assert [row.extra for row in history.rows("Movie")] == ["", ""]


def test_empty_text_that_is_not_the_default(history: History) -> None:
    """Fails if any empty text is taken where the field has a default."""
    field = models.CharField(max_length=9, default="x")
    with pytest.raises(BackfillError, match="it is an empty text"):
        history.apply(AddFieldWithBackfill("Movie", "extra", field, lambda movie: ""))


def test_empty_text_written_back(history: History) -> None:
    """Fails if reverse does not know of allow_blank."""
    field = models.CharField(max_length=40)
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "extra",
            field,
            F("title"),
            reverse=lambda movie: {"title": ""},
            allow_blank=True,
        )
    )

    history.unapply()

    assert [row.title for row in history.rows("Movie")] == ["", ""]


# What save() takes


class Level(enum.IntEnum):
    LOW = 1


class Genre(models.TextChoices):
    DRAMA = "drama", "Drama"


class Text(str):
    def __str__(self) -> str:
        return "another"


UTC = dt.timezone.utc
NOON = dt.datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def money() -> Any:
    return models.DecimalField(max_digits=6, decimal_places=2)


def text() -> Any:
    return models.CharField(max_length=60)


def null_of_json() -> list[Any]:
    """Return how Django spells JSON null."""
    found: list[Any] = [Value(None, models.JSONField())]
    if django.VERSION >= (6, 1):
        found.append(models.JSONNull())
    return found


SAVED: list[tuple[Any, Any]] = [
    *(
        (text(), value)
        for value in (
            *(5, 1.5, True, Decimal("1.50"), Fraction(1, 3), uuid.UUID(int=7)),
            *(NOON, NOON.date(), NOON.time(), dt.timedelta(1), UTC),
            *(ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")),
            *(PurePosixPath("a/b"), mark_safe("<b>"), Text("own"), Genre.DRAMA),
            *(gettext_lazy("Yes"), " ", "\\N", "100%", "\u0301e", "x\n"),
        )
    ),
    *(
        (models.IntegerField(), value)
        for value in (True, "5", 2.0, Decimal("3"), Level.LOW, Fraction(4, 1), b"6")
    ),
    (models.IntegerField(), ipaddress.ip_address("0.0.0.9")),
    (models.FloatField(), -0.0),
    (models.FloatField(), 0),
    (models.FloatField(), "1.5"),
    (models.FloatField(), Decimal("1.1")),
    (models.FloatField(), 5e-324),
    *((money(), value) for value in (0.1, 1.1, 2.675, 1 / 3, -0.005, 1, "1.5", True)),
    (money(), Decimal("-0")),
    (models.DecimalField(max_digits=20, decimal_places=10), 1.1),
    (models.BooleanField(), 1),
    (models.BooleanField(), "f"),
    (models.DateField(), NOON),
    (models.DateField(), "2026-01-02"),
    (models.DateTimeField(), "2026-01-02T12:00:00+05:30"),
    (models.DateTimeField(), dt.datetime.max.replace(tzinfo=UTC)),
    (models.TimeField(), NOON),
    (models.UUIDField(), 7),
    (models.UUIDField(), str(uuid.UUID(int=7))),
    (models.GenericIPAddressField(), "::ffff:1.2.3.4"),
    (models.GenericIPAddressField(null=True), ""),
    (models.BinaryField(), bytearray(b"ab")),
    (models.BinaryField(), memoryview(b"ab")),
    (models.FileField(), "a.txt"),
    (models.FileField(blank=True), None),
    (models.FileField(null=True), None),
    (models.FileField(), FieldFile(None, models.FileField(), "b.txt")),  # type: ignore[arg-type]  # no row is needed
    (models.ImageField(blank=True), None),
    (models.FilePathField(), "a.txt"),
    (models.JSONField(), 5),
    (models.JSONField(), (1, {2: 3})),
    (models.JSONField(null=True), None),
    (models.JSONField(), Value({"a": None}, models.JSONField())),
    *((models.JSONField(), value) for value in null_of_json()),
]


@pytest.mark.parametrize(
    ("field", "value"),
    SAVED,
    # Without the address of an object, which each process of a run has otherwise.
    ids=[
        f"{type(field).__name__} {value!r}".partition(" at 0x")[0]
        for field, value in SAVED
    ],
)
def test_what_save_stores(history: History, field: Any, value: Any) -> None:
    """Fails if a value is refused or stored otherwise than save() stores it."""
    assert fill(history, field, value) == save(history, field, value)


class ArrayEncoder(json.JSONEncoder):
    """Takes what has a tolist(), such as the arrays of NumPy."""

    def default(self, o: Any) -> Any:
        return o.tolist()


#: What makes a value of numpy.
OF_NUMPY: dict[str, Callable[[Any], Any]] = {
    "number": lambda numpy: numpy.float64(1.5),
    "zero": lambda numpy: numpy.float64(0),
    "inside": lambda numpy: {"k": [numpy.float64(1.5)]},
    "text": lambda numpy: numpy.str_("a"),
    "key": lambda numpy: {numpy.str_("k"): 1},
    "truth": lambda numpy: numpy.bool_(True),
    "truth inside": lambda numpy: [numpy.bool_(False)],
    "array": lambda numpy: numpy.array([1, 2]),
    "empty array": lambda numpy: numpy.array([]),
}


@pytest.mark.parametrize("name", OF_NUMPY)
def test_numpy_in_json(history: History, name: str) -> None:
    """Fails where clean() compares a value with [], to which NumPy says no word."""
    value = OF_NUMPY[name](pytest.importorskip("numpy"))
    field = models.JSONField(encoder=ArrayEncoder)

    assert fill(history, field, value) == save(history, field, value)


@pytest.mark.parametrize("value", [2**63, 2**64 - 1], ids=["first", "last"])
@pytest.mark.parametrize("kind", ["field", "foreign key", "field of one's own"])
def test_range_is_that_of_the_database(mysql_alias: str, value: int, kind: str) -> None:
    """Fails if the range is that of the default database, which is another."""
    history = make_twins(mysql_alias)
    key = models.PositiveBigIntegerField(primary_key=True)
    history.apply(migrations.CreateModel("Studio", [("id", key)]))
    history.rows("Studio").create(pk=value)
    field: Any = {
        "field": models.PositiveBigIntegerField(),
        "foreign key": models.ForeignKey("films.Studio", models.CASCADE),
        "field of one's own": Counter(),
    }[kind]

    if kind == "foreign key":
        history.apply(
            AddFieldWithBackfill("Movie", "extra", field, lambda movie: value)
        )
        assert read_raw(history, "movie", "extra_id") == [f"{value:X}"] * 2
    else:
        assert fill(history, field, value) == save(history, field, value)


class Counter(models.PositiveBigIntegerField):  # type: ignore[type-arg]  # generic in the stubs
    """An integer that is prepared by the project itself."""

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value)


@pytest.mark.parametrize("value", [-1, 2**64], ids=["below", "above"])
@pytest.mark.parametrize("kind", [models.PositiveBigIntegerField, Counter])
def test_out_of_the_range_of_the_database(
    mysql_alias: str, value: int, kind: Any
) -> None:
    history = make_twins(mysql_alias)

    with pytest.raises(BackfillError) as caught:
        fill(history, kind(), value)

    assert {row.reason for row in caught.value.rows} == {
        "<lambda>() gave a bad value: it is not between 0 and 18446744073709551615"
    }


def test_json_that_is_not_unique(history: History) -> None:
    """Fails if NULL is a Value without a type, of which JSONField makes an error."""
    if history.connection.vendor == "mysql" and not history.connection.mysql_is_mariadb:
        pytest.skip("MySQL has no unique JSON")
    field = models.JSONField(unique=True)
    with pytest.raises(BackfillError) as caught:
        fill(history, field, {"a": 1})

    rows = list(history.rows("Movie").values_list("pk", flat=True))
    assert [row.pk for row in caught.value.rows] == rows[1:]
    history.apply(
        AddFieldWithBackfill("Movie", "extra", field, lambda movie: {"a": movie.pk})
    )
    values = history.rows("Movie").values_list("extra", flat=True)
    assert {value["a"] for value in values} > set(rows[1:])


@pytest.mark.parametrize("null", null_of_json(), ids=repr)
def test_expression_that_is_json_null(history: History, null: Any) -> None:
    """Fails if the preflight takes JSON null for NULL."""
    field = models.JSONField()
    history.apply(AddFieldWithBackfill("Movie", "extra", field.clone(), null))

    assert read_raw(history, "movie", "extra") == save(history, field, null)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="JSONNull is of Django 6.1")
def test_default_that_is_json_null(history: History) -> None:
    """Fails if JSON null is taken for no value, or for an expression."""
    field = models.JSONField(default=models.JSONNull)
    history.apply(AddFieldWithBackfill("Movie", "extra", field.clone()))

    null = models.JSONNull()
    assert read_raw(history, "movie", "extra") == save(history, field, null)


def get_postgresql_cases() -> dict[str, tuple[Any, Any]]:
    """Return fields that only PostgreSQL has, with what save() takes for them."""
    try:
        from django.contrib.postgres import fields
        from django.db.backends.postgresql.psycopg_any import NumericRange
    except ImportError:
        return {}
    array = fields.ArrayField
    return {
        "integers": (array(money()), [1, 2]),
        "texts": (array(money()), ["1.5"]),
        "floats": (array(money()), [1.5, 1.1, 2.675, None][:3]),
        "nested": (array(array(money())), [[1], [2.5]]),
        "tuple": (array(models.IntegerField()), (1, "2", True)),
        "dates": (array(models.DateField()), [NOON, "2026-01-02"]),
        "empty": (array(models.IntegerField()), []),
        "empty items": (array(text()), ["", "a"]),
        "array of JSON": (array(models.JSONField()), [{"a": 1}, [1]]),
        "array literal": (array(models.IntegerField()), "{1,2}"),
        "range literal": (fields.IntegerRangeField(), "[1,3)"),
        "range of a list": (fields.IntegerRangeField(), [1, 3]),
        "range": (fields.DecimalRangeField(), NumericRange(1, None)),
        "array of -0.0": (array(models.FloatField()), [-0.0]),
    }


@pytest.mark.parametrize("name", get_postgresql_cases())
def test_what_save_stores_on_postgresql(postgresql_alias: str, name: str) -> None:
    """Fails if an item is refused that save() converts, or a literal is read here."""
    field, value = get_postgresql_cases()[name]
    history = make_twins(postgresql_alias)

    assert fill(history, field, value) == save(history, field, value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("integers", [1, len], "item 2 of it: it is a function: call it with ()"),
        ("empty items", ["a", {}], "item 2 of it: it is of type dict, not a text"),
        (
            "integers",
            [Decimal("1.234")],
            "item 1 of it: Ensure that there are no more than 2 decimal places.",
        ),
        (
            "tuple",
            [2**31],
            "item 1 of it: it is not between -2147483648 and 2147483647",
        ),
        (
            "integers",
            (number for number in [1]),
            "it is a generator: return one value, and yield none",
        ),
        ("empty", "[1, 2]", None),
        ("range literal", '{"lower": 1, "upper": 3}', None),
    ],
)
def test_what_save_refuses_on_postgresql(
    postgresql_alias: str, name: str, value: Any, reason: str | None
) -> None:
    """Fails if the items of a list are not looked at, or JSON is read as an array."""
    field, _ = get_postgresql_cases()[name]
    history = make_twins(postgresql_alias)

    with pytest.raises(BackfillError) as caught:
        fill(history, field, value)

    assert [row.reason for row in caught.value.rows] == 2 * [
        f"<lambda>() gave a bad value: {reason}"
        if reason
        else "the database refused it: a value is not of the column's type"
    ]


def test_literal_that_validators_cannot_see(postgresql_alias: str) -> None:
    """Fails if a text gets past the validators of a list."""
    from django.contrib.postgres.fields import ArrayField

    history = make_twins(postgresql_alias)

    with pytest.raises(BackfillError, match="at which the validators cannot look"):
        fill(history, ArrayField(models.IntegerField(), size=1), "{1,2}")


# What is no value of any field


async def wait(row: Any) -> str:
    return "x"


def count_up() -> Any:
    yield 1


class Own(models.CharField):  # type: ignore[type-arg]  # generic in the stubs
    """A field that takes anything for a text."""

    def to_python(self, value: Any) -> Any:
        return value if isinstance(value, str) else f"own {value}"


class OwnValue:
    def tell(self) -> None:
        """Do nothing, but be a method."""


def make_coroutine() -> Any:
    return wait(None)


NO_VALUES: dict[str, tuple[Any, str]] = {
    "method": (lambda: "x".lower, "it is a method: call it with ()"),
    "bound method": (lambda: Decimal(1).quantize, "it is a method: call it with ()"),
    "own method": (lambda: OwnValue().tell, "it is a method: call it with ()"),
    "slot": (lambda: "x".__len__, "it is a method: call it with ()"),
    "function": (lambda: count_up, "it is a function: call it with ()"),
    "lambda": (lambda: lambda: 1, "it is a function: call it with ()"),
    "built-in": (lambda: len, "it is a function: call it with ()"),
    "partial": (
        lambda: functools.partial(len, "x"),
        "it is a function: call it with ()",
    ),
    "class": (lambda: OwnValue, "it is a class, OwnValue, and not a value"),
    "coroutine": (
        make_coroutine,
        "it is a coroutine: a function with async def gives no value here",
    ),
    "generator": (count_up, "it is a generator: return one value, and yield none"),
    "expression": (
        lambda: F("title"),
        "it is an expression, which only the database can compute",
    ),
    "value": (
        lambda: Value("x"),
        "it is an expression, which only the database can compute",
    ),
}
STRAY: dict[str, tuple[Any, str]] = {
    "map": (lambda: map(str, [1]), "it is an iterator of type map: give a value"),
    "iterator": (
        lambda: iter([]),
        "it is an iterator of type list_iterator: give a value",
    ),
}
FIELDS: dict[str, Any] = {
    "text": text,
    "long text": models.TextField,
    "choices": lambda: models.CharField(max_length=9, choices=["a"]),
    "file": models.FileField,
    "integer": models.IntegerField,
    "boolean": models.BooleanField,
    "json": models.JSONField,
    "uuid": models.UUIDField,
    "bytes": models.BinaryField,
    "date": models.DateField,
    "ip": models.GenericIPAddressField,
    "own": lambda: Own(max_length=99),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_what_is_no_value(sqlite_alias: str, kind: str) -> None:
    """Fails if a field stores the repr of an object, or says something else of it."""
    history = make_twins(sqlite_alias)
    found = {}
    wanted = NO_VALUES if kind == "own" else {**NO_VALUES, **STRAY}

    for name, (make, _) in wanted.items():
        with pytest.raises(BackfillError) as caught:
            history.apply(
                AddFieldWithBackfill(
                    "Movie", "extra", FIELDS[kind](), lambda movie, make=make: make()
                )
            )
        found[name] = caught.value.rows[0].reason.removeprefix(
            "<lambda>() gave a bad value: "
        )

    assert found == {name: reason for name, (_, reason) in wanted.items()}


def test_rows_are_no_value_of_a_text(history: History) -> None:
    """Fails if the repr of a queryset or a manager is stored."""
    for populate, reason in (
        (
            lambda movie, apps: apps.get_model("films", "Movie").objects.all(),
            "it is a queryset: give a value of one of its rows",
        ),
        (
            lambda movie, apps: apps.get_model("films", "Movie").objects,
            "it is a manager: give a value of one of its rows",
        ),
        (
            lambda movie: OwnValue(),
            "it is of type OwnValue, not a text: give str() of it if that is meant",
        ),
        (
            lambda movie: NotImplemented,
            "it is of type NotImplementedType, not a text: give str() of it if that is "
            "meant",
        ),
    ):
        with pytest.raises(BackfillError) as caught:
            history.apply(AddFieldWithBackfill("Movie", "extra", text(), populate))

        assert [row.reason for row in caught.value.rows] == 2 * [
            f"<lambda>() gave a bad value: {reason}"
        ]


class Known:
    def __str__(self) -> str:
        return "known"


class Prepared(models.CharField):  # type: ignore[type-arg]  # generic in the stubs
    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else f"prepared {value}"


@pytest.mark.parametrize("kind", [Own, Prepared])
def test_a_field_of_the_projects_own_decides(history: History, kind: Any) -> None:
    """Fails if an object is refused that only its own field knows."""
    fill(history, kind(max_length=99), Known())

    assert [movie.extra for movie in history.rows("Movie")] == 2 * [
        "own known" if kind is Own else "prepared known"
    ]


# Values that change afterwards


def get_mutable_cases() -> dict[str, tuple[Any, Any]]:
    """Return fields, each with what changes an object into the value of a row."""
    cases: dict[str, tuple[Any, Any]] = {
        "dict": (models.JSONField(), lambda pk, held: held.update(id=pk) or held),
        "bytearray": (models.BinaryField(), fill_bytes),
        "memoryview": (
            models.BinaryField(),
            lambda pk, held: memoryview(fill_bytes(pk, held)),
        ),
    }
    return cases


def fill_bytes(pk: int, held: Any) -> Any:
    held["bytes"] = held.get("bytes", bytearray(4))
    held["bytes"][:] = pk.to_bytes(4, "big")
    return held["bytes"]


@pytest.mark.parametrize("kind", get_mutable_cases())
def test_one_object_for_all_rows(alias: str, kind: str) -> None:
    """Fails if a value is turned into bytes only when its batch is written."""
    field, change = get_mutable_cases()[kind]
    history = make_twins(alias, rows=300)
    held: dict[str, Any] = {}

    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", field, lambda movie: change(movie.pk, held)
        )
    )

    for movie in history.rows("Movie"):
        wanted = {"id": movie.pk} if kind == "dict" else movie.pk.to_bytes(4, "big")
        found = movie.extra if kind == "dict" else bytes(movie.extra)
        assert found == wanted


def test_bytes_with_a_step(history: History) -> None:
    """Fails if a memoryview goes to a driver that takes only what is in one piece."""
    assert fill(history, models.BinaryField(), memoryview(b"abcdef")[::2]) == save(
        history, models.BinaryField(), b"ace"
    )


@pytest.mark.parametrize("kind", ["array", "nested", "array of JSON", "hstore"])
def test_one_object_for_all_rows_on_postgresql(
    postgresql_alias: str, kind: str
) -> None:
    """Fails if psycopg is given an object of populate."""
    from django.contrib.postgres import fields

    array = fields.ArrayField
    field: Any = {
        "array": array(models.IntegerField()),
        "nested": array(array(models.IntegerField())),
        "array of JSON": array(models.JSONField()),
        "hstore": fields.HStoreField(),
    }[kind]
    history = make_twins(postgresql_alias, rows=300)
    if kind == "hstore":
        require_extension(history.connection, kind)
    inner: Any = {"a": "0"} if kind in {"hstore", "array of JSON"} else [0]
    held = inner if kind in {"hstore", "array"} else [inner]

    def populate(movie: Any) -> Any:
        inner["a" if isinstance(inner, dict) else 0] = (
            str(movie.pk) if isinstance(inner, dict) else movie.pk
        )
        return held

    history.apply(AddFieldWithBackfill("Movie", "extra", field, populate))

    for movie in history.rows("Movie"):
        wanted: Any = {"a": str(movie.pk)} if isinstance(inner, dict) else [movie.pk]
        assert movie.extra == (wanted if held is inner else [wanted])
