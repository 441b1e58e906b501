"""The database writes one part of a batch while Python computes the next."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any

import pytest
from django.db import InterfaceError

from safefield import BackfillError
from tests.history import History
from tests.ledger import on_servers
from tests.test_contract import add_slug, create_movies, slug_of

ROWS = 2_000

#: Makes the database refuse the fourth row, which is in the first part of a batch.
REFUSE = {
    "postgresql": [
        "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE 'not this row' USING ERRCODE = 'check_violation'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON films_movie FOR EACH ROW "
        "WHEN (NEW.id = 4) EXECUTE FUNCTION pg_temp.refuse()",
    ],
    "mysql": [
        "CREATE TRIGGER refuse BEFORE UPDATE ON films_movie FOR EACH ROW "
        "IF NEW.id = 4 THEN SIGNAL SQLSTATE '45000' "
        "SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = 'not this row'; END IF",
    ],
}


class Statements:
    """Who sends the statements that write."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if "UPDATE" in sql and "FOR" not in sql:
            self.threads.append(threading.current_thread().name.partition("_")[0])
        return execute(sql, *rest)


def fetch(history: History, sql: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


def get_slugs(history: History) -> list[str | None]:
    """Return the slugs, by key; also where the migration stopped half way."""
    return fetch(history, "SELECT slug FROM films_movie ORDER BY id")


SLUGS = [f"film-number-{n}" for n in range(ROWS)]


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create_movies(history, ROWS)
    return history


@pytest.fixture
def statements(history: History) -> Any:
    statements = Statements()
    interval = sys.getswitchinterval()
    with history.connection.execute_wrapper(statements):
        yield statements
    assert sys.getswitchinterval() == interval
    assert not history.connection.allow_thread_sharing
    assert not [t for t in threading.enumerate() if t.name.startswith("safefield")]


@on_servers
def test_another_thread_writes(history: History, statements: Statements) -> None:
    history.apply(add_slug(batch_size=ROWS))

    assert statements.threads[0] == "safefield"
    assert get_slugs(history) == SLUGS


def test_not_where_the_database_is_in_this_process(sqlite_alias: str) -> None:
    history = History(sqlite_alias)
    create_movies(history, ROWS)
    statements = Statements()

    with history.connection.execute_wrapper(statements):
        history.apply(add_slug(batch_size=ROWS))

    assert "safefield" not in statements.threads


@on_servers
def test_populate_that_asks_the_database_has_it_alone(
    history: History, statements: Statements
) -> None:
    """From its first question on, which waits for what is under way."""
    found: list[int] = []

    def populate(movie: Any) -> str:
        if movie.year == 1900 + ROWS - 1:
            found.extend(fetch(history, "SELECT COUNT(slug) FROM films_movie"))
        return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=ROWS // 2))

    # Nothing of the second batch but what was given to the thread, and all of that.
    first, second = ROWS // 2, found[0] - ROWS // 2
    assert first < found[0] < ROWS
    assert second % (ROWS // 2 // 8) == 0
    assert get_slugs(history) == SLUGS


@on_servers
def test_one_question_ends_it(history: History, statements: Statements) -> None:
    def populate(movie: Any) -> str:
        if movie.year == 1900:
            history.rows("Studio").exists()
        return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=ROWS // 2))

    assert "safefield" not in statements.threads
    assert get_slugs(history) == SLUGS


@on_servers
@pytest.mark.parametrize("asks", [False, True], ids=["quiet", "asks"])
def test_a_refused_value_is_told_by_row(history: History, asks: bool) -> None:
    """Also where populate holds back what its own question raises."""
    for sql in REFUSE[history.connection.vendor]:
        with history.connection.cursor() as cursor:
            cursor.execute(sql)

    def populate(movie: Any) -> str:
        if asks and movie.year == 1900 + ROWS // 2:
            with contextlib.suppress(Exception):
                history.rows("Studio").exists()
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=ROWS))

    assert [row.pk for row in caught.value.rows] == [4]
    assert get_slugs(history) == [*SLUGS[:3], None, *SLUGS[4:]]


@on_servers
def test_errors_of_other_databases_are_told_by_row(history: History) -> None:
    def populate(movie: Any) -> str:
        if movie.year >= 1900 + ROWS - 5:
            raise InterfaceError("another connection is closed")
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=ROWS))

    assert [row.pk for row in caught.value.rows] == list(range(ROWS - 4, ROWS + 1))
    assert get_slugs(history) == [*SLUGS[:-5], *[None] * 5]


@on_servers
def test_stopped_in_the_middle_of_a_batch(
    history: History, statements: Statements
) -> None:
    def stop(movie: Any) -> str:
        if movie.year == 1900 + ROWS - 1:
            raise KeyboardInterrupt
        return slug_of(movie)

    with pytest.raises(KeyboardInterrupt):
        history.apply(add_slug(populate=stop, batch_size=ROWS // 2))

    half = ROWS // 2
    assert get_slugs(history) == [*SLUGS[:half], *[None] * half]

    history.apply(add_slug(batch_size=ROWS // 2))

    assert get_slugs(history) == SLUGS
