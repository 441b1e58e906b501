"""An existing field made required, or unique, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import migrations, models

import safefield
from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History
from tests.support.stops import run_with_stops

pytestmark = [pytest.mark.newest, pytest.mark.edges]

STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=200, unique=True)),
    ],
)
FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
    ("year", models.IntegerField()),
]
COLLATIONS = {"sqlite": "NOCASE", "postgresql": "C", "mysql": "utf8mb4_bin"}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


@dataclass(frozen=True)
class Case:
    """The field before and after, what populate says, and the values."""

    old: models.Field[Any, Any]
    new: models.Field[Any, Any]
    populate: Callable[[Any], Any] | None
    before: list[Any]
    after: list[Any]
    reverts: dict[str, Any] = field(default_factory=dict)


def title(movie: Any) -> str:
    return str(movie.title)


def year(movie: Any) -> int:
    return int(movie.year)


char, slug, text = models.CharField, models.SlugField, models.TextField
integer = models.IntegerField
MIXED, FILLED = ["x", None, "", None], ["x", "Film 1", "", "Film 3"]
YEARS = [7, None, -7, None], [7, 1901, -7, 1903]

CASES = {
    "required": Case(
        char(max_length=80, null=True), char(max_length=80), title, MIXED, FILLED
    ),
    "required with a default": Case(
        char(max_length=80, null=True),
        char(max_length=80, default="none"),
        title,
        MIXED,
        FILLED,
    ),
    "required, from the default": Case(
        char(max_length=80, null=True),
        char(max_length=80, default="none"),
        None,
        MIXED,
        ["x", "none", "", "none"],
    ),
    "required with a database default": Case(
        integer(null=True), integer(db_default=3), year, *YEARS
    ),
    "required with a database default that is a UUID": Case(
        models.UUIDField(null=True),
        models.UUIDField(db_default=UUID(int=7)),
        lambda movie: UUID(int=movie.pk),
        [UUID(int=9), None],
        [UUID(int=9), UUID(int=2)],
    ),
    "database default kept": Case(
        integer(null=True, db_default=3), integer(db_default=3), year, *YEARS
    ),
    "database default changed": Case(
        integer(null=True, db_default=3), integer(db_default=4), year, *YEARS
    ),
    "database default dropped": Case(
        integer(null=True, db_default=3), integer(), year, *YEARS
    ),
    "unique": Case(
        char(max_length=80),
        char(max_length=80, unique=True),
        None,
        ["a", "b", "c", ""],
        ["a", "b", "c", ""],
    ),
    "unique and still nullable": Case(
        char(max_length=80, null=True),
        char(max_length=80, null=True, unique=True),
        title,
        ["a", None, "b", None],
        ["a", "Film 1", "b", "Film 3"],
    ),
    "required and unique": Case(
        char(max_length=80, null=True),
        char(max_length=80, unique=True),
        title,
        MIXED,
        FILLED,
    ),
    "unique made required": Case(
        char(max_length=80, null=True, unique=True),
        char(max_length=80, unique=True),
        title,
        MIXED,
        FILLED,
    ),
    "unique no more": Case(
        char(max_length=80, null=True, unique=True),
        char(max_length=80),
        title,
        MIXED,
        FILLED,
    ),
    "slug made unique": Case(
        slug(max_length=80, null=True),
        slug(max_length=80, unique=True),
        lambda movie: f"film-{movie.pk}",
        ["x", None, "y", None],
        ["x", "film-2", "y", "film-4"],
    ),
    "indexed": Case(
        char(max_length=80, null=True, db_index=True),
        char(max_length=80, db_index=True),
        title,
        MIXED,
        FILLED,
    ),
    "index added": Case(
        char(max_length=80, null=True),
        char(max_length=80, db_index=True),
        title,
        MIXED,
        FILLED,
    ),
    "index dropped": Case(
        char(max_length=80, null=True, db_index=True),
        char(max_length=80),
        title,
        MIXED,
        FILLED,
    ),
    "longer": Case(
        char(max_length=6, null=True), char(max_length=80), title, MIXED, FILLED
    ),
    "shorter": Case(
        char(max_length=80, null=True), char(max_length=6), title, MIXED, FILLED
    ),
    "longer, unique and indexed before": Case(
        char(max_length=6, null=True, db_index=True),
        char(max_length=80, unique=True),
        title,
        MIXED,
        FILLED,
    ),
    "another type": Case(integer(null=True), models.BigIntegerField(), year, *YEARS),
    "another type and a check": Case(
        integer(null=True),
        models.PositiveIntegerField(),
        year,
        [7, None, 0, None],
        [7, 1901, 0, 1903],
    ),
    "check kept": Case(
        models.PositiveIntegerField(null=True),
        models.PositiveIntegerField(),
        year,
        [7, None, 0, None],
        [7, 1901, 0, 1903],
    ),
    "text from char": Case(
        char(max_length=80, null=True), text(), title, MIXED, FILLED
    ),
    "comment kept": Case(
        char(max_length=80, null=True, db_comment="it's one"),
        char(max_length=80, db_comment="it's one"),
        title,
        MIXED,
        FILLED,
    ),
    "comment changed": Case(
        char(max_length=80, null=True, db_comment="it's one"),
        char(max_length=80, db_comment="it's two"),
        title,
        MIXED,
        FILLED,
    ),
    "foreign key": Case(
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: 2,
        [1, None, 3, None],
        [1, 2, 3, 2],
    ),
    "foreign key made one-to-one": Case(
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie: movie.pk,
        [1, None, 3, None],
        [1, 2, 3, 4],
    ),
    "one-to-one": Case(
        models.OneToOneField("films.Studio", models.CASCADE, null=True),
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie: movie.pk,
        [1, None, 3, None],
        [1, 2, 3, 4],
    ),
    "foreign key to another table": Case(
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.ForeignKey("films.Movie", models.CASCADE, related_name="+"),
        lambda movie: 2,
        [1, None, 3, None],
        [1, 2, 3, 2],
    ),
    # Django 6.1 has such keys; before, nothing but the NULL changes.
    "foreign key, rows deleted by the database": Case(
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.ForeignKey(
            "films.Studio", getattr(models, "DB_CASCADE", models.CASCADE)
        ),
        lambda movie: 2,
        [1, None, 3, None],
        [1, 2, 3, 2],
    ),
    "foreign key, constraint added": Case(
        models.ForeignKey(
            "films.Studio", models.DO_NOTHING, null=True, db_constraint=False
        ),
        models.ForeignKey("films.Studio", models.DO_NOTHING),
        lambda movie: 2,
        [1, None, 3, None],
        [1, 2, 3, 2],
    ),
    "foreign key, constraint dropped": Case(
        models.ForeignKey("films.Studio", models.DO_NOTHING, null=True),
        models.ForeignKey("films.Studio", models.DO_NOTHING, db_constraint=False),
        lambda movie: 2,
        [1, None, 3, None],
        [1, 2, 3, 2],
    ),
}


def create(history: History, old: models.Field[Any, Any], before: list[Any]) -> None:
    history.apply(
        STUDIO, migrations.CreateModel("Movie", [*FIELDS, ("extra", old.clone())])
    )
    history.rows("Studio").bulk_create(
        history.model("Studio")(name=f"Studio {n}") for n in range(4)
    )
    movie = history.model("Movie")
    name = movie._meta.get_field("extra").attname
    history.rows("Movie").bulk_create(
        movie(title=f"Film {n}", year=1900 + n, **{name: value})
        for n, value in enumerate(before)
    )


def extras(history: History) -> list[Any]:
    attname = history.model("Movie")._meta.get_field("extra").attname
    return list(history.rows("Movie").values_list(attname, flat=True))


def check(history: History, case: Case) -> None:
    create(history, case.old, case.before)
    table = history.describe("Movie")
    twin = migrations.CreateModel("Twin", [*FIELDS, ("extra", case.new.clone())])

    history.apply(AlterFieldWithBackfill("Movie", "extra", case.new, case.populate))
    history.apply(twin)

    assert extras(history) == case.after
    assert without_names(history.describe("Movie"), "films_movie") == without_names(
        history.describe("Twin"), "films_twin"
    )

    history.unapply()
    history.unapply()

    assert history.describe("Movie") == table
    assert extras(history) == case.after


@pytest.mark.parametrize("name", CASES)
def test_ends_as_django_would_have_made_it_and_back(
    history: History, name: str
) -> None:
    check(history, CASES[name])


@pytest.mark.parametrize("is_changed", [False, True], ids=["kept", "changed"])
def test_collation(history: History, is_changed: bool) -> None:
    collation = COLLATIONS[history.connection.vendor]
    other = None if is_changed else collation

    check(
        history,
        Case(
            char(max_length=80, null=True, db_collation=other),
            char(max_length=80, db_collation=collation),
            title,
            MIXED,
            FILLED,
        ),
    )


def test_default_of_bytes(history: History) -> None:
    """Fails if bytes become part of a text."""
    if history.connection.vendor == "mysql" and history.connection.mysql_is_mariadb:
        pytest.skip("Django has no such default there")
    field = models.BinaryField(db_default=b"\xff'%\0")
    create(history, models.BinaryField(null=True), [b"a", None])

    history.apply(AlterFieldWithBackfill("Movie", "extra", field, lambda movie: b"b"))
    history.rows("Movie").create(title="New", year=2000)

    assert [bytes(found) for found in extras(history)] == [b"a", b"b", b"\xff'%\0"]


def test_column_without_null_stays_without(history: History) -> None:
    create(history, char(max_length=80), ["a", "b", "c", "d"])
    taken = []

    def populate(movie: Any) -> str:
        raise AssertionError("no row is without a value")

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if "DROP NOT NULL" in sql.upper():
            taken.append(sql)
        return execute(sql, *rest)

    with history.connection.execute_wrapper(watch):
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "extra", char(max_length=90, unique=True), populate
            )
        )

    assert taken == []
    assert extras(history) == ["a", "b", "c", "d"]
    assert history.describe("Movie")["columns"]["extra"]["null"] is False


def test_another_column_is_refused(history: History) -> None:
    create(history, integer(null=True, db_column="old"), YEARS[0])
    before = history.describe("Movie"), extras(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill("Movie", "extra", integer(db_column="new"), year)
        )

    assert str(caught.value) == (
        "films.Movie.extra cannot be altered: its column is old, and is to be new. "
        "Rename it with migrations.AlterField in a migration before this one. "
        "Nothing was changed."
    )
    assert (history.describe("Movie"), extras(history)) == before


def test_bad_row_then_fixed(history: History) -> None:
    create(history, char(max_length=80, null=True), MIXED)
    table = history.describe("Movie")
    rolls_back = history.connection.vendor == "sqlite" or (
        history.connection.features.can_rollback_ddl and history.atomic
    )

    def populate(movie: Any) -> str:
        return title(movie) if movie.pk == 2 else "too long" * 20

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill("Movie", "extra", char(max_length=80), populate)
        )

    assert [row.pk for row in caught.value.rows] == [4]
    assert history.describe("Movie") == table
    assert extras(history) == (MIXED if rolls_back else ["x", "Film 1", "", None])

    history.apply(AlterFieldWithBackfill("Movie", "extra", char(max_length=80), title))

    assert extras(history) == FILLED
    assert history.describe("Movie")["columns"]["extra"]["null"] is False


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "name", ["slug made unique", "foreign key made one-to-one", "another type"]
)
def test_stopped_everywhere(alias: str, name: str, after: bool) -> None:
    case = CASES[name]
    expected, history = History(alias), History(alias)
    operation = AlterFieldWithBackfill("Movie", "extra", case.new, case.populate)
    create(expected, case.old, case.before)
    before = expected.describe("Movie")
    expected.apply(operation)
    after_all = expected.describe("Movie")
    expected.unapply()
    column = expected.model("Movie")._meta.get_field("extra").attname
    expected.rows("Movie").filter(pk__in=[2, 4]).update(**{column: None})
    history.states, history.migrations = expected.states, expected.migrations

    def forwards() -> None:
        if len(history.migrations) == 1:
            history.apply(operation)

    def backwards() -> None:
        if len(history.migrations) == 2:
            history.unapply()

    # One case is stopped at each statement, the others behind what writes.
    options = {"after": after, "also_at_reads": name == "slug made unique"}
    run_with_stops(history, forwards, **options)
    assert (history.describe("Movie"), extras(history)) == (after_all, case.after)

    run_with_stops(history, backwards, **options)
    assert (history.describe("Movie"), extras(history)) == (before, case.after)


def test_required_and_unique_with_duplicates(history: History) -> None:
    create(history, char(max_length=80, null=True), ["x", None, "x", "Film 1"])
    operation = AlterFieldWithBackfill(
        "Movie",
        "extra",
        char(max_length=80, unique=True),
        title,
        deduplicate=safefield.numbered,
    )

    history.apply(operation)

    # The row that had its value before keeps it.
    assert extras(history) == ["x", "Film 1-2", "x-2", "Film 1"]
    assert history.describe("Movie")["columns"]["extra"]["null"] is False

    history.unapply()

    assert extras(history) == ["x", "Film 1-2", "x-2", "Film 1"]
    assert history.describe("Movie")["columns"]["extra"]["null"] is True


def test_way_back_to_a_foreign_key_that_values_break(history: History) -> None:
    """Fails if it is refused only when the other foreign key is gone."""
    old = models.ForeignKey("films.Studio", models.CASCADE, null=True)
    new = models.ForeignKey("films.Movie", models.CASCADE, related_name="+")
    create(history, old, [1, None, 3, None])
    history.apply(AlterFieldWithBackfill("Movie", "extra", new, lambda movie: 4))
    history.rows("Studio").filter(pk=4).delete()
    before = history.describe("Movie"), extras(history)

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert "there is no films.Studio with this key" in str(caught.value)
    assert (history.describe("Movie"), extras(history)) == before


def test_foreign_key_to_another_table_that_values_break(history: History) -> None:
    """Fails if the database is left to say of the values, and names no row."""
    old = models.ForeignKey("films.Studio", models.CASCADE, null=True)
    create(history, old, [1, None, 3, None])
    history.rows("Movie").filter(pk=3).delete()
    history.rows("Movie").filter(pk=1).update(extra=3)
    new = models.ForeignKey("films.Movie", models.CASCADE, related_name="+")

    with pytest.raises(BackfillError) as caught:
        history.apply(AlterFieldWithBackfill("Movie", "extra", new, lambda movie: 4))

    assert (
        "1 row: there is no films.Movie with this key, and this value was there before "
        "(pk 1: 3)"
    ) in str(caught.value)
