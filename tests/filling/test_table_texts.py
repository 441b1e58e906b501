"""Tables whose text Django's introspection of SQLite does not understand."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connections, migrations, models, transaction

from safefield.backends.sqlite.definition import Definition
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import check

YEARS = [1, 2, 3]
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20, default="a")),
        ("year", models.IntegerField(null=True)),
        ("stars", models.IntegerField(default=1)),
    ],
    options={
        "constraints": [
            models.CheckConstraint(
                condition=models.Q(stars__in=[1, 2, 3]), name="stars_in"
            ),
            models.UniqueConstraint(fields=["year"], name="One_Year"),
        ]
    },
)


def by_key(movie: Any) -> Any:
    return movie.pk


OPERATIONS = {
    "add": lambda: AddFieldWithBackfill(
        "Movie", "code", models.IntegerField(db_index=True), by_key
    ),
    "unique": lambda: AddFieldWithBackfill(
        "Movie", "code", models.IntegerField(unique=True), by_key
    ),
    "foreign key": lambda: AddFieldWithBackfill(
        "Movie", "code", models.ForeignKey("films.Movie", models.CASCADE), by_key
    ),
    "alter": lambda: AlterFieldWithBackfill(
        "Movie", "year", models.IntegerField(), by_key
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_check_with_a_list(alias: str, name: str) -> None:
    """Fails if the text of the table is divided at each comma and blank."""
    history = History(alias)
    history.apply(MOVIE)
    history.rows("Movie").bulk_create(history.model("Movie")() for _ in YEARS)
    before = history.describe("Movie")

    check(history, OPERATIONS[name]())

    column = "year" if name == "alter" else "code_id" if "key" in name else "code"
    movies = history.rows("Movie")
    assert list(movies.values_list(column, flat=True)) == [movie.pk for movie in movies]
    assert history.describe("Movie")["columns"][column]["null"] is False
    movies.filter(pk=movies[0].pk).update(year=7)
    for wrong in ({"stars": 9}, {"year": 7}):
        values = {"year": 8, column: 9 if name == "unique" else movies[0].pk}
        with pytest.raises(IntegrityError), transaction.atomic(using=alias):
            movies.create(**{**values, **wrong})
    history.unapply()
    assert history.describe("Movie") == before


@pytest.mark.parametrize("is_unique", [False, True])
def test_comments(sqlite_alias: str, is_unique: bool) -> None:
    """Fails if a comment counts as columns."""
    text = (
        "-- a, b, (c\n id integer NOT NULL PRIMARY KEY, -- the key, )\n"
        "title varchar(20) /* it's, (so */ COLLATE NOCASE CHECK (title <> ', )'), "
        "[unique] integer DEFAULT 3"
    )
    history = History(sqlite_alias)
    history.apply(
        migrations.SeparateDatabaseAndState(
            [],
            [
                migrations.CreateModel(
                    "Movie",
                    [
                        ("id", models.IntegerField(primary_key=True)),
                        ("title", models.CharField(max_length=20, null=True)),
                    ],
                )
            ],
        )
    )
    with connections[sqlite_alias].cursor() as cursor:
        cursor.execute(f"CREATE TABLE films_movie ({text})")
        cursor.execute("INSERT INTO films_movie (id, title) VALUES (1, 'a'), (2, 'b')")
        cursor.execute("CREATE INDEX by_hand ON films_movie (title)")

    history.apply(
        AddFieldWithBackfill(
            "Movie", "code", models.IntegerField(unique=is_unique), by_key
        )
    )

    with connections[sqlite_alias].cursor() as cursor:
        cursor.execute("SELECT id, title, [unique], code FROM films_movie ORDER BY 1")
        assert cursor.fetchall() == [(1, "a", 3, 1), (2, "b", 3, 2)]
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'films_movie'")
        assert text in cursor.fetchone()[0]
    history.unapply()
    with connections[sqlite_alias].cursor() as cursor:
        cursor.execute("SELECT * FROM films_movie WHERE title = 'A'")
        assert cursor.fetchall() == [(1, "a", 3)]


@pytest.mark.parametrize(
    ("text", "uniques"),
    [
        ("code int UNIQUE", [""]),
        ("[Code] int CONSTRAINT [One] UNIQUE ON CONFLICT IGNORE", ["One"]),
        ('code int, CHECK (code > 1) CONSTRAINT "a""b" UNIQUE (`CODE`)', ['a"b']),
        ("code int, UNIQUE (code, id), UNIQUE (code COLLATE NOCASE)", []),
        ("code text DEFAULT 'UNIQUE' CHECK (code <> 'UNIQUE') /* UNIQUE */", []),
    ],
)
def test_uniques_of_a_column(text: str, uniques: list[str]) -> None:
    definition = Definition.parse(f"CREATE TABLE t (id int, {text})")

    assert list(definition.find_uniques("code")) == uniques


@pytest.mark.parametrize(
    ("text", "collation"),
    [
        ("code text COLLATE NOCASE", "NOCASE"),
        ('code text CHECK (code > "a" COLLATE RTRIM) COLLATE "nocase"', "NOCASE"),
        ("code text DEFAULT (1, 2) /* COLLATE NOCASE */", None),
        ("other text COLLATE NOCASE, code", None),
    ],
)
def test_collation_of_a_column(text: str, collation: str | None) -> None:
    definition = Definition.parse(f"CREATE TABLE t (id int, {text})")

    assert definition.find_collation("code") == collation
