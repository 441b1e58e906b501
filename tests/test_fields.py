"""Every kind of field, and every option that a column can have."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.validators import MinLengthValidator
from django.db import migrations, models
from django.db.models.functions import Now

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.extensions import require_extension, require_icu
from tests.support.history import History

pytestmark = [pytest.mark.core, pytest.mark.edges]

MOVIE_FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
    ("year", models.IntegerField()),
]
MOVIE = migrations.CreateModel("Movie", MOVIE_FIELDS)
STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=200, unique=True)),
        ("code", models.UUIDField(unique=True)),
    ],
)
UTC = dt.timezone.utc


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


class Rating:
    """What RatingField has in Python: neither text nor a number."""

    def __init__(self, stars: int) -> None:
        self.stars = stars

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rating) and self.stars == other.stars

    def __hash__(self) -> int:
        return hash(self.stars)

    def __repr__(self) -> str:
        return f"Rating({self.stars})"


class RatingField(models.Field):
    """A field of a project's own, with a type and conversions of its own."""

    def db_type(self, connection: Any) -> str:
        return "varchar(5)"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Rating(len(value))

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Rating) else Rating(value)

    def get_prep_value(self, value: Any) -> Any:
        return "*" * value.stars if isinstance(value, Rating) else value


class PairField(models.CharField):
    """A field with an argument that deconstruct() hands on."""

    def __init__(self, *args: Any, separator: str = "/", **kwargs: Any) -> None:
        self.separator = separator
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "separator": self.separator}

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else tuple(value.split(self.separator))

    def to_python(self, value: Any) -> Any:
        return tuple(value.split(self.separator)) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return self.separator.join(value) if isinstance(value, tuple) else value

    def validate(self, value: Any, model_instance: Any) -> None:
        """Take any pair: the length is that of the joined text."""

    def run_validators(self, value: Any) -> None:
        """Take any pair."""


@dataclass
class Case:
    """
    A field to be added to the five movies of 1900 to 1904.

    Args:
        field: The field, as in models.py.
        populate: What gives each movie its value; None for the default.
        expected: The five values; a callable gets a movie and returns its value.
        before: What the migration before the field has to do.
        vendors: The databases that have such a column.
    """

    field: Any
    populate: Any
    expected: Any = None
    before: tuple[Any, ...] = ()
    vendors: tuple[str, ...] = ("sqlite", "postgresql", "mysql")
    name: str = "extra"


def per_movie(value_of: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arguments of a case in which each movie gets value_of(movie)."""
    return {"populate": value_of, "expected": value_of}


CASES = {
    # The concrete fields of Django, in the order of its documentation
    "big integer": Case(
        models.BigIntegerField(), **per_movie(lambda movie: -(2**62) + movie.year)
    ),
    "binary": Case(
        models.BinaryField(),
        **per_movie(lambda movie: b"\x00\xff'\\%s" + movie.title.encode()),
    ),
    "boolean": Case(
        models.BooleanField(), **per_movie(lambda movie: movie.year % 2 == 0)
    ),
    "char": Case(
        models.CharField(max_length=40),
        **per_movie(lambda movie: f"{movie.title} “quoted” '%s' \\ 🎬"),
    ),
    "char without a length": Case(
        models.CharField(),
        **per_movie(lambda movie: movie.title * 20),
        vendors=("sqlite", "postgresql"),
    ),
    "date": Case(
        models.DateField(), **per_movie(lambda movie: dt.date(movie.year, 2, 28))
    ),
    "datetime": Case(
        models.DateTimeField(),
        **per_movie(lambda movie: dt.datetime(movie.year, 2, 1, 12, 30, 1, 7, UTC)),
    ),
    "decimal": Case(
        models.DecimalField(max_digits=20, decimal_places=8),
        **per_movie(lambda movie: decimal.Decimal(movie.year) / 128),
    ),
    "duration": Case(
        models.DurationField(),
        **per_movie(lambda movie: dt.timedelta(days=-movie.year, microseconds=1)),
    ),
    "email": Case(
        models.EmailField(), **per_movie(lambda movie: f"film{movie.year}@example.com")
    ),
    "file": Case(
        models.FileField(upload_to="films"),
        lambda movie: f"films/{movie.year}.txt",
        lambda movie: f"films/{movie.year}.txt",
    ),
    "file path": Case(
        models.FilePathField(path="/tmp"), **per_movie(lambda movie: f"/tmp/{movie.pk}")
    ),
    "float": Case(models.FloatField(), **per_movie(lambda movie: movie.year / 7)),
    "IP address": Case(
        models.GenericIPAddressField(),
        **per_movie(lambda movie: f"2001:db8::{movie.pk:x}"),
    ),
    "IPv4 address": Case(
        models.GenericIPAddressField(protocol="IPv4"),
        **per_movie(lambda movie: f"192.0.2.{movie.pk}"),
    ),
    "image": Case(
        models.ImageField(upload_to="films"),
        **per_movie(lambda movie: f"films/{movie.year}.png"),
    ),
    "integer": Case(
        models.IntegerField(), **per_movie(lambda movie: -(2**31) + movie.pk)
    ),
    "JSON object": Case(
        models.JSONField(),
        **per_movie(
            lambda movie: {"title": movie.title, "tags": [movie.year, None, "%s 🎬"]}
        ),
    ),
    "JSON array": Case(
        models.JSONField(), **per_movie(lambda movie: [[movie.year, [movie.title]]])
    ),
    "JSON scalars": Case(
        models.JSONField(),
        lambda movie: ["text", 1.5, True, 0, False][movie.year - 1900],
        ["text", 1.5, True, 0, False],
        name="scalar",
    ),
    "positive big integer": Case(
        models.PositiveBigIntegerField(), **per_movie(lambda movie: 2**62 + movie.year)
    ),
    "positive integer": Case(
        models.PositiveIntegerField(), **per_movie(lambda movie: movie.year - 1900)
    ),
    "positive small integer": Case(
        models.PositiveSmallIntegerField(), **per_movie(lambda movie: movie.year)
    ),
    "slug": Case(models.SlugField(), **per_movie(lambda movie: f"film-{movie.year}")),
    "small integer": Case(
        models.SmallIntegerField(), **per_movie(lambda movie: -movie.year)
    ),
    "text": Case(
        models.TextField(), **per_movie(lambda movie: f"{movie.title}\n'%' \\ 🎬" * 99)
    ),
    "time": Case(
        models.TimeField(),
        **per_movie(lambda movie: dt.time(movie.year % 24, 59, 59, 999999)),
    ),
    "URL": Case(
        models.URLField(),
        **per_movie(lambda movie: f"https://example.com/{movie.year}?a=%20b&c=d"),
    ),
    "UUID": Case(
        models.UUIDField(), **per_movie(lambda movie: uuid.UUID(int=movie.pk))
    ),
    # Options of a column
    "db_column": Case(
        models.CharField(max_length=40, db_column="Odd “Name”"),
        **per_movie(lambda movie: movie.title),
    ),
    "reserved word as column": Case(
        models.IntegerField(db_column="order", db_index=True),
        **per_movie(lambda movie: movie.year),
    ),
    "unique, upper-case column": Case(
        models.IntegerField(db_column="SORTING", unique=True),
        **per_movie(lambda movie: movie.year),
    ),
    "column with a long name": Case(
        models.CharField(max_length=20, db_column="c" * 60, unique=True),
        **per_movie(lambda movie: movie.title),
    ),
    "collation of SQLite": Case(
        models.CharField(max_length=40, db_collation="nocase", db_index=True),
        **per_movie(lambda movie: movie.title),
        vendors=("sqlite",),
    ),
    "collation of PostgreSQL": Case(
        models.CharField(max_length=40, db_collation="C", unique=True),
        **per_movie(lambda movie: movie.title),
        vendors=("postgresql",),
    ),
    "collation of MariaDB": Case(
        models.CharField(max_length=40, db_collation="utf8mb4_bin", unique=True),
        **per_movie(lambda movie: movie.title),
        vendors=("mysql",),
    ),
    "collation and comment of a text": Case(
        models.TextField(db_collation="utf8mb4_bin", db_comment="It's 100 % \\ “it”"),
        **per_movie(lambda movie: movie.title),
        vendors=("mysql",),
    ),
    "comment": Case(
        models.IntegerField(db_comment="It's “it” \\ it", db_index=True),
        **per_movie(lambda movie: movie.year),
    ),
    "database default": Case(
        models.CharField(max_length=20, db_default="it's 100 % \\ new"),
        **per_movie(lambda movie: movie.title),
    ),
    "database default of an integer with an index": Case(
        models.IntegerField(db_default=7, db_index=True),
        **per_movie(lambda movie: movie.year),
    ),
    "database default and a default": Case(
        models.BooleanField(db_default=True, default=False),
        **per_movie(lambda movie: movie.year % 2 == 0),
    ),
    "database default, only the default as populate": Case(
        models.IntegerField(db_default=7, default=3), None, [3] * 5
    ),
    "database default that is computed": Case(
        models.DateTimeField(db_default=Now()),
        **per_movie(lambda movie: dt.datetime(movie.year, 2, 1, tzinfo=UTC)),
    ),
    "indexed": Case(
        models.CharField(max_length=40, db_index=True),
        **per_movie(lambda movie: movie.title),
    ),
    "indexed text": Case(
        models.TextField(db_index=True),
        **per_movie(lambda movie: movie.title),
        vendors=("sqlite", "postgresql"),
    ),
    "unique": Case(
        models.CharField(max_length=40, unique=True),
        **per_movie(lambda movie: movie.title),
    ),
    "unique text": Case(
        models.TextField(unique=True),
        **per_movie(lambda movie: movie.title),
        vendors=("sqlite", "postgresql"),
    ),
    "unique and nullable": Case(
        models.IntegerField(unique=True, null=True),
        lambda movie: None if movie.year < 1903 else movie.year,
        [None, None, None, 1903, 1904],
    ),
    "nullable": Case(
        models.CharField(max_length=40, null=True, db_index=True),
        **per_movie(lambda movie: movie.title),
    ),
    "table space": Case(
        models.CharField(max_length=40, db_index=True, db_tablespace="pg_default"),
        **per_movie(lambda movie: movie.title),
        vendors=("postgresql",),
    ),
    "unique in a table space": Case(
        models.CharField(max_length=40, unique=True, db_tablespace="pg_default"),
        **per_movie(lambda movie: movie.title),
        vendors=("postgresql",),
    ),
    "validators": Case(
        models.CharField(max_length=40, validators=[MinLengthValidator(3)]),
        **per_movie(lambda movie: movie.title),
    ),
    "choices": Case(
        models.PositiveSmallIntegerField(choices=[(n, str(n)) for n in range(5)]),
        **per_movie(lambda movie: movie.year - 1900),
    ),
    "blank": Case(
        models.CharField(max_length=40, blank=True),
        lambda movie: "" if movie.year == 1900 else movie.title,
        ["", *(f"Film Number {n}" for n in range(1, 5))],
    ),
    "empty default": Case(models.CharField(max_length=40, default=""), None, [""] * 5),
    "not editable": Case(
        models.IntegerField(editable=False), **per_movie(lambda movie: movie.year)
    ),
    "auto_now": Case(
        models.DateTimeField(auto_now=True),
        **per_movie(lambda movie: dt.datetime(movie.year, 2, 1, tzinfo=UTC)),
    ),
    "auto_now_add": Case(
        models.DateField(auto_now_add=True),
        **per_movie(lambda movie: dt.date(movie.year, 2, 1)),
    ),
    "callable default": Case(models.JSONField(default=list), None, [[]] * 5),
    "verbose name that is not text": Case(
        models.IntegerField(verbose_name="%s of 100 %"),
        **per_movie(lambda movie: movie.year),
    ),
    # Relations
    "foreign key": Case(
        models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: movie.year - 1899,
        [1, 2, 3, 4, 5],
    ),
    "foreign key to another field": Case(
        models.ForeignKey("films.Studio", models.CASCADE, to_field="code"),
        lambda movie, apps: (
            apps.get_model("films", "Studio")
            .objects.using(movie._state.db)
            .get(pk=movie.pk)
        ),
        [uuid.UUID(int=n) for n in range(1, 6)],
    ),
    "foreign key without an index": Case(
        models.ForeignKey("films.Studio", models.PROTECT, db_index=False),
        lambda movie: movie.pk,
        [1, 2, 3, 4, 5],
    ),
    "foreign key without a constraint": Case(
        models.ForeignKey("films.Studio", models.DO_NOTHING, db_constraint=False),
        lambda movie: movie.year,
        [1900, 1901, 1902, 1903, 1904],
    ),
    "foreign key with a column of its own and a comment": Case(
        models.ForeignKey(
            "films.Studio", models.CASCADE, db_column="made_by", db_comment="It's made"
        ),
        lambda movie: movie.pk,
        [1, 2, 3, 4, 5],
    ),
    "unique foreign key": Case(
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie: movie.pk,
        [1, 2, 3, 4, 5],
    ),
    "nullable foreign key": Case(
        models.ForeignKey("films.Studio", models.SET_NULL, null=True),
        lambda movie: None if movie.year < 1903 else movie.pk,
        [None, None, None, 4, 5],
    ),
    "foreign key to itself": Case(
        models.ForeignKey("self", models.CASCADE),
        lambda movie: movie,
        [1, 2, 3, 4, 5],
    ),
    # Fields of a project's own
    "custom type": Case(
        RatingField(), **per_movie(lambda movie: Rating(movie.year - 1899))
    ),
    "custom type, indexed": Case(
        RatingField(db_index=True),
        **per_movie(lambda movie: Rating(movie.year - 1899)),
    ),
    "custom values in a known type": Case(
        PairField(max_length=40, separator="|", unique=True),
        **per_movie(lambda movie: (movie.title, str(movie.year))),
    ),
}


def add_postgresql_cases() -> None:
    """Add the fields of contrib.postgres, which needs psycopg to be imported."""
    try:
        from django.contrib.postgres import fields, operations
        from django.db.backends.postgresql.psycopg_any import (
            DateRange,
            DateTimeTZRange,
            NumericRange,
        )
    except ImportError:
        return
    only = {"vendors": ("postgresql",)}
    CASES.update(
        {
            "array": Case(
                fields.ArrayField(models.CharField(max_length=40)),
                **per_movie(lambda movie: [movie.title, "%s", "a,b{}\"'"]),
                **only,
            ),
            "array, sometimes empty": Case(
                fields.ArrayField(models.IntegerField(), blank=True),
                **per_movie(lambda movie: [movie.year] * (movie.year - 1900)),
                **only,
            ),
            "array of arrays": Case(
                fields.ArrayField(fields.ArrayField(models.IntegerField())),
                **per_movie(lambda movie: [[movie.year, 1], [2, 3]]),
                **only,
            ),
            "array with a size and an index": Case(
                fields.ArrayField(models.DateField(), size=2, db_index=True),
                **per_movie(lambda movie: [dt.date(movie.year, 1, 1)] * 2),
                **only,
            ),
            "integer range": Case(
                fields.IntegerRangeField(),
                **per_movie(lambda movie: NumericRange(movie.year, movie.year + 1)),
                **only,
            ),
            "big integer range": Case(
                fields.BigIntegerRangeField(),
                **per_movie(lambda movie: NumericRange(2**40 + movie.year, None)),
                **only,
            ),
            "decimal range": Case(
                fields.DecimalRangeField(),
                **per_movie(
                    lambda movie: NumericRange(decimal.Decimal(movie.year) / 8, None)
                ),
                **only,
            ),
            "date range": Case(
                fields.DateRangeField(),
                **per_movie(
                    lambda movie: DateRange(
                        dt.date(movie.year, 1, 1), dt.date(movie.year + 1, 1, 1)
                    )
                ),
                **only,
            ),
            "datetime range": Case(
                fields.DateTimeRangeField(db_index=True),
                **per_movie(
                    lambda movie: DateTimeTZRange(
                        dt.datetime(movie.year, 1, 1, tzinfo=UTC), None
                    )
                ),
                **only,
            ),
            "hstore": Case(
                fields.HStoreField(),
                **per_movie(lambda movie: {"title": movie.title, "none": None}),
                before=(operations.HStoreExtension(),),
                **only,
            ),
            "array of hstore": Case(
                fields.ArrayField(fields.HStoreField()),
                **per_movie(lambda movie: [{"title": movie.title}]),
                before=(operations.HStoreExtension(),),
                **only,
            ),
            "case-insensitive collation": Case(
                models.CharField(
                    max_length=40, db_collation="case_insensitive", unique=True
                ),
                **per_movie(lambda movie: movie.title),
                before=(
                    operations.CreateCollation(
                        "case_insensitive",
                        provider="icu",
                        locale="und-u-ks-level2",
                        deterministic=False,
                    ),
                ),
                **only,
            ),
            "search vector": Case(
                _search_vector(),
                lambda movie: None,
                [None] * 5,
                **only,
            ),
        }
    )


def _search_vector() -> Any:
    from django.contrib.postgres.search import SearchVectorField

    return SearchVectorField(null=True)


add_postgresql_cases()


def create_movies(history: History, *before: Any) -> None:
    if before:
        history.apply(*before)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=n + 1, title=f"Film Number {n}", year=1900 + n)
        for n in range(5)
    )
    history.rows("Studio").bulk_create(
        history.model("Studio")(id=n, name=f"Studio {n}", code=uuid.UUID(int=n))
        for n in range(1, 6)
    )


def values(history: History, *names: str) -> list[Any]:
    return list(history.rows("Movie").values_list(*names, flat=len(names) == 1))


def require(case: Case, history: History) -> None:
    if history.connection.vendor not in case.vendors:
        pytest.skip("not a column of this database")
    for operation in case.before:
        name = getattr(operation, "name", "")
        if name == "hstore":
            require_extension(history.connection, name)
        if getattr(operation, "provider", "") == "icu":
            require_icu(history.connection)


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("name", CASES)
def test_field(history: History, name: str) -> None:
    case = CASES[name]
    require(case, history)
    create_movies(history, *case.before)
    before = history.describe("Movie"), values(history, "id", "title", "year")
    expected = case.expected
    if callable(expected):
        expected = [expected(movie) for movie in history.rows("Movie")]

    history.apply(
        AddFieldWithBackfill("Movie", case.name, case.field.clone(), case.populate)
    )
    history.apply(
        migrations.CreateModel("Twin", [*MOVIE_FIELDS, (case.name, case.field.clone())])
    )

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )
    column = history.model("Movie")._meta.get_field(case.name).attname
    # psycopg2 gives bytes as a memoryview.
    found = [
        bytes(v) if isinstance(v, memoryview) else v for v in values(history, column)
    ]
    assert found == expected
    assert values(history, "id", "title", "year") == before[1]

    history.unapply()
    history.unapply()

    assert (history.describe("Movie"), values(history, "id", "title", "year")) == before


def test_generic_foreign_key(history: History) -> None:
    """A GenericForeignKey has no column; its two fields have one each."""
    content_type = migrations.CreateModel(
        "ContentType", [("id", models.BigAutoField(primary_key=True))]
    )
    create_movies(history, content_type)
    kind = history.model("ContentType").objects.using(history.connection.alias).create()

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "content_type",
            models.ForeignKey("films.ContentType", models.CASCADE),
            lambda movie: kind.pk,
        )
    )
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "object_id",
            models.PositiveBigIntegerField(),
            lambda movie: movie.year,
        )
    )

    assert values(history, "content_type", "object_id") == [
        (kind.pk, 1900 + n) for n in range(5)
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            models.CharField(max_length=5),
            "Ensure this value has at most 5 characters.",
        ),
        (
            models.CharField(max_length=40, validators=[MinLengthValidator(30)]),
            "Ensure this value has at least 30 characters.",
        ),
        (
            models.CharField(max_length=40, choices=[("a", "A")]),
            "the value is not a valid choice.",
        ),
        (models.EmailField(), "Enter a valid email address."),
        (models.IntegerField(), "the value must be an integer."),
    ],
    ids=["max_length", "validator", "choices", "email", "integer"],
)
def test_value_that_the_field_does_not_take(
    history: History, wrong: Any, reason: str
) -> None:
    create_movies(history)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill("Movie", "extra", wrong, lambda movie: movie.title)
        )

    assert [row.pk for row in caught.value.rows] == [1, 2, 3, 4, 5]
    assert reason in caught.value.rows[0].reason
    assert history.describe("Movie") == before
