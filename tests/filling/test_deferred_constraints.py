"""Constraints that wait for the end of a transaction, and name no row there."""

from __future__ import annotations

import pytest
from django.db import migrations, models
from django.db.models import F

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("slug", models.CharField(max_length=20, null=True)),
    ],
)

#: What is made by hand, and what is said of the rows that break it.
CONSTRAINTS: dict[str, tuple[list[str], str]] = {
    "unique": (
        [
            "ALTER TABLE films_movie ADD CONSTRAINT theirs UNIQUE (slug) "
            "DEFERRABLE INITIALLY DEFERRED",
            "INSERT INTO films_movie (title, slug) VALUES ('taken', 'bad')",
        ],
        "the database refused it: a value is there twice (UNIQUE)",
    ),
    "foreign key": (
        [
            "CREATE TABLE known (slug varchar(20) PRIMARY KEY)",
            "INSERT INTO known VALUES ('a'), ('c'), ('x')",
            "ALTER TABLE films_movie ADD CONSTRAINT theirs FOREIGN KEY (slug) "
            "REFERENCES known DEFERRABLE INITIALLY DEFERRED",
        ],
        "the database refused it: a key points nowhere (FOREIGN KEY)",
    ),
    "trigger": (
        [
            "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN IF NEW.slug = 'bad' THEN RAISE EXCEPTION 'not this' "
            "USING ERRCODE = 'check_violation'; END IF; RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER theirs AFTER UPDATE ON films_movie "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION pg_temp.refuse()",
        ],
        "the database refused it: a value breaks a check constraint (CHECK)",
    ),
}
WAYS = {
    "function": (lambda movie: movie.title, None),
    "expression": (F("title"), None),
    "deduplicate": (
        lambda movie: "c" if movie.title == "c" else "a",
        lambda movie, value, n: movie.title,
    ),
}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(postgresql_alias: str, request: pytest.FixtureRequest) -> History:
    history = History(postgresql_alias, atomic=request.param)
    history.apply(MOVIE, atomic=False)
    return history


def create(history: History, statements: list[str]) -> None:
    with history.connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    for title in ("a", "bad", "c"):
        history.rows("Movie").create(title=title)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (name, way)
        for name in CONSTRAINTS
        for way in WAYS
        # Deduplication finds for itself that a value is taken.
        if (name, way) != ("unique", "deduplicate")
    ],
)
def test_names_the_rows(history: History, name: str, way: str) -> None:
    """Fails if what the database refuses at the end of a batch has no row."""
    statements, reason = CONSTRAINTS[name]
    populate, deduplicate = WAYS[way]
    create(history, statements)
    (bad,) = history.rows("Movie").filter(title="bad").values_list("pk", flat=True)
    field = models.CharField(max_length=20, unique=deduplicate is not None)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "slug", field, populate, deduplicate=deduplicate
            )
        )

    assert [tuple(row) for row in caught.value.rows] == [(bad, reason, "")]
    filled = history.rows("Movie").filter(slug=None).values_list("title", flat=True)
    expected = ["a", "bad", "c"] if history.atomic else ["bad"]
    assert list(filled) == expected


def test_reverse(history: History) -> None:
    """Fails if the way back passes on what the database refuses at its end."""
    create(history, CONSTRAINTS["foreign key"][0])
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "extra",
            models.CharField(max_length=20),
            lambda movie: movie.title,
            lambda movie: {"slug": movie.extra},
        )
    )

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    reason = "the database refused what <lambda>() gave: "
    reason += "a key points nowhere (FOREIGN KEY)"
    assert [tuple(row) for row in caught.value.rows] == [(2, reason, "")]


def test_constraints_wait_as_before(postgresql_alias: str) -> None:
    """Fails if a constraint is checked at once in the rest of the migration."""
    history = History(postgresql_alias, atomic=True)
    history.apply(MOVIE)
    create(history, CONSTRAINTS["foreign key"][0])
    circle = migrations.RunSQL(
        [
            "UPDATE films_movie SET slug = 'late' WHERE title = 'c'",
            "INSERT INTO known VALUES ('late')",
        ]
    )

    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.CharField(max_length=20), lambda movie: "x"
        ),
        circle,
    )

    assert history.rows("Movie").filter(slug="late").count() == 1


def test_transaction_that_is_broken_before(postgresql_alias: str) -> None:
    """Fails if rows are blamed for what an operation before them did."""
    history = History(postgresql_alias, atomic=True)
    history.apply(MOVIE)
    create(history, CONSTRAINTS["foreign key"][0])
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            migrations.RunSQL("UPDATE films_movie SET slug = 'late' WHERE title = 'c'"),
            AddFieldWithBackfill(
                "Movie", "extra", models.CharField(max_length=20), lambda movie: "x"
            ),
        )

    assert str(caught.value) == (
        "films.Movie.extra cannot be filled: what this transaction did before it "
        "breaks a constraint that waits for its end, and the database refuses it. It "
        'said: insert or update on table "films_movie" violates foreign key constraint '
        '"theirs". Correct it in an operation before this one, then run migrate again. '
        "Nothing was changed."
    )
    assert history.describe("Movie") == before


KEYS = {
    "bare": "REFERENCES known",
    "deferred": 'REFERENCES "known" ("slug") DEFERRABLE INITIALLY DEFERRED',
    "named": "CONSTRAINT theirs REFERENCES known (slug) NOT DEFERRABLE",
    "rules": "REFERENCES known ON DELETE SET NULL ON UPDATE NO ACTION MATCH SIMPLE",
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("is_good", [True, False], ids=["good", "bad"])
def test_key_in_the_column_on_sqlite(
    sqlite_alias: str, name: str, is_good: bool
) -> None:
    """Fails if the column that is altered loses a key that no model has."""
    history = History(sqlite_alias)
    history.apply(MOVIE)
    with history.connection.cursor() as cursor:
        cursor.execute("DROP TABLE films_movie")
        cursor.execute("CREATE TABLE known (slug varchar(20) PRIMARY KEY)")
        cursor.execute("INSERT INTO known VALUES ('a')")
        cursor.execute(
            f"CREATE TABLE films_movie (id integer PRIMARY KEY, "
            f"title varchar(20) NOT NULL, slug varchar(20) {KEYS[name]} NULL)"
        )
        cursor.execute("PRAGMA foreign_key_list(films_movie)")
        keys = cursor.fetchall()
    history.rows("Movie").create(title="x")
    field = models.CharField(max_length=20)
    operation = AlterFieldWithBackfill(
        "Movie", "slug", field, lambda movie: "a" if is_good else "b"
    )

    if is_good:
        history.apply(operation)
    else:
        with pytest.raises(BackfillError):
            history.apply(operation)

    with history.connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_key_list(films_movie)")
        assert cursor.fetchall() == keys
        cursor.execute("SELECT slug FROM films_movie")
        assert cursor.fetchall() == [("a" if is_good else None,)]
