"""The column is all NULL until it is filled, whatever its field makes of None."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import migrations, models

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]


class BlobField(models.Field):
    """Keeps JSON in a text, and a text for None too, as wagtail's StreamField does."""

    def get_internal_type(self) -> str:
        return "TextField"

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        return json.dumps(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)


class TextForNoneField(models.CharField):
    """Keeps the empty text for None."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save("" if value is None else value, connection)


class InsistentField(models.IntegerField):
    """Always says that it has a default."""

    def has_default(self) -> bool:
        return True

    def get_default(self) -> int:
        return 7


class NumberedField(models.IntegerField):
    """Its type brings a default, as serial does on PostgreSQL."""

    def db_type(self, connection: Any) -> str:
        return "integer DEFAULT 5"


CASES = {
    "JSON in a text": (
        BlobField(),
        lambda movie: [movie.title],
        '["Film 1"]',
    ),
    "JSON in a text, nullable": (
        BlobField(null=True),
        lambda movie: [movie.title],
        '["Film 1"]',
    ),
    "JSON in a text, unique": (
        TextForNoneField(max_length=80, unique=True),
        lambda movie: movie.title,
        "Film 1",
    ),
    "an empty text": (
        TextForNoneField(max_length=80, db_index=True),
        lambda movie: movie.title,
        "Film 1",
    ),
    "a default of its own": (InsistentField(), lambda movie: movie.pk, 1),
}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def create_movies(history: History, *fields: Any, count: int = 3) -> None:
    history.apply(migrations.CreateModel("Movie", [*FIELDS, *fields]))
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=n, title=f"Film {n}") for n in range(1, count + 1)
    )


def read(history: History, column: str = "body") -> list[Any]:
    """Return a column as the database has it."""
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM films_movie ORDER BY id")
        return [value for (value,) in cursor.fetchall()]


@pytest.mark.parametrize("name", CASES)
def test_added_field_is_filled(history: History, name: str) -> None:
    """Fails if the column is added with what the field stores for None."""
    field, populate, first = CASES[name]
    create_movies(history)

    history.apply(AddFieldWithBackfill("Movie", "body", field.clone(), populate))
    history.apply(migrations.CreateModel("Twin", [*FIELDS, ("body", field.clone())]))

    assert read(history)[0] == first
    assert len(set(read(history))) == 3
    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )


@pytest.mark.parametrize("name", CASES)
def test_empty_table_ends_as_django_would_have_made_it(
    history: History, name: str
) -> None:
    field, populate, _ = CASES[name]
    create_movies(history, count=0)

    history.apply(AddFieldWithBackfill("Movie", "body", field.clone(), populate))
    history.apply(migrations.CreateModel("Twin", [*FIELDS, ("body", field.clone())]))

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("name", CASES)
def test_altered_field_is_filled(history: History, name: str) -> None:
    """Fails if the last ALTER writes what the field stores for None."""
    field, populate, first = CASES[name]
    old = field.clone()
    old.null, old._unique, old.db_index = True, False, False
    create_movies(history, ("body", old))
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET body = NULL WHERE id < 3")
        cursor.execute("UPDATE films_movie SET body = '77' WHERE id = 3")

    history.apply(AlterFieldWithBackfill("Movie", "body", field.clone(), populate))

    assert read(history)[0] == first
    assert [str(value) for value in read(history)[2:]] == ["77"]
    assert history.describe("Movie")["columns"]["body"]["null"] is field.null
    history.unapply()
    assert history.describe("Movie")["columns"]["body"]["null"] is True
    assert read(history)[0] == first


def test_refused_row_is_empty_and_filled_by_the_next_run(alias: str) -> None:
    """Fails, or never ends, if a row is emptied by what the field stores for None."""
    history = History(alias)
    create_movies(history)
    field = TextForNoneField(max_length=80, unique=True)

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "body", field, lambda movie: "x"))

    assert [row.pk for row in caught.value.rows] == [2, 3]
    if alias != "default":
        assert read(history) == ["x", None, None]
    history.apply(
        AddFieldWithBackfill("Movie", "body", field.clone(), lambda movie: movie.title)
    )
    assert read(history)[1:] == ["Film 2", "Film 3"]


def test_reverse_is_called_for_each_row(history: History) -> None:
    """Fails if the column is relaxed, or a row is done, with a text for NULL."""
    create_movies(history)
    before = history.describe("Movie")
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "body",
            BlobField(),
            lambda movie: [movie.title],
            lambda movie: {"title": f"{movie.title} was {movie.body[0]}"},
        )
    )

    history.unapply()

    assert read(history, "title") == [f"Film {n} was Film {n}" for n in (1, 2, 3)]
    assert history.describe("Movie") == before


def test_deduplicated(history: History) -> None:
    create_movies(history)
    field = TextForNoneField(max_length=80, unique=True)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "body",
            field,
            lambda movie: "x",
            deduplicate=safefield.numbered,
        )
    )

    assert read(history) == ["x", "x-2", "x-3"]


def test_sqlmigrate_adds_no_default(history: History) -> None:
    create_movies(history)

    sql = "\n".join(
        history.collect(AddFieldWithBackfill("Movie", "body", BlobField(), str))
    )

    assert "DEFAULT" not in sql
    assert "'null'" not in sql


def test_column_that_the_database_fills_itself(history: History) -> None:
    """Fails if nobody looks whether the new column is bare."""
    create_movies(history)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill("Movie", "body", NumberedField(), lambda m: m.pk)
        )

    assert str(caught.value) == (
        "films.Movie.body cannot be filled: the database wrote values of its own into "
        "column body as it was added. Take the default out of NumberedField.db_type(), "
        "or use migrations.AddField. The column was removed again."
    )
    assert history.describe("Movie") == before
