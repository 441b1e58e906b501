"""Rows that collide in a unique column."""

from __future__ import annotations

import datetime as dt
import sqlite3
import sys
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, migrations, models
from django.utils.text import slugify

import safefield
from safefield import BackfillError
from safefield.backends.base.locks import Locks
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.extensions import require_extension
from tests.support.films import MOVIE as FILM
from tests.support.films import load_films
from tests.support.history import History
from tests.support.ledger import NO_WAITING, on_servers
from tests.support.rehearsals import rehearse
from tests.support.sessions import Session

pytestmark = [pytest.mark.newest, pytest.mark.edges]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
        ("year", models.IntegerField(default=1900)),
    ],
)


def populate(movie: Any) -> str:
    return str(movie.title)


def create(history: History, *titles: str) -> None:
    history.apply(MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=pk, title=title, year=1900 + pk)
        for pk, title in enumerate(titles, start=1)
    )


def add_slug(history: History, deduplicate: Any, max_length: int = 50) -> list[str]:
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True, max_length=max_length),
            populate,
            deduplicate=deduplicate,
        )
    )
    return list(history.rows("Movie").values_list("slug", flat=True))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("treasure-island", 2, None), "treasure-island-2"),
        (("treasure-island", 10, 17), "treasure-islan-10"),
        (("treasure-island", 10, 12), "treasure-10"),
        (("abc", 1000, 5), "-1000"),
    ],
)
def test_numbered(arguments: tuple[str, int, int | None], expected: str) -> None:
    value, n, max_length = arguments

    assert safefield.numbered(None, value, n, max_length=max_length) == expected


def test_numbered_is_for_texts() -> None:
    with pytest.raises(ValidationError) as caught:
        safefield.numbered(None, 7, 2)

    assert caught.value.messages == [
        "safefield.numbered is for texts, and this value is of type int"
    ]


def test_earliest_key_keeps_its_value(history: History) -> None:
    create(history, "a", "b", "a", "a", "b", "c")

    assert add_slug(history, safefield.numbered) == [
        "a",
        "b",
        "a-2",
        "a-3",
        "b-2",
        "c",
    ]


def test_rows_that_have_the_answer_of_their_own_keep_it(history: History) -> None:
    create(history, "a", "a", "a-2", "a-3", "a", "a-2")

    assert add_slug(history, safefield.numbered) == [
        "a",
        "a-4",
        "a-2",
        "a-3",
        "a-5",
        "a-2-2",
    ]


def test_many_answers_that_are_taken(history: History) -> None:
    create(history, "a", "a", *[f"a-{n}" for n in range(2, 300)], "a")

    slugs = add_slug(history, safefield.numbered)

    assert slugs[1] == "a-300"
    assert slugs[-1] == "a-301"
    assert slugs[2:-1] == [f"a-{n}" for n in range(2, 300)]


def test_never_longer_than_the_field(history: History) -> None:
    create(history, *["abcdefgh"] * 12)

    assert add_slug(history, safefield.numbered, max_length=8) == [
        "abcdefgh",
        *[f"abcdef-{n}" for n in range(2, 10)],
        *[f"abcde-{n}" for n in range(10, 13)],
    ]


def test_function_of_the_row(history: History) -> None:
    def with_year(movie: Any, value: str, n: int) -> str:
        return f"{value}-{movie.year}" if n == 2 else f"{value}-{movie.year}-{n}"

    create(history, "a", "a", "a", "a-1903")
    history.rows("Movie").filter(pk=1).update(title="a")

    assert add_slug(history, with_year) == ["a", "a-1902", "a-1903-3", "a-1903"]


def test_equal_is_what_the_database_says(history: History) -> None:
    create(history, "a", "A", "a")
    is_sensitive = history.connection.vendor != "mysql"

    assert add_slug(history, safefield.numbered) == (
        ["a", "A", "a-2"] if is_sensitive else ["a", "A-2", "a-3"]
    )


def test_calls_grow_with_the_rows_alone(history: History) -> None:
    calls: Counter[int] = Counter()

    def counted(movie: Any, value: str, n: int) -> str:
        calls[movie.pk] += 1
        return f"{value}-{n}"

    create(history, *["a"] * 2_000)

    assert add_slug(history, counted) == ["a", *[f"a-{n}" for n in range(2, 2_001)]]
    assert calls.total() <= 3 * 2_000


@pytest.mark.parametrize(
    ("deduplicate", "keys", "answers"),
    [
        (lambda movie, value, n: "b", [3, 4, 5, 6], "1 different answer"),
        (lambda movie, value, n: f"b{n % 3}", [5, 6], "3 different answers"),
    ],
    ids=["one", "three"],
)
def test_function_of_few_answers(
    history: History, deduplicate: Any, keys: list[int], answers: str
) -> None:
    # Fails if a million numbers are tried for each row.
    calls: Counter[int] = Counter()

    def counted(movie: Any, value: str, n: int) -> Any:
        calls[movie.pk] += 1
        return deduplicate(movie, value, n)

    create(history, *"aaaaaa")

    with pytest.raises(BackfillError) as caught:
        add_slug(history, counted)

    assert [row.pk for row in caught.value.rows] == keys
    assert {row.reason.partition(" for n from ")[0] for row in caught.value.rows} == {
        f"counted() gave a bad value: it gave only {answers}"
    }
    assert {row.reason.rpartition(", ")[2] for row in caught.value.rows} == {
        "and all are taken"
    }
    assert calls.total() < 12_000


def test_function_that_refuses_a_row(history: History) -> None:
    # Fails if an error of deduplicate is passed on, also where the index stands.
    def deduplicate(movie: Any, value: str, n: int) -> str:
        raise ValidationError("no %(what)s", params={"what": "idea"})

    create(history, "a", "b", "a")
    history.apply(
        migrations.AddField(
            "Movie", "slug", models.SlugField(unique=True, null=True, max_length=50)
        )
    )
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET slug = 'b' WHERE id = 2")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.SlugField(unique=True, max_length=50),
                populate,
                deduplicate=deduplicate,
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (3, "deduplicate() gave a bad value: no idea")
    ]


def test_check_constraint_is_no_collision(history: History) -> None:
    # Fails if every refusal counts as a value that is taken (D8).
    calls = []

    def deduplicate(movie: Any, value: str, n: int) -> str:
        calls.append(n)
        return f"{value}-{n}"

    create(history, "a", "b", "c")
    history.apply(
        migrations.AddField(
            "Movie", "slug", models.SlugField(unique=True, null=True, max_length=50)
        ),
        migrations.AddConstraint(
            "Movie", models.CheckConstraint(condition=~models.Q(slug="b"), name="no_b")
        ),
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.SlugField(unique=True, max_length=50),
                populate,
                deduplicate=deduplicate,
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, "the database refused it: a value breaks a check constraint (CHECK)")
    ]
    assert calls == []


#: Makes the database keep the year of each row that is written, once.
KEEP_YEARS = {
    "sqlite": [
        "CREATE TRIGGER keep AFTER UPDATE ON films_movie "
        "BEGIN INSERT INTO films_change VALUES (NEW.year); END",
    ],
    "postgresql": [
        "CREATE FUNCTION pg_temp.keep() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN INSERT INTO films_change VALUES (NEW.year); RETURN NEW; END $$",
        "CREATE TRIGGER keep AFTER UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION pg_temp.keep()",
    ],
    "mysql": [
        "CREATE TRIGGER keep AFTER UPDATE ON films_movie FOR EACH ROW "
        "INSERT INTO films_change VALUES (NEW.year)",
    ],
}


def test_unique_key_of_another_table_is_no_collision(history: History) -> None:
    # Fails if what a trigger does counts as a value that is taken: deduplicate is
    # asked for a million answers, for each row.
    calls = []

    def deduplicate(movie: Any, value: str, n: int) -> str:
        calls.append(n)
        assert n < 9
        return f"{value}-{n}"

    create(history, "a", "a", "b")
    history.apply(
        migrations.CreateModel(
            "Change", [("year", models.IntegerField(primary_key=True))]
        )
    )
    history.rows("Change").create(year=1902)
    with history.connection.cursor() as cursor:
        for sql in KEEP_YEARS[history.connection.vendor]:
            cursor.execute(sql)

    with pytest.raises(BackfillError) as caught:
        add_slug(history, deduplicate)

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, "the database refused it: a value is there twice (UNIQUE)")
    ]
    # A row has "a", and none has "a-2".
    assert calls == [2]


#: Makes the database keep three characters of each slug.
CUT_SLUGS = {
    "sqlite": [
        "CREATE TRIGGER cut AFTER UPDATE ON films_movie WHEN length(NEW.slug) > 3 "
        "BEGIN UPDATE films_movie SET slug = substr(NEW.slug, 1, 3) "
        "WHERE id = NEW.id; END",
    ],
    "postgresql": [
        "CREATE FUNCTION pg_temp.cut() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN NEW.slug = left(NEW.slug, 3); RETURN NEW; END $$",
        "CREATE TRIGGER cut BEFORE UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION pg_temp.cut()",
    ],
    "mysql": [
        "CREATE TRIGGER cut BEFORE UPDATE ON films_movie FOR EACH ROW "
        "SET NEW.slug = LEFT(NEW.slug, 3)",
    ],
}


def test_trigger_that_undoes_the_new_value(history: History) -> None:
    # Fails if each round gives another number to rows that the database keeps alike.
    numbers = []

    def deduplicate(movie: Any, value: str, n: int) -> str:
        numbers.append(n)
        assert n < 20
        return f"{value}-{n}"

    create(history, "abc", "abc", "abc", "b")
    slug = models.SlugField(null=True)
    history.apply(migrations.AddField("Movie", "slug", slug))
    history.execute(*CUT_SLUGS[history.connection.vendor])

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.SlugField(unique=True),
                populate,
                deduplicate=deduplicate,
            )
        )

    assert {(row.pk, row.reason) for row in caught.value.rows} == {
        (
            pk,
            "the database did not keep its new value: a trigger or rule undoes the "
            "UPDATE",
        )
        for pk in (2, 3)
    }
    assert "Remove the cause, then run migrate again." in str(caught.value)


def test_keys_that_have_no_order_in_python(history: History) -> None:
    # Fails if the rows that share a value are sorted by their keys in Python.
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("file", models.FileField(primary_key=True, max_length=30)),
                ("slug", models.SlugField(null=True)),
            ],
        )
    )
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(
        movie(file=f"{n}.txt", slug="a" if n == 1 else None) for n in range(4)
    )
    field = models.SlugField(unique=True)

    def add(deduplicate: Any) -> AlterFieldWithBackfill:
        return AlterFieldWithBackfill(
            "Movie", "slug", field, lambda movie: "a", deduplicate=deduplicate
        )

    with pytest.raises(BackfillError, match="3 rows: an earlier row has the same"):
        history.apply(add(None))
    assert rehearse(history, add(safefield.numbered)).error is None
    history.apply(add(safefield.numbered))

    slugs = history.rows("Movie").values_list("slug", flat=True)
    assert list(slugs) == ["a-2", "a", "a-3", "a-4"]


def test_row_that_had_its_value_first_keeps_it_in_each_round(history: History) -> None:
    # Fails if the rows of a later round give way by key alone (D2).
    create(history, "x", "x", "y", "Ý-2")
    seen = []

    def deduplicate(movie: Any, value: str, n: int) -> str:
        seen.append((movie.pk, value, n))
        # What MySQL takes for the value of row 4, and Python does not.
        return ["y-2", "z"][n - 2]

    if history.connection.vendor != "mysql":
        history.rows("Movie").filter(pk=4).update(title="y-2")
    field = models.CharField(max_length=50, unique=True)

    history.apply(
        AddFieldWithBackfill("Movie", "slug", field, populate, deduplicate=deduplicate)
    )

    assert list(history.rows("Movie").values_list("slug", flat=True)) == [
        "x",
        "z",
        "y",
        "Ý-2" if history.connection.vendor == "mysql" else "y-2",
    ]
    assert {pk for pk, _, _ in seen} == {2}


PAIR = migrations.CreateModel(
    "Pair",
    [
        ("pk", models.CompositePrimaryKey("left", "right")),
        ("left", models.IntegerField()),
        ("right", models.CharField(max_length=5)),
    ],
)


@pytest.mark.parametrize("deduplicate", [None, safefield.numbered])
@pytest.mark.parametrize("expression", [False, True], ids=["function", "expression"])
def test_composite_keys(history: History, deduplicate: Any, expression: bool) -> None:
    # Fails if a part of the key is lost behind a window.
    history.apply(PAIR)
    history.rows("Pair").bulk_create(
        history.model("Pair")(left=left, right=right)
        for left in (1, 2)
        for right in ("a", "b")
    )

    def act() -> None:
        history.apply(
            AddFieldWithBackfill(
                "Pair",
                "slug",
                models.CharField(max_length=50, unique=True),
                models.F("right") if expression else lambda pair: pair.right,
                deduplicate=deduplicate,
            )
        )

    if deduplicate is not None:
        act()
        assert list(history.rows("Pair").values_list("slug", flat=True)) == [
            "a",
            "b",
            "a-2",
            "b-2",
        ]
        return
    with pytest.raises(BackfillError) as caught:
        act()
    assert [row.pk for row in caught.value.rows] == [(2, "a"), (2, "b")]
    if history.connection.vendor == "mysql" or (
        history.connection.vendor == "postgresql" and not history.atomic
    ):
        with history.connection.cursor() as cursor:
            cursor.execute("SELECT slug FROM films_pair ORDER BY 1")
            assert {slug for (slug,) in cursor.fetchall()} == {"a", "b", None}


def test_many_composite_keys(sqlite_alias: str) -> None:
    # Fails if SQLite is sent more composite keys than an expression may be deep.
    history = History(sqlite_alias)
    history.apply(PAIR)
    history.rows("Pair").bulk_create(
        history.model("Pair")(left=left, right="a") for left in range(1_500)
    )

    history.apply(
        AddFieldWithBackfill(
            "Pair",
            "slug",
            models.CharField(max_length=50, unique=True),
            lambda pair: "a",
            deduplicate=safefield.numbered,
        )
    )

    slugs = set(history.rows("Pair").values_list("slug", flat=True))
    assert slugs == {"a", *(f"a-{n}" for n in range(2, 1_501))}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 cannot set a limit")
def test_more_collisions_than_sqlite_takes_parameters(sqlite_alias: str) -> None:
    """Fails if all answers are asked about in one question."""
    history = History(sqlite_alias)
    create(history, *["a"] * 11_000)
    limit = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    database = history.connection.connection
    before = database.setlimit(limit, 10_500)
    try:
        slugs = add_slug(history, safefield.numbered)
    finally:
        database.setlimit(limit, before)

    assert slugs == ["a", *(f"a-{n}" for n in range(2, 11_001))]


# On MariaDB a JSON column cannot be unique.
@pytest.mark.parametrize("alias", ["default", "postgresql"], indirect=True)
@pytest.mark.parametrize("first", [1, 2])
def test_json(history: History, first: int) -> None:
    # Fails if a value has to be a key of a dictionary, or if a row may be given what
    # it has: then a trigger is blamed for it.
    create(history, "a", "b", "a", "a")

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "data",
            models.JSONField(unique=True),
            lambda movie: {"title": movie.title, "tags": [first]},
            deduplicate=lambda movie, value, n: {**value, "tags": [n]},
        )
    )

    assert list(history.rows("Movie").values_list("data", flat=True)) == [
        {"title": "a", "tags": [first]},
        {"title": "b", "tags": [first]},
        {"title": "a", "tags": [first + 1]},
        {"title": "a", "tags": [first + 2]},
    ]


# On MariaDB a JSON column cannot be unique.
@pytest.mark.parametrize("alias", ["default", "postgresql"], indirect=True)
def test_function_that_changes_its_value(history: History) -> None:
    """Fails if deduplicate is given the value itself, which it changes in place."""
    create(history, "a", "b", "a", "a")

    def deduplicate(movie: Any, value: Any, n: int) -> Any:
        value["title"] += f"-{len(value['tags'])}"
        value["tags"].append(n)
        return value

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "data",
            models.JSONField(unique=True),
            lambda movie: {"title": movie.title, "tags": []},
            deduplicate=deduplicate,
        )
    )

    assert list(history.rows("Movie").values_list("data", flat=True)) == [
        {"title": "a", "tags": []},
        {"title": "b", "tags": []},
        {"title": "a-0", "tags": [2]},
        {"title": "a-0", "tags": [3]},
    ]


def test_function_that_changes_the_key(history: History) -> None:
    """Fails if the key of a row is read after deduplicate had the row."""
    create(history, "a", "b", "a", "a")

    def deduplicate(movie: Any, value: str, n: int) -> str:
        movie.pk = movie.id = 2
        return f"{value}-{n}"

    assert add_slug(history, deduplicate) == ["a", "b", "a-2", "a-3"]


@pytest.mark.parametrize("kept", [False, True], ids=["added", "altered"])
def test_row_without_a_good_answer_is_asked_again(alias: str, kept: bool) -> None:
    """Fails if a row that is told keeps the value that collides, or one from before."""
    history = History(alias)
    create(history, "a", "b", "a", "a", "b")
    asked: list[int] = []
    values = {"first": populate, "fixed": lambda movie: f"new-{movie.pk}"}

    def run(name: str, deduplicate: Any) -> None:
        def populate(movie: Any) -> str:
            asked.append(movie.pk)
            return values[name](movie)

        kind = AlterFieldWithBackfill if kept else AddFieldWithBackfill
        field = models.SlugField(unique=True)
        history.apply(kind("Movie", "slug", field, populate, deduplicate=deduplicate))

    def refuse(movie: Any, value: str, n: int) -> str:
        return "not a slug" if movie.pk == 3 or movie.pk == 5 else f"{value}-{n}"

    if kept:
        history.apply(
            migrations.AddField("Movie", "slug", models.SlugField(null=True)),
        )
        # Two rows have their value from before.
        history.rows("Movie").filter(pk__in=[2, 5]).update(slug="b")
    with pytest.raises(BackfillError) as caught:
        run("first", refuse)

    rest = {
        (True, False): "The other rows keep their values, and these are NULL again.",
        (True, True): "The other rows keep their values, and these are NULL again, "
        "but for values that were there before.",
        (False, False): "Nothing was changed.",
        (False, True): "Nothing was changed.",
    }[history.connection.vendor != "sqlite", kept]
    assert str(caught.value) == (
        "films.Movie.slug is to be unique, and some rows could not be given a value of "
        "their own:\n"
        "  2 rows: refuse() gave a bad value: Enter a valid “slug” consisting of "
        "letters, numbers, underscores or hyphens. (pk 3, 5)\n"
        f"{rest} Fix refuse(), then run migrate again."
    )
    asked.clear()
    run("fixed", safefield.numbered)

    slugs = list(history.rows("Movie").values_list("slug", flat=True))
    if history.connection.vendor == "sqlite":
        expected = {False: ["new-1", "new-2", "new-3", "new-4", "new-5"]}
        expected[True] = ["new-1", "b", "new-3", "new-4", "b-2"]
        assert slugs == expected[kept]
    elif kept:
        assert (asked, slugs) == ([3], ["a", "b", "new-3", "a-2", "b-2"])
    else:
        assert (asked, slugs) == ([3, 5], ["a", "b", "new-3", "a-2", "new-5"])


def test_answer_that_the_database_refuses(history: History) -> None:
    """Fails if a refusal of the database is passed on without its row."""
    create(history, "a", "b", "a", "a")
    history.apply(
        migrations.AddField("Movie", "slug", models.SlugField(null=True)),
        migrations.AddConstraint(
            "Movie",
            models.CheckConstraint(
                name="short", condition=~models.Q(slug__endswith="-3")
            ),
        ),
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.SlugField(unique=True),
                populate,
                deduplicate=safefield.numbered,
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (4, "the database refused it: a value breaks a check constraint (CHECK)")
    ]


def test_number_that_does_not_fit(history: History) -> None:
    """Fails if the user is told to fix a function of safefield."""
    create(history, "a", "b", "a")

    with pytest.raises(BackfillError) as caught:
        add_slug(history, safefield.numbered, max_length=1)

    kept = "Nothing was changed."
    if is_kept(history):
        kept = "The other rows keep their values, and these are NULL again."
    assert str(caught.value) == (
        "films.Movie.slug is to be unique, and some rows could not be given a value of "
        "their own:\n"
        "  1 row: numbered() gave a bad value: -2 alone is longer than the field's "
        "max_length of 1 (pk 3)\n"
        f"{kept} Write a function of your own as deduplicate, then run migrate again."
    )


DAY = dt.date(2026, 1, 1)


@pytest.mark.parametrize(
    ("field", "first", "following"),
    [
        (models.DateField, DAY, lambda value, n: value + dt.timedelta(days=n)),
        (models.DurationField, dt.timedelta(1), lambda value, n: value * n),
        (
            models.UUIDField,
            uuid.UUID(int=7),
            lambda value, n: uuid.UUID(int=value.int + n),
        ),
        (models.TimeField, dt.time(1), lambda value, n: value.replace(minute=n)),
        (models.BigIntegerField, 5, lambda value, n: value * 10 + n),
    ],
    ids=["date", "duration", "UUID", "time", "integer"],
)
def test_value_that_a_unique_column_has(
    history: History, field: Any, first: Any, following: Any
) -> None:
    """Fails if deduplicate is given what is sent to the database."""
    create(history, "a", "b", "c")
    history.apply(
        migrations.AddField("Movie", "own", field(unique=True, null=True)),
    )
    history.rows("Movie").filter(pk=2).update(own=first)

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "own",
            field(unique=True),
            lambda movie: first,
            deduplicate=lambda movie, value, n: following(value, n),
        )
    )

    assert list(history.rows("Movie").values_list("own", flat=True)) == [
        following(first, 2),
        first,
        following(first, 3),
    ]


def test_expression_is_no_answer(history: History) -> None:
    """Fails if the advice is to give it to populate, which is another function."""
    create(history, "a", "b", "a")

    with pytest.raises(BackfillError) as caught:
        add_slug(history, lambda movie, value, n: models.F("title"))

    kept = "Nothing was changed."
    if is_kept(history):
        kept = "The other rows keep their values, and these are NULL again."
    assert str(caught.value) == (
        "films.Movie.slug is to be unique, and some rows could not be given a value of "
        "their own:\n"
        "  1 row: <lambda>() gave a bad value: it is an expression, which only the "
        "database can compute (pk 3)\n"
        f"{kept} Fix <lambda>(), then run migrate again."
    )


def test_numbers_are_not_told_to_be_numbered(history: History) -> None:
    """Fails if the advice is a function that does not take the value."""
    create(history, "a", "b")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "code", models.IntegerField(unique=True), lambda movie: 1
            )
        )

    assert str(caught.value).endswith(
        "Make <lambda>() give each row its own value, or add deduplicate, a function "
        "of row, value and n, to the operation, then run migrate again."
    )


def is_kept(history: History) -> bool:
    """Return whether what was filled before an error stays."""
    vendor = history.connection.vendor
    return vendor == "mysql" or (vendor == "postgresql" and not history.atomic)


def test_dates_and_uuids(history: History) -> None:
    # Fails if answers are compared with what the database has in another form.
    create(history, *"aaaa")
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "day",
            models.DateField(unique=True),
            lambda movie: dt.date(2020, 1, 3 if movie.pk == 4 else 1),
            deduplicate=lambda movie, value, n: dt.date(2020, 1, n),
        ),
        AddFieldWithBackfill(
            "Movie",
            "key",
            models.UUIDField(unique=True),
            lambda movie: uuid.UUID(int=3 if movie.pk == 4 else 1),
            deduplicate=lambda movie, value, n: uuid.UUID(int=n),
        ),
    )

    assert list(history.rows("Movie").values_list("day", "key")) == [
        (dt.date(2020, 1, n), uuid.UUID(int=n)) for n in (1, 2, 4, 3)
    ]


def test_arrays_and_hstore(postgresql_alias: str) -> None:
    # Fails if a value has to be a key of a dictionary.
    from django.contrib.postgres.fields import ArrayField, HStoreField

    history = History(postgresql_alias)
    create(history, "a", "b", "a", "a")
    require_extension(history.connection, "hstore")

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "tags",
            ArrayField(models.CharField(max_length=5), unique=True),
            lambda movie: [movie.title],
            deduplicate=lambda movie, value, n: [*value, str(n)],
        ),
        AddFieldWithBackfill(
            "Movie",
            "pairs",
            HStoreField(unique=True),
            lambda movie: {"title": movie.title},
            deduplicate=lambda movie, value, n: {**value, "n": str(n)},
        ),
    )

    assert list(history.rows("Movie").values_list("tags", "pairs")) == [
        (["a"], {"title": "a"}),
        (["b"], {"title": "b"}),
        (["a", "2"], {"title": "a", "n": "2"}),
        (["a", "3"], {"title": "a", "n": "3"}),
    ]


CHANGE = "UPDATE films_movie SET slug = 'mine' WHERE id = 3"


class Meddler:
    """A deduplicate that does something once, when the rows are found."""

    def __init__(self, *actions: Any) -> None:
        self.actions = list(actions)

    def __call__(self, movie: Any, value: str, n: int) -> str:
        while self.actions:
            self.actions.pop(0)()
        return f"{value}-{n}"


@on_servers
def test_value_written_since_the_row_was_found_stays(alias: str) -> None:
    # Fails if a row is written that is not as it was found (D3).
    history = History(alias)
    create(history, *"aaa")
    with Session(history.connection) as session:
        slugs = add_slug(history, Meddler(lambda: session.execute(CHANGE)))

    assert slugs == ["a", "a-2", "mine"]


@on_servers
def test_nobody_writes_between_the_look_and_the_writing(alias: str) -> None:
    # Fails if the row is not locked when it is looked at (D4).
    history = History(alias)
    create(history, *"aaa")
    refused = []
    with Session(history.connection) as session:
        session.execute(NO_WAITING[session.vendor])
        meddler = Meddler(lambda: None)

        def write(execute: Any, sql: str, *arguments: Any) -> Any:
            is_writing = "UPDATE" in sql.split("FOR ")[0] and "slug" in sql
            if is_writing and not meddler.actions and not refused:
                refused.append(False)
                try:
                    session.execute(CHANGE)
                except DatabaseError:
                    refused.append(True)
            return execute(sql, *arguments)

        with history.connection.execute_wrapper(write):
            slugs = add_slug(history, meddler)

    assert refused == [False, True]
    assert slugs == ["a", "a-2", "a-3"]


@on_servers
def test_row_that_another_session_holds(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if the renumbering waits for it with its own rows locked (D9).
    history = History(alias)
    create(history, *"aaa")
    with Session(history.connection) as session:
        pauses = []

        def let_go(seconds: float = 0) -> None:
            pauses.append(seconds)
            if len(pauses) == 1:
                session.execute("COMMIT")

        monkeypatch.setattr(Locks, "sleep", staticmethod(let_go))
        # For a renumbering that never gives way.
        timer = threading.Timer(15, let_go)
        timer.start()
        slugs = add_slug(
            history,
            Meddler(lambda: session.execute("BEGIN"), lambda: session.execute(CHANGE)),
        )
        timer.cancel()

    assert slugs == ["a", "a-2", "mine"]
    assert pauses[0] > 0


def test_existing_field_becomes_unique(history: History) -> None:
    create(history, "a", "b", "a")
    field = models.CharField(max_length=200, unique=True)

    history.apply(
        AlterFieldWithBackfill("Movie", "title", field, deduplicate=safefield.numbered)
    )
    history.apply(
        migrations.CreateModel(
            "Twin", [MOVIE.fields[0], ("title", field.clone()), MOVIE.fields[2]]
        )
    )

    assert list(history.rows("Movie").values_list("title", flat=True)) == [
        "a",
        "b",
        "a-2",
    ]
    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )


def test_filled_row_gives_way_to_one_that_was_there(history: History) -> None:
    """Fails if the earlier key keeps the value: the application has used the other."""
    create(history, "one", "two", "three")
    note = models.CharField(max_length=20, null=True)
    history.apply(migrations.AddField("Movie", "note", note))
    history.rows("Movie").filter(pk=3).update(note="same")

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "note",
            models.CharField(max_length=20, unique=True),
            lambda movie: "same",
            deduplicate=safefield.numbered,
        )
    )

    notes = list(history.rows("Movie").values_list("note", flat=True))
    assert notes == ["same-2", "same-3", "same"]


@pytest.mark.thorough_on("mariadb", "mysql")
def test_films(alias: str) -> None:
    history = History(alias)
    history.apply(FILM)
    load_films(history)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True, max_length=320),
            lambda movie: slugify(movie.title),
            deduplicate=safefield.numbered,
        )
    )

    slugs = dict(history.rows("Movie").values_list("pk", "slug"))
    titles = dict(history.rows("Movie").values_list("pk", "title"))
    assert len(set(slugs.values())) == len(slugs) == 36_273
    islands = [pk for pk, title in titles.items() if title == "Treasure Island"]
    assert [slugs[pk] for pk in sorted(islands)] == [
        "treasure-island",
        *[f"treasure-island-{n}" for n in range(2, 10)],
    ]
    changed = [pk for pk, slug in slugs.items() if slug != slugify(titles[pk])]
    assert len(changed) == 3_183
