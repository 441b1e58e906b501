"""Values that rows had before are never changed; those of this run are taken back."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import Case, Value, When
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.sessions import Session

MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("genre", models.CharField(max_length=20, null=True)),
    ],
)
GENRES = [("drama", "Drama"), ("comedy", "Comedy")]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(MOVIE)
    return history


def create(history: History, *rows: tuple[str, str | None]) -> None:
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=pk, title=title, genre=genre)
        for pk, (title, genre) in enumerate(rows, start=1)
    )


def read(history: History) -> list[tuple[Any, ...]]:
    """Return key and genre of each row, in SQL of its own."""
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT id, genre FROM films_movie ORDER BY id")
        return list(cursor.fetchall())


def is_kept(history: History) -> bool:
    """Return whether what a failed migration has written stays."""
    return history.connection.vendor == "mysql" or (
        history.connection.vendor == "postgresql" and not history.atomic
    )


def get_error(history: History, operation: Any) -> BackfillError:
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)
    return caught.value


@pytest.mark.parametrize(
    ("options", "bad", "reason"),
    [
        pytest.param(
            {"max_length": 20, "choices": GENRES},
            "Thriller",
            "Lower(F(title)) gave a value that is not one of the choices",
            id="choices",
        ),
        pytest.param(
            {"max_length": 20},
            "",
            "the value is an empty text, and the field is required: if it is meant, "
            "add allow_blank=True to the operation",
            id="blank",
        ),
    ],
)
def test_refused_value_of_an_expression(
    history: History, options: Any, bad: str, reason: str
) -> None:
    # Fails if the whole column is judged, and not what this run has written.
    create(
        history,
        ("-", "noir"),
        ("Drama", None),
        (bad, None),
        ("-", "film-noir"),
        ("-", ""),
    )

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie", "genre", models.CharField(**options), Lower("title")
        ),
    )

    assert [(row.pk, row.reason) for row in error.rows] == [(3, reason)]
    filled = "drama" if is_kept(history) else None
    assert read(history) == [
        (1, "noir"),
        (2, filled),
        (3, None),
        (4, "film-noir"),
        (5, ""),
    ]


def test_too_long_a_value_of_an_expression(sqlite_alias: str) -> None:
    # Fails if the whole column is judged, and not what this run has written.
    history = History(sqlite_alias)
    history.apply(MOVIE)
    create(history, ("-", "noir"), ("Drama", None), ("Too long", None))

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie", "genre", models.CharField(max_length=5), Lower("title")
        ),
    )

    assert [(row.pk, row.reason) for row in error.rows] == [
        (3, "Lower(F(title)) gave a text of more than 5 characters")
    ]
    assert read(history) == [(1, "noir"), (2, None), (3, None)]


def test_rows_that_shared_a_value_before(history: History) -> None:
    # Fails if rows of an altered column are emptied (VE3).
    create(history, ("a", "drama"), ("b", "drama"), ("c", "comedy"))
    before = read(history)

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie",
            "genre",
            models.CharField(max_length=20, unique=True),
            Lower("title"),
        ),
    )

    kept = (
        "Their values were not changed."
        if is_kept(history)
        else ("Nothing was changed.")
    )
    assert str(error) == (
        "films.Movie.genre has values that its constraints would refuse:\n"
        "  1 row: an earlier row has the same value, and the field is unique, and this "
        "value was there before (pk 2: 'drama')\n"
        f"{kept} Correct the values that were there before, or add "
        "deduplicate=safefield.numbered to the operation, then run migrate again."
    )
    assert read(history) == before


def title_of(movie: Any) -> str:
    return str(movie.title)


@pytest.mark.parametrize("populate", [title_of, models.F("title")])
def test_filled_row_gives_way_to_one_that_had_the_value(
    history: History, populate: Any
) -> None:
    # Fails if among equals the earliest key keeps the value, whoever wrote it.
    create(history, ("drama", None), ("-", "drama"), ("comedy", None))

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie", "genre", models.CharField(max_length=20, unique=True), populate
        ),
    )

    assert [row.pk for row in error.rows] == [1]
    assert read(history) == [
        (1, None),
        (2, "drama"),
        (3, "comedy" if is_kept(history) else None),
    ]

    # The fixed function is asked again.
    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "genre",
            models.CharField(max_length=20, unique=True),
            lambda movie: f"new {movie.title}",
        )
    )

    assert read(history)[:2] == [(1, "new drama"), (2, "drama")]


def test_duplicates_beside_other_bad_rows_are_empty_again(history: History) -> None:
    # Fails if rows that are told beside others keep their values.
    create(history, *[("-", None)] * 4)
    field = models.CharField(max_length=10, unique=True)
    first, second = ["a", "a", None, "b"], ["a", "c", "d", "b"]

    error = get_error(
        history,
        AddFieldWithBackfill("Movie", "code", field, lambda movie: first[movie.pk - 1]),
    )
    assert [row.pk for row in error.rows] == [3, 2]

    history.apply(
        AddFieldWithBackfill("Movie", "code", field, lambda movie: second[movie.pk - 1])
    )

    assert list(history.rows("Movie").values_list("code", flat=True)) == second


def count_readings(history: History, rows: int) -> tuple[int, int]:
    """Return how many queries ranked the table, and how many rows are empty."""
    create(history, *[("-", None)] * rows)
    field = models.CharField(max_length=10, unique=True)
    with (
        CaptureQueriesContext(history.connection) as queries,
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(
            AddFieldWithBackfill("Movie", "code", field, lambda movie: "same")
        )
    assert len(caught.value.rows) == min(rows - 1, 1_000)
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM films_movie WHERE code IS NULL")
        (empty,) = cursor.fetchone()
    ranking = [query for query in queries if "ROW_NUMBER()" in query["sql"]]
    return len(ranking), empty


@on_servers
@pytest.mark.parametrize("rows", [20, 2_502])
def test_thousands_of_bad_rows_are_read_once(alias: str, rows: int) -> None:
    # Fails if each 500 rows read the table anew, or only the first 500 are emptied.
    history = History(alias)
    history.apply(MOVIE)

    assert count_readings(history, rows) == (1, rows - 1)


@on_servers
def test_value_that_the_application_wrote_meanwhile_stays(alias: str) -> None:
    # Fails if rows are emptied without another look at them.
    history = History(alias)
    history.apply(MOVIE)
    create(history, *[("-", None)] * 4)
    field = models.CharField(max_length=10, unique=True)
    with Session(history.connection) as session:

        def write(execute: Any, sql: str, *arguments: Any) -> Any:
            result = execute(sql, *arguments)
            if "ROW_NUMBER()" in sql:
                session.execute("UPDATE films_movie SET code = 'mine' WHERE id = 3")
            return result

        with (
            history.connection.execute_wrapper(write),
            pytest.raises(BackfillError) as caught,
        ):
            history.apply(
                AddFieldWithBackfill("Movie", "code", field, lambda movie: "same")
            )

        assert [row.pk for row in caught.value.rows] == [2, 3, 4]
        assert session.fetch("SELECT id, code FROM films_movie ORDER BY id") == [
            (1, "same"),
            (2, None),
            (3, "mine"),
            (4, None),
        ]


def test_dangling_keys_that_were_there_before(history: History) -> None:
    # Fails if populate is blamed for what it was never asked about.
    history.apply(
        migrations.AddField(
            "Movie",
            "sequel",
            models.ForeignKey(
                "films.Movie", models.CASCADE, null=True, db_constraint=False
            ),
        )
    )
    create(history, ("a", None), ("b", None))
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET sequel_id = 99 WHERE id = 1")

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie",
            "sequel",
            models.ForeignKey("films.Movie", models.CASCADE),
            lambda movie: movie.pk,
        ),
    )

    assert [row.pk for row in error.rows] == [1]
    kept = (
        "Their values were not changed."
        if is_kept(history)
        else ("Nothing was changed.")
    )
    assert str(error) == (
        "films.Movie.sequel has values that its constraints would refuse:\n"
        "  1 row: there is no films.Movie with this key, and this value was there "
        "before (pk 1: 99)\n"
        f"{kept} Correct the values that were there before, then run migrate again."
    )


def test_only_the_altered_rows_are_told_to_populate(history: History) -> None:
    # Fails if the two kinds of rows get the same advice.
    history.apply(
        migrations.AddConstraint(
            "Movie",
            models.CheckConstraint(condition=~models.Q(title="x"), name="other"),
        )
    )
    create(history, ("a", "same"), ("b", "same"), ("same", None))

    error = get_error(
        history,
        AlterFieldWithBackfill(
            "Movie",
            "genre",
            models.CharField(max_length=20, unique=True),
            Case(When(pk=3, then=Value("same")), default=models.F("title")),
        ),
    )

    reason = "an earlier row has the same value, and the field is unique"
    assert [(row.pk, row.reason) for row in error.rows] == [
        (3, reason),
        (2, f"{reason}, and this value was there before"),
    ]
    assert read(history) == [(1, "same"), (2, "same"), (3, None)]


def test_dangling_answer_into_a_key_that_is_there(history: History) -> None:
    """Fails if PostgreSQL checks the key at the commit, where no row is known."""
    history.apply(
        migrations.CreateModel("Tint", [("id", models.BigAutoField(primary_key=True))]),
        migrations.AddField(
            "Movie", "tint", models.ForeignKey("films.Tint", models.CASCADE, null=True)
        ),
    )
    history.rows("Tint").create(pk=1)
    create(history, ("a", None), ("b", None), ("c", None))
    operation = AlterFieldWithBackfill(
        "Movie",
        "tint",
        models.ForeignKey("films.Tint", models.CASCADE),
        lambda movie: 99 if movie.pk == 2 else 1,
    )

    error = get_error(history, operation)

    assert [(row.pk, row.reason) for row in error.rows] == [
        (2, "there is no films.Tint with this key")
    ]
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT id, tint_id FROM films_movie ORDER BY id")
        found = list(cursor.fetchall())
    expected = [1, None, 1] if is_kept(history) else [None] * 3
    assert found == list(enumerate(expected, 1))
