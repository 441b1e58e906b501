"""A project's own timeouts, which must not stop a backfill half way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from safefield import BackfillError
from tests.support.cleanup import reset_connection
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, on_servers, populate_slug
from tests.support.movies import SLOW, create_movies
from tests.support.sessions import Session, get_pid, start_old_snapshot

#: The limits, the least that the server takes.
LIMITS = {
    "postgresql": {
        "statement_timeout": "20ms",
        "idle_in_transaction_session_timeout": "20ms",
        "lock_timeout": "20ms",
    },
    "mariadb": {
        "max_statement_time": "0.020000",
        "idle_transaction_timeout": "1",
        "idle_write_transaction_timeout": "1",
        "idle_readonly_transaction_timeout": "31536000",
        "wait_timeout": "1",
    },
    "mysql": {"max_execution_time": "20", "wait_timeout": "1"},
}


@pytest.fixture
def history(alias: str) -> Iterator[History]:
    """Yield a history whose sessions have the limits, as a role's would."""
    history = History(alias)
    create_movies(history, 3)
    connection = history.connection
    with connection.cursor() as cursor:
        for sql in SLOW[connection.vendor]:
            cursor.execute(sql)
        for name, value in LIMITS[connection.alias].items():
            quoted = f"'{value}'" if connection.vendor == "postgresql" else value
            cursor.execute(f"SET SESSION {name} = {quoted}")
    yield history
    reset_connection(connection)


def read_limits(history: History) -> dict[str, str]:
    """Return the limits that the session has."""
    names = LIMITS[history.connection.alias]
    with history.connection.cursor() as cursor:
        found = {}
        for name in names:
            cursor.execute(
                f"SHOW {name}"
                if history.connection.vendor == "postgresql"
                else f"SHOW SESSION VARIABLES LIKE '{name}'"
            )
            found[name] = cursor.fetchone()[-1]
    return found


def linger(movie: Any) -> str:
    """Return the slug, for one row later than the server waits for a client."""
    if movie.pk == 2:
        time.sleep(0.1 if movie._state.db == "postgresql" else 1.2)
    return populate_slug(movie)


@on_servers
def test_limits_do_not_end_a_run(history: History) -> None:
    """Fails if a limit of the session ends a statement, or is not put back."""
    history.apply(add_slug(linger))

    assert read_limits(history) == LIMITS[history.connection.alias]
    assert len(get_rows(history)) == 3


@on_servers
def test_limits_are_put_back_after_an_error(history: History) -> None:
    """Fails if what migrates next has no limits."""

    def fail(movie: Any) -> str:
        raise ValueError("no")

    with pytest.raises(BackfillError):
        history.apply(add_slug(fail))

    assert read_limits(history) == LIMITS[history.connection.alias]


def test_atomic_migration_names_the_limit(postgresql_alias: str) -> None:
    """Fails if the error is a traceback: in the caller's transaction all is its own."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    with history.connection.cursor() as cursor:
        for sql in SLOW["postgresql"]:
            cursor.execute(sql)
        cursor.execute("SET statement_timeout = '20ms'")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(), atomic=True)

    assert str(caught.value) == (
        "films.Movie.slug: the server's setting statement_timeout ended a statement "
        "that took longer. Set it to 0 for the user who migrates. Nothing was changed. "
        "Run migrate again."
    )


def test_index_waits_longer_than_the_lock_timeout(postgresql_alias: str) -> None:
    """Fails if lock_timeout ends CREATE INDEX CONCURRENTLY, which waits for others."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    with history.connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1ms'")
    with (
        Session(history.connection) as other,
        Session(history.connection) as watcher,
    ):
        pid = get_pid(history.connection)
        start_old_snapshot(other)

        def end(execute: Any, sql: Any, *rest: Any) -> Any:
            if "CONCURRENTLY" in str(sql):
                ending.append(other.start("SELECT pg_sleep(0.2); COMMIT"))
            return execute(sql, *rest)

        ending: list[Any] = []
        with history.connection.execute_wrapper(end):
            history.apply(add_slug())
        assert not watcher.is_waiting(pid)

    assert ending
    assert len(get_rows(history)) == 3


@pytest.mark.parametrize("what", ["VALIDATE", "CREATE UNIQUE INDEX CONCURRENTLY"])
def test_deadlock_of_a_long_statement(postgresql_alias: str, what: str) -> None:
    """Fails if a deadlock of VALIDATE or of an index is the end."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    refused: list[str] = []

    def refuse(execute: Any, sql: Any, *rest: Any) -> Any:
        if what in str(sql) and not refused:
            refused.append(str(sql))
            # The server itself says so.
            return execute(
                "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01', "
                "MESSAGE = 'deadlock detected'; END $$",
                None,
                *rest[1:],
            )
        return execute(sql, *rest)

    with history.connection.execute_wrapper(refuse):
        history.apply(add_slug())

    assert len(refused) == 1
    assert len(get_rows(history)) == 3
