"""The way back, row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.sessions import Session

STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20)),
    ],
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20, unique=True)),
        ("count", models.IntegerField(default=0)),
        ("studio", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
    ],
)


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    """Six movies, of which the second and the fifth have no slug, and two studios."""
    history = History(alias, atomic=request.param)
    create(history)
    return history


def create(history: History) -> None:
    history.apply(STUDIO, MOVIE)
    history.rows("Studio").create(pk=1, name="One")
    history.rows("Studio").create(pk=2, name="Two")
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=pk, title=f"Film {pk}", count=pk * 10)
        for pk in range(1, 7)
    )


def slug_of(movie: Any) -> str | None:
    return None if movie.pk in (2, 5) else f"film-{movie.pk}"


def add(history: History, reverse: Any, **options: Any) -> AddFieldWithBackfill:
    operation = AddFieldWithBackfill(
        "Movie",
        "slug",
        models.CharField(max_length=20, **options),
        slug_of if options.get("null") else lambda movie: f"film-{movie.pk}",
        reverse,
        batch_size=2,
    )
    history.apply(operation)
    return operation


def read(history: History, column: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM films_movie ORDER BY id")
        return [value for (value,) in cursor.fetchall()]


def is_rolled_back(history: History) -> bool:
    return history.connection.vendor == "sqlite" or (
        history.connection.vendor == "postgresql" and history.atomic
    )


@pytest.mark.parametrize("name", ["studio", "studio_id"])
@pytest.mark.parametrize("as_instance", [False, True], ids=["key", "instance"])
def test_foreign_key_by_either_name(
    history: History, name: str, as_instance: bool
) -> None:
    # Fails if an answer is looked up by the name of the field alone.
    def reverse(movie: Any, apps: Any) -> Any:
        studios = apps.get_model("films", "Studio").objects.using(movie._state.db)
        return {name: studios.get(pk=2) if as_instance else 2}

    add(history, reverse)

    history.unapply()

    assert read(history, "studio_id") == [2] * 6


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"studio": 1, "studio_id": 2}, "'studio' and 'studio_id' are one column"),
        ({"slug": "x"}, "'slug' is the column that goes away"),
        ({"studio": 99}, "there is no films.Studio with this key"),
        ({"studio_id": 99, "count": 7}, "there is no films.Studio with this key"),
    ],
)
def test_answer_that_cannot_be_written(
    history: History, answer: Any, reason: str
) -> None:
    # Fails if the row is not named, or others are not reversed.
    calls = Counter[int]()

    def reverse(movie: Any) -> Any:
        calls[movie.pk] += 1
        return answer if movie.pk == 4 else {"count": 1}

    operation = add(history, reverse)

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (4, f"reverse() gave a bad value: {reason}")
    ]
    kept = is_rolled_back(history)
    assert read(history, "count") == (
        [10, 20, 30, 40, 50, 60] if kept else [1, 1, 1, 40, 1, 1]
    )

    operation.reverse = lambda movie: {"count": 2}
    history.unapply()

    assert read(history, "count") == ([2] * 6 if kept else [1, 1, 1, 2, 1, 1])
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("name", ["id", "studios", "review"])
def test_answer_that_names_no_column(history: History, name: str) -> None:
    """Fails if a key, or a relation of other tables, is taken for a column."""
    history.apply(
        migrations.AddField(
            "Movie", "studios", models.ManyToManyField("films.Studio", related_name="+")
        ),
        migrations.CreateModel(
            "Review",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("movie", models.ForeignKey("films.Movie", models.CASCADE)),
            ],
        ),
    )
    add(history, lambda movie: {name: 9} if movie.pk == 4 else {})

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    reason = (
        f"<lambda>() gave a bad value: {name!r} is not a column that can be written"
    )
    assert [(row.pk, row.reason) for row in caught.value.rows] == [(4, reason)]
    assert read(history, "id") == [1, 2, 3, 4, 5, 6]


def test_value_that_the_database_refuses(history: History) -> None:
    # Fails if the error of the database is passed on without a row.
    def reverse(movie: Any) -> Any:
        return {"title": "Film 1" if movie.pk == 4 else f"New {movie.pk}"}

    add(history, reverse)
    history.rows("Movie").filter(pk=1).update(slug="x", title="Film 1")

    def keeps_the_first(movie: Any) -> Any:
        return {} if movie.pk == 1 else reverse(movie)

    history.migrations[-1].operations[0].reverse = keeps_the_first

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (
            4,
            "the database refused what keeps_the_first() gave: a value is there twice "
            "(UNIQUE)",
        )
    ]
    if not is_rolled_back(history):
        assert read(history, "title") == [
            "Film 1",
            "New 2",
            "New 3",
            "Film 4",
            "New 5",
            "New 6",
        ]


class Counting:
    """A reverse that is wrong if it is called twice for a row."""

    def __init__(self) -> None:
        self.calls = Counter[int]()
        self.fails_at = 0

    def __call__(self, movie: Any) -> Any:
        if movie.pk == self.fails_at:
            raise LookupError("not yet")
        self.calls[movie.pk] += 1
        return {"count": movie.count + (1 if movie.slug is None else 2)}


@pytest.mark.parametrize("null", [False, True], ids=["required", "nullable"])
@pytest.mark.parametrize("fails_at", [0, 5])
def test_once_a_row_also_after_a_stop(
    history: History, null: bool, fails_at: int
) -> None:
    # Fails if reverse is called again for a row that is done (R5), or never for one
    # whose value is NULL.
    before = history.describe("Movie")
    reverse = Counting()
    add(history, reverse, null=null)
    reverse.fails_at = fails_at
    if fails_at:
        with pytest.raises(BackfillError) as caught:
            history.unapply()
        assert [row.pk for row in caught.value.rows] == [fails_at]
        if is_rolled_back(history):
            reverse.calls.clear()
        reverse.fails_at = 0

    history.unapply()

    steps = [2, 1, 2, 2, 1, 2] if null else [2] * 6
    assert read(history, "count") == [
        pk * 10 + step for pk, step in enumerate(steps, start=1)
    ]
    assert reverse.calls == dict.fromkeys(range(1, 7), 1)
    assert history.describe("Movie") == before


@pytest.mark.parametrize("null", [False, True], ids=["required", "nullable"])
@pytest.mark.parametrize("fails_at", [0, 3])
def test_altered_field(history: History, null: bool, fails_at: int) -> None:
    # Fails if the values of an altered column are set to NULL on the way back (R3).
    history.apply(
        migrations.AddField("Movie", "slug", models.CharField(max_length=9, null=True))
    )
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET slug = 'old' WHERE id <> 5")
    before = history.describe("Movie")
    reverse = Counting()
    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "slug",
            models.CharField(max_length=30, null=null),
            lambda movie: "new",
            reverse,
            batch_size=2,
        )
    )
    reverse.fails_at = fails_at
    if fails_at:
        with pytest.raises(BackfillError):
            history.unapply()
        if is_rolled_back(history):
            reverse.calls.clear()
        reverse.fails_at = 0

    history.unapply()

    assert read(history, "slug") == ["old", "old", "old", "old", "new", "old"]
    assert read(history, "count") == [12, 22, 32, 42, 52, 62]
    assert reverse.calls == dict.fromkeys(range(1, 7), 1)
    assert history.describe("Movie") == before


@on_servers
@pytest.mark.parametrize("null", [False, True], ids=["required", "nullable"])
def test_row_that_is_inserted_behind_the_pass(alias: str, null: bool) -> None:
    # Fails if there is no second pass (R1).
    history = History(alias)
    create(history)
    with Session(history.connection) as session:

        def reverse(movie: Any) -> Any:
            if movie.pk == 6:
                session.execute(
                    "INSERT INTO films_movie (id, title, count, slug) "
                    "VALUES (-1, 'New', 0, 'behind')"
                )
            return {"title": f"{movie.slug} {movie.pk}"}

        add(history, reverse, null=null)
        history.unapply()

    assert read(history, "title")[:2] == ["behind -1", "film-1 1"]


def test_key_that_reverse_changes(history: History) -> None:
    # Fails if the key is read after reverse.
    def reverse(movie: Any) -> Any:
        answer = {"count": movie.pk}
        movie.pk = movie.id = 1
        return answer

    add(history, reverse)

    history.unapply()

    assert read(history, "count") == [1, 2, 3, 4, 5, 6]


def test_bad_value_in_one_of_two_tables(history: History) -> None:
    # Fails if the parent's table is written before the child's values are checked.
    history.apply(
        migrations.CreateModel(
            "Epic",
            [
                (
                    "movie_ptr",
                    models.OneToOneField(
                        "films.Movie",
                        models.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        auto_created=True,
                    ),
                ),
                ("hours", models.PositiveSmallIntegerField(default=1)),
            ],
            bases=("films.Movie",),
        )
    )
    history.rows("Epic").create(pk=7, title="Film 7", count=70)
    history.apply(
        AddFieldWithBackfill(
            "Epic",
            "label",
            models.CharField(max_length=20),
            lambda epic: "x",
            lambda epic: {"hours": "many", "count": 5},
        )
    )

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert [row.pk for row in caught.value.rows] == [7]
    assert read(history, "count")[-1] == 70
