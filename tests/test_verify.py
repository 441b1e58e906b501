"""Rows that the final constraints would refuse."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import Case, Value, When
from django.db.models.functions import Cast
from django.utils.text import slugify

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.history import History
from tests.test_contract import add_slug, create_movies, values
from tests.test_films import MOVIE as FILM
from tests.test_films import load_films, read_films


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def is_rolled_back(history: History) -> bool:
    return history.connection.vendor == "sqlite" or (
        history.connection.features.can_rollback_ddl and history.atomic
    )


def test_duplicates_then_mended(history: History) -> None:
    create_movies(history, 7)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate_by_decade))

    kept = (
        "Nothing was changed."
        if is_rolled_back(history)
        else "The other rows keep their values, and these are empty again."
    )
    assert str(caught.value) == (
        "films.Movie.slug has values that its constraints would refuse:\n"
        "  5 rows: an earlier row has the same value, and the field is unique "
        "(primary key 2, 3, 5, 6, 7)\n"
        f"{kept} Make populate_by_decade() give each row its own value, or add "
        "deduplicate=safefield.numbered to the operation, then run migrate again."
    )
    assert [row.pk for row in caught.value.rows] == [2, 3, 5, 6, 7]
    after = history.describe("Movie")
    if not is_rolled_back(history):
        assert after["columns"].pop("slug")["null"] is True
    # Neither an index that was refused nor what stands before NOT NULL is left.
    assert after == before

    history.apply(add_slug(populate=populate_by_decade, deduplicate=safefield.numbered))

    assert values(history, "slug") == [
        "d0",
        "d0-2",
        "d0-3",
        "d1",
        "d1-2",
        "d1-3",
        "d1-4",
    ]


def test_all_reasons_are_in_one_error(history: History) -> None:
    create_movies(history, 3)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "code",
                models.CharField(max_length=20, unique=True),
                Case(When(pk=3, then=Value("")), default=Value("same")),
            )
        )

    assert str(caught.value).splitlines()[1:-1] == [
        "  1 row: the value is an empty text, and the field is required: if it is "
        "meant, add allow_blank=True to the operation (primary key 3)",
        "  1 row: an earlier row has the same value, and the field is unique "
        "(primary key 2)",
    ]


def slug_of_title(movie: Any) -> str:
    return slugify(movie.title)


def populate_by_decade(movie: Any) -> str:
    return f"d{min(movie.year - 1900, 5) // 3}"


def test_key_that_points_nowhere(history: History) -> None:
    create_movies(history, 7)
    history.rows("Studio").create(pk=1, name="One")
    is_checked_at_once = history.connection.vendor == "mysql"

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "studio",
                models.ForeignKey("films.Studio", models.CASCADE),
                lambda movie: 1 if movie.year < 1906 else 99,
            )
        )

    assert [row.pk for row in caught.value.rows] == [7]
    if not is_checked_at_once:
        assert (
            "  1 row: there is no films.Studio with this key (primary key 7)"
            in str(caught.value).splitlines()
        )


def test_check_constraint_that_names_the_field(history: History) -> None:
    create_movies(history, 7)
    history.apply(
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField("Movie", "rank", models.IntegerField(null=True)),
                migrations.AddConstraint(
                    "Movie",
                    models.CheckConstraint(
                        condition=models.Q(rank__gte=3), name="rank_from_3"
                    ),
                ),
            ],
            database_operations=[
                migrations.AddField("Movie", "rank", models.IntegerField(null=True))
            ],
        )
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "rank", models.IntegerField(), lambda movie: movie.year - 1900
            )
        )

    assert [row.pk for row in caught.value.rows] == [1, 2, 3]


def test_a_race_is_told_by_rows(postgresql_alias: str) -> None:
    history = History(postgresql_alias)
    create_movies(history, 3)

    def populate(movie: Any) -> str:
        return slugify(movie.title)

    def write_twice(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("CREATE UNIQUE INDEX"):
            with history.connection.cursor() as cursor:
                cursor.cursor.execute("UPDATE films_movie SET slug = 'a' WHERE id < 3")
        return execute(sql, *arguments)

    with (
        history.connection.execute_wrapper(write_twice),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug(populate=populate))

    assert [row.pk for row in caught.value.rows] == [2]
    assert "duplicate key value" in str(caught.value.__cause__) or (
        "could not create unique index" in str(caught.value.__cause__)
    )

    history.apply(add_slug(populate=populate))

    assert values(history, "slug") == ["a", "film-number-1", "film-number-2"]


def test_films_with_short_slugs_are_told_in_one_error(alias: str) -> None:
    history = History(alias)
    history.apply(FILM)
    load_films(history)
    before = history.describe("Movie"), read_films(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "slug", models.SlugField(unique=True), slug_of_title
            )
        )

    # Of the 3,183 rows that collide, one is among the 72 that are too long: the
    # second "The Englishman Who Went Up a Hill but Came Down a Mountain".
    head, *lines, advice = str(caught.value).split("\n")
    assert head == "films.Movie.slug could not be filled in some rows:"
    assert [line.split(" (primary key ")[0] for line in lines] == [
        "  72 rows: slug_of_title() gave a bad value: Ensure this value has at most 50 "
        "characters.",
        "  3,182 rows: an earlier row has the same value, and the field is unique",
    ]
    assert advice.endswith("Mend slug_of_title() and run migrate again.")
    assert len(caught.value.rows) == 1_000
    assert read_films(history) == before[1]


class DateInTextField(models.DateField):
    """A date kept in a column for texts, as fields that encrypt do it."""

    def get_internal_type(self) -> str:
        return "TextField"

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        value = value if prepared else self.get_prep_value(value)
        return None if value is None else value.isoformat()


# Fails if the field is asked to convert the empty text that is looked for.
def test_column_for_texts_of_a_field_that_takes_none(history: History) -> None:
    create_movies(history)

    history.apply(
        AddFieldWithBackfill(
            "movie",
            "released",
            DateInTextField(),
            lambda movie: dt.date(1950, 1, movie.pk),
        )
    )

    texts = history.rows("Movie").values_list(
        Cast("released", models.TextField()), flat=True
    )
    assert list(texts[:2]) == ["1950-01-01", "1950-01-02"]
