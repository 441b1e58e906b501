"""What the last steps do to others, and say, each by a witness of its own."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    migrations,
    models,
)

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, populate_slug
from tests.support.movies import create_movies
from tests.support.old_code import OldCode
from tests.support.sessions import Session

SLUGS = [(1, "film-number-0-1"), (2, "film-number-1-2"), (3, "film-number-2-3")]


def get_slugs(history: History) -> list[Any]:
    return [(pk, slug) for pk, _, slug in get_rows(history)]


@pytest.mark.parametrize("number", [1142, 1227, 1419])
def test_trigger_that_is_not_allowed(mysql_alias: str, number: int) -> None:
    """Fails if one of the errors of a user without TRIGGER or SUPER ends migrate."""
    history = History(mysql_alias)
    create_movies(history, 3)

    def refuse() -> None:
        raise OperationalError(number, "You do not have the privilege")

    with history.connection.execute_wrapper(OldCode(history, 2, before_trigger=refuse)):
        history.apply(add_slug())

    assert get_slugs(history) == [*SLUGS, (10, "late-10"), (11, "late-11")]


def test_refusal_of_the_trigger_is_an_integrity_error(mysql_alias: str) -> None:
    """Fails if the trigger signals without the number that Django knows."""
    history = History(mysql_alias)
    create_movies(history, 3)
    refusals: list[Exception] = []

    def insert() -> None:
        with Session(history.connection) as other:
            try:
                other.execute(
                    "INSERT INTO films_movie (id, title, year) VALUES (50, 'x', 1)"
                )
            except Exception as exc:
                refusals.append(exc)

    with history.connection.execute_wrapper(OldCode(history, 1, after_trigger=insert)):
        history.apply(add_slug())

    assert [type(exc) for exc in refusals] == [IntegrityError]
    assert refusals[0].args == (1048, "Column 'slug' cannot be null")


def test_no_trigger_is_left_where_the_sweep_fails(mysql_alias: str) -> None:
    """Fails if the trigger stays when enforce ends in an error."""
    history = History(mysql_alias)
    create_movies(history, 3)

    def populate(movie: Any) -> str:
        if movie.title == "Late":
            raise LookupError("no slug for it")
        return populate_slug(movie)

    with (
        pytest.raises(BackfillError) as caught,
        history.connection.execute_wrapper(OldCode(history, 1)),
    ):
        history.apply(add_slug(populate=populate))

    assert [row.pk for row in caught.value.rows] == [10]
    assert history.describe("Movie")["triggers"] == []


def test_row_inserted_meanwhile_can_be_changed_once_the_check_stands(
    postgresql_alias: str,
) -> None:
    """Fails without the sweep before the check: old code cannot update that row."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    stands: list[str] = []
    changed: list[str] = []

    def meet(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        text = str(sql)
        if "UNIQUE INDEX CONCURRENTLY" in text:
            other.execute(
                "INSERT INTO films_movie (id, title, year) VALUES (9, 'Late', 1)"
            )
        if stands and not changed and not history.connection.in_atomic_block:
            # As code that knows nothing of the column does it.
            other.execute("UPDATE films_movie SET year = 2 WHERE id = 9")
            changed.append(text)
        if "IS NOT NULL) NOT VALID" in text:
            stands.append(text)
        return execute(sql, params, many, context)

    with Session(history.connection) as other, history.connection.execute_wrapper(meet):
        history.apply(add_slug())

    assert len(changed) == 1
    assert get_slugs(history) == [*SLUGS, (9, "late-9")]


def test_index_that_is_invalid_is_built_again(postgresql_alias: str) -> None:
    """Fails if an index that a cut connection left behind counts as built."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    history.apply(
        migrations.AddField("Movie", "note", models.CharField(max_length=9, null=True))
    )
    with history.connection.schema_editor() as editor:
        name = str(editor._unique_constraint_name("films_movie", ["note"], quote=False))
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET note = 'same'")
        with pytest.raises(IntegrityError):
            cursor.execute(
                f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON films_movie (note)"
            )
        cursor.execute("UPDATE films_movie SET note = NULL")

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "note",
            models.CharField(max_length=9, unique=True),
            lambda movie: movie.pk,
        )
    )

    with history.connection.cursor() as cursor:
        cursor.execute(
            "SELECT contype, indisvalid FROM pg_constraint "
            "JOIN pg_index ON indexrelid = conindid WHERE conname = %s",
            [name],
        )
        assert cursor.fetchall() == [("u", True)]


@pytest.mark.parametrize("rows", [39_999, 40_000])
def test_warning_of_an_atomic_migration(
    postgresql_alias: str, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails if nothing is said of the lock, or is said of a table of every size."""
    history = History(postgresql_alias, atomic=True)
    create_movies(history, 3)
    with history.connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pg_class SET reltuples = %s WHERE oid = 'films_movie'::regclass",
            [rows],
        )

    with caplog.at_level(logging.WARNING, "safefield"):
        history.apply(add_slug())

    text = (
        "films.Movie.slug: this migration is atomic, so table films_movie (about "
        "40,000 rows) is locked for reading and writing until it ends, for about 1 s "
        "or more. "
        "With atomic = False in the migration the site keeps running."
    )
    assert [record.getMessage() for record in caplog.records] == (
        [text] if rows == 40_000 else []
    )


class NonsenseField(models.IntegerField):
    def db_type(self, connection: Any) -> str:
        return "nonsense"


def test_error_of_an_empty_table_in_an_atomic_migration(postgresql_alias: str) -> None:
    """Fails if the broken transaction is asked, and its error hides the real one."""
    history = History(postgresql_alias, atomic=True)
    history.apply(
        migrations.CreateModel("Movie", [("id", models.BigAutoField(primary_key=True))])
    )

    with pytest.raises(ProgrammingError, match='type "nonsense" does not exist'):
        history.apply(
            AddFieldWithBackfill("Movie", "code", NonsenseField(), lambda movie: 1)
        )
