"""SQLite: a table is remade as it is, not as its model is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.surroundings.witness import Snapshot, take_snapshot

MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=100)),
    ],
)


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(sqlite_alias: str, request: pytest.FixtureRequest) -> History:
    return History(sqlite_alias, atomic=request.param)


def make(history: History, *statements: str) -> None:
    """Create the table by hand: the model knows only a key and a title."""
    history.apply(
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(list(statements))],
            state_operations=[MOVIE],
        )
    )


def look(history: History) -> Snapshot:
    return take_snapshot(history.connection, "slug")


def add(field: Any = None, populate: Any = None) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        "Movie",
        "slug",
        field or models.TextField(unique=True),
        populate or (lambda movie: f"film-{movie.pk}"),
        batch_size=2,
    )


def check_both_ways(history: History, operation: Any) -> None:
    before = look(history)

    history.apply(operation)
    after = look(history)
    assert before.catalogue - after.catalogue == set()
    assert (after.rows, after.session) == (before.rows, before.session)

    history.unapply()
    assert look(history) == before


TABLES = {
    "STRICT": "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, "
    "title TEXT, extra ANY) STRICT",
    "WITHOUT ROWID": "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, title, "
    "extra) WITHOUT ROWID",
    "number of the row": "CREATE TABLE films_movie (id bigint PRIMARY KEY, title, "
    "extra, oid text)",
    "generated column": "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, title TEXT, "
    "extra, shout AS (upper(title)) STORED, length AS (length(title)))",
    "check before a column": "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, "
    "title CHECK (title <> '),('), extra, "
    "CONSTRAINT checked CHECK (films_movie.id > 0))",
    "spelled oddly": "create table FILMS_Movie(id integer primary key,\n"
    "\t'title' -- ',(\n, [extra] /* ) */ default (1 + (2)))",
    # Of which SQLite takes no other spelling for the same.
    "letters beyond ASCII": "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, title, "
    "extra, \u00dcber DEFAULT (hex(randomblob(8))), "
    '"\u00c9" DEFAULT (hex(randomblob(8))), \u00e9 DEFAULT (hex(randomblob(8))))',
}


@pytest.mark.parametrize("is_empty", [False, True], ids=["rows", "empty"])
@pytest.mark.parametrize("name", TABLES)
def test_table_made_by_hand(history: History, name: str, is_empty: bool) -> None:
    """Fails if the table is made from the model: it loses `extra`, at the least."""
    rows = [
        "INSERT INTO films_movie (id, title, extra) VALUES (1, 'One', x'00'), "
        "(5, 'Five', 2.5), (9, 'Nine', NULL)",
        "DELETE FROM films_movie WHERE id = 5",
    ]
    make(history, TABLES[name], *([] if is_empty else rows))

    check_both_ways(history, add())

    if not is_empty:
        history.apply(add())
        slugs = history.rows("Movie").values_list("slug", flat=True)
        assert list(slugs) == ["film-1", "film-9"]


def test_index_by_hand_on_the_column(history: History) -> None:
    """Fails if the way back leaves the index to DROP COLUMN, which refuses it."""
    history.apply(MOVIE)
    history.rows("Movie").create(title="One")
    before = look(history)
    history.apply(add(models.TextField()))
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE INDEX by_hand ON films_movie (title, slug)")
        cursor.execute("CREATE INDEX of_title ON films_movie (title)")

    history.unapply()

    assert look(history).catalogue - before.catalogue == {
        "sqlite_master index of_title on films_movie: "
        "CREATE INDEX of_title ON films_movie (title)"
    }


@pytest.mark.parametrize("null", [False, True])
def test_field_with_letters_beyond_ascii(history: History, null: bool) -> None:
    """Fails if names are compared as Python does: the values are not copied."""
    history.apply(MOVIE)
    history.rows("Movie").create(title="One")
    history.execute("ALTER TABLE films_movie ADD \u00fcn\u00ef TEXT DEFAULT 'kept'")
    field = models.TextField(null=null, db_index=True, db_column="\u00dcn\u00ef")
    operation = AddFieldWithBackfill("Movie", "name", field, lambda movie: movie.title)
    before = take_snapshot(history.connection)

    for _ in range(2):
        history.apply(operation)
        assert [movie.name for movie in history.rows("Movie")] == ["One"]
        history.unapply()
        assert take_snapshot(history.connection) == before


def test_strict_table_does_not_take_the_type(history: History) -> None:
    """Fails if SQLite is asked first: its error says nothing of what to do."""
    make(
        history,
        "CREATE TABLE films_movie (id INTEGER PRIMARY KEY, title TEXT) STRICT",
        "INSERT INTO films_movie VALUES (1, 'One')",
    )
    before = look(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(add(models.CharField(max_length=20)))

    assert str(caught.value) == (
        "films.Movie.slug cannot be added: table films_movie is STRICT, and has no "
        "type varchar(20). Use a field whose type is INT, INTEGER, REAL, TEXT, BLOB "
        "or ANY, such as TextField. Nothing was changed."
    )
    assert look(history) == before


def test_key_of_a_row_that_is_gone_is_not_given_again(history: History) -> None:
    """Fails if AUTOINCREMENT starts anew at the last key that is there."""
    make(
        history,
        "CREATE TABLE films_movie (id INTEGER PRIMARY KEY AUTOINCREMENT, "
        "title TEXT, slug TEXT)",
        "INSERT INTO films_movie VALUES (1, 'One', NULL), (7, 'Seven', NULL)",
        "DELETE FROM films_movie WHERE id = 7",
    )

    history.apply(add())
    history.rows("Movie").create(title="New", slug="new")

    keys = history.rows("Movie").values_list("pk", flat=True)
    assert list(keys) == [1, 8]
