"""Locks that others hold: a backfill waits, gives way, or gives up and says why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connections, models

from safefield import BackfillError
from safefield.backends import get_backend
from safefield.backends.base import locks, retries
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import At, add_slug, get_rows, on_servers, populate_slug
from tests.support.movies import create_movies, values
from tests.support.sessions import (
    CLAIMS,
    Session,
    get_pid,
    get_processes,
    start_old_snapshot,
    start_report,
    wait_until,
)

pytestmark = pytest.mark.edges


#: What SQLite's connections can do for each other is to wait.
WRITTEN_TO = (
    "films.Movie.slug: another connection writes to the database file, for longer than "
    "this one waits (the timeout in OPTIONS). End it, or wait for it. Nothing was "
    "changed. Run migrate again."
)


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create_movies(history, 40)
    return history


@on_servers
def test_gives_up_on_a_long_report_and_names_it(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as on a real site, a test cannot wait.
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    before = history.describe("Movie")
    start_report(other)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug())

    session = {
        "postgresql": f"process {other.pid} (report), idle in transaction, in a "
        "transaction for N s, holds AccessShareLock: SELECT COUNT(*) FROM films_movie",
        "mysql": f"connection {other.pid} (Sleep), in a transaction for N s",
    }[other.vendor]
    assert re.sub(r"for \d+ s", "for N s", str(caught.value)) == (
        "films.Movie.slug: could not lock table films_movie, because other "
        "sessions held locks on it at each try. "
        f"Sessions that hold locks on it:\n  {session}\n"
        "Wait for them or end them, then run migrate again to resume."
    )
    other.execute("COMMIT")
    assert history.describe("Movie") == before

    history.apply(add_slug())

    assert len(get_rows(history)) == 40


@on_servers
def test_way_back_gives_up_on_a_long_report(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the column is dropped in one try, whose error says nobody's name."""
    history.apply(add_slug())
    before = history.describe("Movie")
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    start_report(other)

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert str(caught.value).splitlines()[0] == (
        "films.Movie.slug: could not lock table films_movie, because other "
        "sessions held locks on it at each try. Sessions that hold locks on it:"
    )
    other.execute("COMMIT")
    assert history.describe("Movie") == before

    history.unapply()

    assert "slug" not in history.describe("Movie")["columns"]


@pytest.fixture
def ordinary_user(mysql_alias: str) -> Iterator[None]:
    """Let the connection be that of a user who has all rights on its database alone."""
    connection: Any = connections[mysql_alias]
    name = f"safefield_{os.getpid()}"
    database = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {name} IDENTIFIED BY ''")
        cursor.execute(f"GRANT ALL ON {database}.* TO {name}")
    root = connection.settings_dict["USER"]
    connection.close()
    connection.settings_dict["USER"] = name
    yield
    connection.close()
    connection.settings_dict["USER"] = root
    with connection.cursor() as cursor:
        cursor.execute(f"DROP USER {name}")


def test_gives_up_on_a_report_that_it_may_not_see(
    mysql_alias: str, ordinary_user: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if the list of sessions is asked for and its refusal (1227) passed on.
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    history = History(mysql_alias)
    create_movies(history, 2)

    with Session(history.connection) as other:
        start_report(other)
        with pytest.raises(BackfillError) as caught:
            history.apply(add_slug())

    assert str(caught.value) == (
        "films.Movie.slug: could not lock table films_movie, because other "
        "sessions held locks on it at each try. Wait for them or end them, "
        "then run migrate again to resume."
    )


@on_servers
def test_queries_of_others_are_not_shown_where_logs_must_not_hold_them(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Fails if the text of a query is in the error: it may have anybody's data."""
    settings.SAFEFIELD = {"SHOW_VALUES": False}
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    reading: list[Future[None]] = []
    if other.vendor == "postgresql":
        start_report(other)
    else:
        # MariaDB shows what a session runs, not what it ran.
        other.execute("BEGIN")
        with Session(history.connection) as blocker:
            # MySQL's information_schema.PROCESSLIST fails for the character.
            query = "SELECT COUNT(*), SLEEP(60), '🎬' FROM films_movie"
            reading.append(other.start(query))
            processes = get_processes(history.connection)
            wait_until(
                lambda: blocker.fetch(
                    f"SELECT 1 FROM {processes} WHERE ID = %s AND INFO LIKE 'SELECT%%'",
                    [other.pid],
                )
            )

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug())

    for future in reading:
        with Session(history.connection) as killer:
            killer.execute("KILL QUERY %s", [other.pid])
        future.exception()
    session = {
        "postgresql": f"process {other.pid} (report), idle in transaction, in a "
        "transaction for N s, holds AccessShareLock",
        "mysql": f"connection {other.pid} (Query), in a transaction for N s",
    }[other.vendor]
    assert re.sub(r"for \d+ s", "for N s", str(caught.value)).splitlines()[1:2] == [
        f"  {session}"
    ]


def test_names_who_has_the_table_that_a_foreign_key_is_to(
    postgresql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if only locks on the table of the rows are looked at."""
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    history = History(postgresql_alias)
    create_movies(history, 3)
    history.rows("Studio").bulk_create([history.model("Studio")(pk=1, name="A")])
    studio = models.ForeignKey("films.Studio", models.CASCADE)

    with Session(history.connection) as other:
        other.execute("BEGIN")
        other.execute("UPDATE films_studio SET name = 'B'")
        with pytest.raises(BackfillError) as caught:
            history.apply(
                AddFieldWithBackfill("Movie", "studio", studio, lambda movie: 1)
            )

    (session,) = [line for line in str(caught.value).split("\n") if "process" in line]
    assert re.sub(r"for \d+ s", "for N s", session) == (
        f"  process {other.pid} (no application name), idle in transaction, in a "
        "transaction for N s, holds RowExclusiveLock: UPDATE films_studio SET name = "
        "'B'"
    )


@on_servers
def test_goes_on_once_a_long_report_is_over(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            other.execute("COMMIT")

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))
    start_report(other)

    history.apply(add_slug())

    assert len(pauses) == 2
    assert None not in values(history, "slug")


@on_servers
def test_waits_where_keys_are_looked_up(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks_of = {
        "postgresql": ["BEGIN", "LOCK TABLE films_movie", "COMMIT"],
        "mysql": ["BEGIN", "LOCK TABLES films_movie WRITE", "UNLOCK TABLES"],
    }
    begin, lock, unlock = locks_of[other.vendor]
    if other.vendor == "postgresql":
        with history.connection.cursor() as cursor:
            # As some set it for their role. MariaDB has it from safefield.
            cursor.execute("SET lock_timeout = '50ms'")
    looked: list[str] = []
    pauses = []

    def look(execute: Any, sql: Any, *rest: Any) -> Any:
        is_look = re.search("films_movie.*ORDER BY", sql) and not re.search(
            "FOR |title", sql
        )
        if is_look and not looked:
            looked.append(sql)
            other.execute(begin)
            other.execute(lock)
        return execute(sql, *rest)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.execute(unlock)

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))
    try:
        with history.connection.execute_wrapper(look):
            history.apply(add_slug())
    finally:
        if other.vendor == "postgresql":
            with history.connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")

    assert len(looked) == len(pauses) == 1
    assert None not in values(history, "slug")


@on_servers
def test_deadlock(
    history: History,
    other: Session,
    watcher: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The application has the studios and wants a movie; a batch, the other way round.

    The application has changed more, so the batch is the one that must give way. Fails
    if a deadlock is taken for the fault of a row: the batch is not tried again then,
    after a pause, but goes row by row.
    """
    pauses: list[float] = []
    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pauses.append))
    studios = [(pk, f"Studio {pk}") for pk in range(1, 301)]
    with history.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO films_studio VALUES (%s, %s)", studios)
        if other.vendor == "postgresql":
            # Sooner than lock_timeout, which would end the deadlock too.
            cursor.execute("SET deadlock_timeout = '1ms'")
    futures: list[Future[None]] = []
    errors: list[str] = []
    calls = 0

    def meet(studios: Any) -> None:
        futures.append(
            other.start("UPDATE films_movie SET title = 'Mine' WHERE id = 3")
        )
        wait_until(lambda: watcher.is_waiting(other.pid))
        try:
            studios.filter(pk=1).update(name="One")
        except DatabaseError as exc:
            errors.append(str(exc).partition("\n")[0])
            # As an application does at the end of a request.
            futures[0].result()
            other.execute("COMMIT")
            raise

    def populate(movie: Any, apps: Any) -> str:
        nonlocal calls
        if movie.pk == 3:
            calls += 1
            if calls == 2:
                studios = apps.get_model("films", "Studio")
                meet(studios.objects.using(movie._state.db))
        return populate_slug(movie)

    def hold(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("ALTER TABLE") and not errors:
            other.execute("BEGIN")
            other.execute("UPDATE films_studio SET name = CONCAT(name, '!')")
        return execute(sql, params, many, context)

    with history.connection.execute_wrapper(hold):
        history.apply(add_slug(populate))

    rows = get_rows(history)
    assert ["eadlock" in error for error in errors] == [True]
    assert len(pauses) == 1
    assert rows[1:4] == [
        (2, "Film Number 1", "film-number-1-2"),
        (3, "Mine", "mine-3"),
        (4, "Film Number 3", "film-number-3-4"),
    ]
    assert len(rows) == 40


AT_WORK = (
    "films.Movie.slug: another migrate is running on table films_movie: {}. Wait for "
    "it to end, then run migrate again."
)


def name_session(history: History) -> str:
    """Return how the session of a history is named while it calls populate."""
    pid = get_pid(history.connection)
    if history.connection.vendor == "mysql":
        return f"connection {pid}"
    return (
        f"process {pid} (no application name), idle in transaction, in a transaction "
        f"for N s"
    )


def test_killed_run_that_waits_for_others_is_named(postgresql_alias: str) -> None:
    """
    Fails if the next run does not say for whom the server goes on with the statement
    of a killed one.
    """
    history = History(postgresql_alias)
    create_movies(history, 3)
    errors: list[str] = []

    def run_another() -> None:
        errors.extend(run_beside(history))

    with (
        Session(history.connection) as report,
        Session(history.connection) as third,
    ):
        start_old_snapshot(report)
        pid = get_pid(history.connection)

        def watch() -> None:
            wait_until(lambda: third.is_waiting(pid))
            run_another()
            report.execute("ROLLBACK")

        thread = Thread(target=watch)
        thread.start()
        history.apply(add_slug())
        thread.join()

    (error,) = errors
    waiting, _, found = error.partition(", which waits for ")
    assert waiting.startswith(AT_WORK.partition("{")[0] + f"process {pid} (")
    assert found.startswith(f"process {report.pid} (no application name), idle in ")


def run_beside(history: History) -> list[str]:
    """Apply the same once more, in a session of its own; return what it raised."""
    errors: list[str] = []

    def run() -> None:
        another = History(history.connection.alias)
        another.states = list(history.states)
        if another.connection.vendor == "sqlite":
            with another.connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 0")
        try:
            another.apply(add_slug())
        except (BackfillError, DatabaseError) as exc:
            errors.append(re.sub(r"for \d+ s", "for N s", str(exc)))
        finally:
            another.connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return errors


def test_two_runs_at_once(history: History) -> None:
    errors: list[str] = []

    def run_another() -> None:
        errors.extend(run_beside(history))

    history.apply(add_slug(At(3, run_another), batch_size=10))

    assert errors == [
        WRITTEN_TO
        if history.connection.vendor == "sqlite"
        else AT_WORK.format(name_session(history))
    ]
    assert get_rows(history) == [
        (n + 1, f"Film Number {n}", f"film-number-{n}-{n + 1}") for n in range(40)
    ]


@on_servers
def test_the_claim_is_given_back_after_an_error(history: History) -> None:
    """Fails if the next run has to wait until this session ends."""

    def fail(movie: Any) -> str:
        raise ValueError("not this time")

    with pytest.raises(BackfillError):
        history.apply(add_slug(fail))

    assert run_beside(history) == []


@on_servers
def test_waits_a_little_for_the_session_of_a_run_that_was_killed(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the first try is the last: the server takes a moment to end it."""
    schema = get_backend(other.connection).schema
    killed = schema.locks_class(other.connection, SimpleNamespace(table="films_movie"))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            killed.release()

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))
    assert killed.claim()

    history.apply(add_slug())

    assert pauses == [0.2] * 3


@pytest.mark.parametrize("is_pooled", [False, True])
def test_no_claim_is_left(postgresql_alias: str, is_pooled: bool) -> None:
    """Fails if there is no lock meanwhile, or one is left with the session."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    settings = history.connection.settings_dict
    found: list[int] = []
    with Session(history.connection) as other:
        populate = At(2, lambda: found.append(other.fetch(CLAIMS)[0][0]))
        settings["DISABLE_SERVER_SIDE_CURSORS"] = is_pooled
        try:
            history.apply(add_slug(populate))
        finally:
            settings["DISABLE_SERVER_SIDE_CURSORS"] = False
        left = other.fetch(CLAIMS)[0][0]

    assert (found, left) == ([1], 0)


@on_servers
def test_two_ways_back_at_once(history: History) -> None:
    """Fails if the way back claims nothing: both would call reverse for a row."""
    errors: list[str] = []

    def run_another() -> None:
        another = History(history.connection.alias)
        another.states = list(history.states)
        another.migrations = list(history.migrations)
        try:
            another.unapply()
        except BackfillError as exc:
            errors.append(re.sub(r"for \d+ s", "for N s", str(exc)))
        finally:
            another.connection.close()

    def reverse(movie: Any) -> dict[str, Any]:
        if movie.pk == 3 and not errors:
            thread = Thread(target=run_another)
            thread.start()
            thread.join()
        return {"title": movie.slug}

    history.apply(add_slug(reverse=reverse, batch_size=10))
    history.unapply()

    assert errors == [AT_WORK.format(name_session(history))]
    assert values(history, "title")[2] == "film-number-2-3"


@pytest.mark.parametrize(("rows", "warnings"), [(39_999, 0), (40_000, 1)])
def test_an_atomic_migration_says_what_it_locks(
    postgresql_alias: str, caplog: pytest.LogCaptureFixture, rows: int, warnings: int
) -> None:
    """Fails if nothing is said where it takes a second or more, or of small tables."""
    history = History(postgresql_alias, atomic=True)
    create_movies(history, 3)
    with history.connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pg_class SET reltuples = %s WHERE oid = 'films_movie'::regclass",
            [rows],
        )

    history.apply(add_slug())

    assert [record.getMessage() for record in caplog.records] == [
        "films.Movie.slug: this migration is atomic, so table films_movie (about "
        "40,000 rows) is locked for reading and writing until it ends, for about 1 s "
        "or more. With atomic = False in the migration the site keeps running."
    ] * warnings


def test_two_runs_at_once_on_an_empty_table(alias: str) -> None:
    history = History(alias)
    create_movies(history, 0)
    history.apply(add_slug())
    expected = history.describe("Movie")
    history.unapply()
    errors: list[str] = []
    others: list[str] = []

    def run_another(
        execute: Any, sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        # The last moment at which it can come in between.
        changes = ("ALTER TABLE", "LOCK TABLES", "SET LOCAL")
        if str(sql).startswith(changes) and not others:
            others.append(str(sql))
            errors.extend(run_beside(history))
        return execute(sql, params, many, context)

    with history.connection.execute_wrapper(run_another):
        history.apply(add_slug())

    is_sqlite = history.connection.vendor == "sqlite"
    assert errors == ([WRITTEN_TO] if is_sqlite else [])
    assert history.describe("Movie") == expected


def test_waits_for_a_transaction_of_the_application(sqlite_alias: str) -> None:
    """Otherwise SQLite says at once that the database is locked."""
    history = History(sqlite_alias)
    create_movies(history, 3)
    futures: list[Future[None]] = []
    with Session(history.connection) as other:
        other.execute("BEGIN")
        other.execute("UPDATE films_movie SET title = 'Mine' WHERE id = 1")

        def commit(
            execute: Any, sql: str, params: Any, many: bool, context: Any
        ) -> Any:
            # Once the migration cannot but wait for it.
            if sql.startswith("UPDATE") and not futures:
                futures.append(other.start("COMMIT"))
            return execute(sql, params, many, context)

        with history.connection.execute_wrapper(commit):
            history.apply(add_slug())
        futures[0].result()

    assert get_rows(history) == [
        (1, "Mine", "mine-1"),
        (2, "Film Number 1", "film-number-1-2"),
        (3, "Film Number 2", "film-number-2-3"),
    ]


def test_file_that_another_connection_writes_to(sqlite_alias: str) -> None:
    """Fails if what SQLite says ends in a traceback."""
    history = History(sqlite_alias)
    create_movies(history, 3)
    before = history.describe("Movie")
    with history.connection.cursor() as cursor:
        # What a test cannot wait for: 5 seconds, without a timeout in OPTIONS.
        cursor.execute("PRAGMA busy_timeout = 1")

    with Session(history.connection) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackfillError) as caught:
            history.apply(add_slug())
        other.execute("ROLLBACK")

    assert str(caught.value) == WRITTEN_TO
    assert history.describe("Movie") == before
