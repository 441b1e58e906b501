"""Every kind of model: keys, inheritance, managers, options and table names."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Upper

from safefield.operations import AddFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

pytestmark = [pytest.mark.core, pytest.mark.edges]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


TITLE = ("title", models.CharField(max_length=100))
STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True)), TITLE]
)


def slug_of(movie: Any) -> str:
    return f"film-{movie.title}"


def add_slug(model_name: str = "Movie", **options: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        model_name,
        options.pop("name", "slug"),
        options.pop("field", models.SlugField(unique=True)),
        options.pop("populate", slug_of),
        # Two rows a page: each page but the first has to find its place.
        batch_size=2,
        **options,
    )


def dump(history: History, name: str = "Movie") -> list[tuple[Any, ...]]:
    """Return all rows with all columns, by primary key."""
    model = history.model(name)
    names = [field.attname for field in model._meta.concrete_fields]
    return list(history.rows(name).values_list("pk", *names))


def create_rows(history: History, name: str, rows: Sequence[dict[str, Any]]) -> None:
    model = history.model(name)
    for row in rows:
        model(**row).save(using=history.connection.alias, force_insert=True)


@dataclass
class Case:
    """
    A model Movie with some rows.

    Args:
        fields: The fields of Movie besides its title.
        rows: What the rows have besides the title.
        options: Meta of Movie.
        before: Operations for what Movie points to.
        prepare: Makes the rows that Movie points to.
        vendors: The databases that have such a table.
    """

    fields: Sequence[tuple[str, Any]]
    rows: Sequence[dict[str, Any]]
    options: dict[str, Any] | None = None
    before: Sequence[Operation] = ()
    prepare: Callable[[History], None] = lambda history: None
    vendors: Sequence[str] = ("sqlite", "postgresql", "mysql")


def keyed(field: Any, *keys: Any, **options: Any) -> Case:
    """Return a case in which `field` is the primary key."""
    return Case([("key", field)], [{"key": key} for key in keys], **options)


def create_studios(history: History) -> None:
    create_rows(history, "Studio", [{"title": str(n)} for n in range(5)])


BIG_KEY = ("id", models.BigAutoField(primary_key=True))

CASES = {
    # Primary keys
    "integer key with gaps and negative ones": keyed(
        models.AutoField(primary_key=True), -(2**31), -1, 3, 4, 900, 2**31 - 1
    ),
    "big key": keyed(
        models.BigAutoField(primary_key=True), -(2**63), -7, 2**53 + 1, 2**63 - 1
    ),
    "small key": keyed(models.SmallAutoField(primary_key=True), -5, 2, 3),
    "UUID key": keyed(
        models.UUIDField(primary_key=True),
        *[uuid.uuid5(uuid.NAMESPACE_DNS, str(n)) for n in range(7)],
    ),
    "text key": keyed(
        models.CharField(primary_key=True, max_length=30),
        *["", "a", "Ab", "b%s", "c'd", "É", "e\\", "f g", "🎬"],
    ),
    "text key without a length": keyed(
        models.TextField(primary_key=True),
        *["", "a", "A", "B", "b", "É"],
        vendors=("sqlite", "postgresql"),
    ),
    "date key": keyed(
        models.DateField(primary_key=True), *[dt.date(1900, n, 1) for n in range(1, 6)]
    ),
    "datetime key": keyed(
        models.DateTimeField(primary_key=True),
        *[dt.datetime(1900, 1, 1, 0, 0, 0, n, dt.timezone.utc) for n in range(5)],
    ),
    "decimal key": keyed(
        models.DecimalField(primary_key=True, max_digits=5, decimal_places=2),
        *["-1.50", "0.00", "0.01", "1.00", "10.00"],
    ),
    "IP address key": keyed(
        models.GenericIPAddressField(primary_key=True),
        *["192.0.2.10", "192.0.2.9", "2001:db8::1"],
    ),
    "binary key": keyed(
        models.BinaryField(primary_key=True),
        *[b"\x00", b"\x01\xff", b"a"],
        vendors=("sqlite", "postgresql"),
    ),
    "foreign key as key": Case(
        [
            (
                "studio",
                models.OneToOneField("films.Studio", models.CASCADE, primary_key=True),
            )
        ],
        [{"studio_id": n} for n in (1, 2, 3, 4, 5)],
        before=[STUDIO],
        prepare=create_studios,
    ),
    "composite key": Case(
        [
            ("pk", models.CompositePrimaryKey("tenant", "number")),
            ("tenant", models.CharField(max_length=20)),
            ("number", models.IntegerField()),
        ],
        [
            {"tenant": tenant, "number": number}
            for tenant in ("a", "b", "C")
            for number in (-1, 2, 3)
        ],
    ),
    "composite key with a foreign key": Case(
        [
            ("pk", models.CompositePrimaryKey("studio_id", "code", "made")),
            ("studio", models.ForeignKey("films.Studio", models.CASCADE)),
            ("code", models.UUIDField()),
            ("made", models.DateField()),
        ],
        [
            {"studio_id": n, "code": uuid.UUID(int=n + m), "made": dt.date(1900, m, 1)}
            for n in (1, 2)
            for m in (1, 2, 3)
        ],
        before=[STUDIO],
        prepare=create_studios,
    ),
    # Options
    "ordering": Case([BIG_KEY], [{}] * 5, {"ordering": ["-title", "pk"]}),
    "ordering by a related field": Case(
        [BIG_KEY, ("studio", models.ForeignKey("films.Studio", models.CASCADE))],
        [{"studio_id": n} for n in (5, 4, 3, 2, 1)],
        {"ordering": ["studio__title"]},
        before=[STUDIO],
        prepare=create_studios,
    ),
    "order_with_respect_to": Case(
        [BIG_KEY, ("studio", models.ForeignKey("films.Studio", models.CASCADE))],
        [{"studio_id": n} for n in (1, 1, 2, 2, 3)],
        {"order_with_respect_to": "studio"},
        before=[STUDIO],
        prepare=create_studios,
    ),
    "constraints and indexes": Case(
        [BIG_KEY, ("year", models.IntegerField(db_index=True))],
        [{"year": n} for n in range(5)],
        {
            "constraints": [
                models.CheckConstraint(condition=models.Q(year__gte=0), name="old"),
                models.UniqueConstraint(fields=["title", "year"], name="one_a_year"),
                models.UniqueConstraint(
                    "year", condition=models.Q(year__gt=3), name="one_film"
                ),
            ],
            "indexes": [
                models.Index(fields=["year", "-title"], name="by_year"),
                models.Index(Upper("title"), name="by_upper_title"),
            ],
        },
        vendors=("sqlite", "postgresql"),
    ),
    "unique together and a comment": Case(
        [BIG_KEY, ("year", models.IntegerField())],
        [{"year": n} for n in range(5)],
        {"unique_together": {("title", "year")}, "db_table_comment": "It's “it”"},
    ),
    "foreign keys to itself": Case(
        [
            BIG_KEY,
            ("sequel_of", models.ForeignKey("self", models.CASCADE, null=True)),
            (
                "remake_of",
                models.OneToOneField(
                    "self", models.SET_NULL, null=True, related_name="remake"
                ),
            ),
        ],
        [{"id": 1}, {"id": 2, "sequel_of_id": 1}, {"id": 3, "remake_of_id": 1}],
    ),
    "generated column": Case(
        [
            BIG_KEY,
            ("year", models.IntegerField()),
            (
                "decade",
                models.GeneratedField(
                    expression=models.F("year") / 10,
                    output_field=models.FloatField(),
                    db_persist=True,
                ),
            ),
        ],
        [{"year": 1900 + n} for n in range(5)],
    ),
    "virtual generated column": Case(
        [
            BIG_KEY,
            (
                "loud_title",
                models.GeneratedField(
                    expression=Upper("title"),
                    output_field=models.CharField(max_length=100),
                    db_persist=False,
                ),
            ),
        ],
        [{}] * 5,
        vendors=("sqlite", "mysql"),
    ),
    # Names of tables
    "reserved word": Case([BIG_KEY], [{}] * 5, {"db_table": "order"}),
    "upper case": Case([BIG_KEY], [{}] * 5, {"db_table": "FilmsMovie"}),
    "spaces, quotes and dots": Case(
        [BIG_KEY], [{}] * 5, {"db_table": "the “films” of 19.00's"}
    ),
    # Django itself cannot write to such a table elsewhere.
    "percent sign": Case(
        [BIG_KEY], [{}] * 5, {"db_table": "films 100%"}, vendors=("sqlite",)
    ),
    "long name": Case([BIG_KEY], [{}] * 5, {"db_table": "f" * 63}),
    "already quoted": Case(
        [BIG_KEY],
        [{}] * 5,
        {"db_table": '"Quoted Films"'},
        vendors=("postgresql", "sqlite"),
    ),
}


def start(history: History, name: str) -> list[Any]:
    """Create the model of a case and its rows; return the fields and options."""
    case = CASES[name]
    if history.connection.vendor not in case.vendors:
        pytest.skip("not a table of this database")
    if case.before:
        history.apply(*case.before)
        case.prepare(history)
    history.apply(
        migrations.CreateModel(
            "Movie",
            [(name, field.clone()) for name, field in [*case.fields, TITLE]],
            options=case.options or {},
        )
    )
    create_rows(
        history,
        "Movie",
        [{"title": str(n), **row} for n, row in enumerate(case.rows)],
    )
    return [*case.fields, TITLE]


@pytest.mark.parametrize("name", CASES)
def test_model(history: History, name: str) -> None:
    fields = start(history, name)
    before = history.describe("Movie"), dump(history)

    history.apply(add_slug())

    rows = history.rows("Movie").values_list("title", "slug")
    assert [slug for _, slug in rows] == [f"film-{title}" for title, _ in rows]
    assert len(rows) == len(CASES[name].rows)
    if CASES[name].options is None:
        assert_as_created(history, [*fields, ("slug", models.SlugField(unique=True))])

    history.unapply()

    assert (history.describe("Movie"), dump(history)) == before


def assert_as_created(history: History, fields: Sequence[tuple[str, Any]]) -> None:
    """Compare Movie with what CreateModel makes of all its fields."""
    history.apply(
        migrations.CreateModel(
            "Twin", [(name, field.clone()) for name, field in fields]
        )
    )
    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )
    history.unapply()


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("name", CASES)
def test_model_on_the_way_back(history: History, name: str) -> None:
    start(history, name)
    before = history.describe("Movie")

    history.apply(
        add_slug(reverse=lambda movie: {"title": movie.slug.removeprefix("film-")})
    )
    titles = [movie.title for movie in history.rows("Movie")]
    history.unapply()

    assert [movie.title for movie in history.rows("Movie")] == titles
    assert history.describe("Movie") == before
