"""Connections that are cut, a server that crashes, a disk that is full."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, suppress
from typing import Any

import pytest
from django.db import DatabaseError, models

from safefield import BackfillError
from safefield.interrupts import Stopped
from safefield.operations import AddFieldWithBackfill
from tests.support.cleanup import reset_connection
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, populate_slug
from tests.support.movies import create_movies, values
from tests.support.sessions import Session, get_pid, start_old_snapshot, wait_until

ROWS = 60


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("alias", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_connection_cut_before_every_statement(alias: str) -> None:
    history = History(alias)
    create_movies(history, ROWS)
    before = history.describe("Movie"), values(history, "id", "title", "year")
    history.apply(add_slug())
    filled = history.describe("Movie"), get_rows(history)
    history.unapply()
    operation = add_slug(batch_size=20)
    start = "films.Movie.slug: the connection to the database was lost or closed. "
    end = " Run migrate again to resume."

    for number in itertools.count(1):
        was_cut = cut_at(
            history,
            number,
            lambda: history.apply(operation),
            f"{start}The rows that are filled stay.{end}",
        )
        if not was_cut:
            break
        assert can_old_code_insert(history), number
        history.apply(operation)
        assert (history.describe("Movie"), get_rows(history)) == filled, number
        history.unapply()
    assert number > 20
    for number in itertools.count(1):
        was_cut = cut_at(
            history,
            number,
            history.unapply,
            f"{start}The rows that are reversed stay so.{end}",
        )
        if not was_cut:
            break
        history.unapply()
        assert (
            history.describe("Movie"),
            values(history, "id", "title", "year"),
        ) == before, number
        history.apply(operation)
    assert number > 1


def cut_at(history: History, number: int, run: Any, expected: str) -> bool:
    """
    Run, and cut the connection before this statement; return whether it was.

    Fails if the run ends with another error than `expected`.
    """
    connection = history.connection
    connection.ensure_connection()
    with Session(connection) as other:
        pid = get_pid(connection)
        counter = itertools.count(1)
        was_cut = False

        def cut(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal was_cut
            if next(counter) == number:
                was_cut = True
                other.cut(pid)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(cut):
            error = catch_error(run)
            assert error == (expected if was_cut else None)
    if was_cut:
        reset_connection(connection)
    return was_cut


def catch_error(run: Any) -> str | None:
    """Return what `run` fails of, or None."""
    try:
        run()
    except BackfillError as exc:
        return str(exc)
    return None


def can_old_code_insert(history: History) -> bool:
    """
    Return whether code that knows nothing of the column can insert.

    When the column is NOT NULL all is done but the record of the migration, and code
    that knows nothing of it cannot.
    """
    with Session(history.connection) as other:
        with other.connection.cursor() as cursor:
            introspection = other.connection.introspection
            columns = introspection.get_table_description(cursor, "films_movie")
        if not all(column.null_ok for column in columns if column.name == "slug"):
            return True
        other.execute("BEGIN")
        try:
            other.execute("INSERT INTO films_movie (title, year) VALUES ('Old', 1)")
        except DatabaseError:
            return False
        finally:
            other.execute("ROLLBACK")
    return True


def test_interrupted_by_hand_leaves_no_check(postgresql_alias: str) -> None:
    """Code that knows nothing of the column must go on inserting."""
    history = History(postgresql_alias)
    create_movies(history, 3)

    def interrupt(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "VALIDATE" in sql:
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    with (
        history.connection.execute_wrapper(interrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        history.apply(add_slug())

    assert history.describe("Movie")["checks"] == []
    history.rows("Movie").create(title="Late", year=2000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_are_handled_during_a_run_alone(
    sqlite_alias: str, number: signal.Signals
) -> None:
    """Fails if the handler stays, or takes the place of somebody else's."""
    history = History(sqlite_alias)
    create_movies(history, 1)
    seen: list[Any] = []

    def populate(movie: Any) -> str:
        seen.append(signal.getsignal(number))
        return "a"

    def migrate() -> Any:
        seen.clear()
        history.apply(add_slug(populate))
        history.unapply()
        return seen[0]

    def handle(number: int, frame: Any) -> None:
        raise AssertionError

    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert migrate() not in (signal.SIG_DFL, None)
        assert signal.getsignal(number) is signal.SIG_DFL
        # nohup does the latter.
        for theirs in (handle, signal.SIG_IGN):
            signal.signal(number, theirs)
            assert migrate() is theirs
            assert signal.getsignal(number) is theirs
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_the_terminal_went_away(
    sqlite_alias: str,
    number: signal.Signals,
    code: int,
) -> None:
    """Fails if a terminal that takes no text makes a traceback of the end."""
    history = History(sqlite_alias)
    create_movies(history, 1)
    master, slave = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def populate(movie: Any) -> str:
        os.close(master)
        os.kill(os.getpid(), number)
        return "a"

    terminal = os.fdopen(slave, "w")
    try:
        with redirect_stderr(terminal), pytest.raises(Stopped) as caught:
            history.apply(add_slug(populate))
    finally:
        signal.signal(signal.SIGHUP, before)
        with suppress(OSError):
            terminal.close()

    assert caught.value.code == code
    assert history.describe("Movie")["columns"].keys() == {"id", "title", "year"}


def test_sigterm_in_another_thread(sqlite_alias: str) -> None:
    """Fails if a run in a thread sets a handler, which Python refuses there."""
    history = History(sqlite_alias)
    create_movies(history, 1)
    operation = add_slug()

    def migrate() -> None:
        another = History(sqlite_alias)
        another.states = history.states
        another.migrations = history.migrations
        another.apply(operation)
        another.connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(migrate).result()

    assert get_rows(history) == [(1, "Film Number 0", "film-number-0-1")]


def close_connection(history: History) -> None:
    history.connection.close()


def ping(history: History) -> None:
    """Let PyMySQL connect again by itself, as Django's is_usable() does."""
    with (
        Session(history.connection) as other,
        pytest.raises(DatabaseError),
        history.connection.cursor() as cursor,
    ):
        other.cut(get_pid(history.connection))
        cursor.execute("SELECT 1")
    history.connection.is_usable()


@pytest.mark.parametrize("lose", [close_connection, ping])
@pytest.mark.parametrize("alias", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_goes_on_over_no_other_connection(alias: str, lose: Any) -> None:
    """Fails if a run goes on without its claim when populate loses its connection."""
    history = History(alias)
    create_movies(history, 40)

    def populate(movie: Any) -> str:
        if movie.pk == 30:
            lose(history)
        return populate_slug(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate, batch_size=10))

    assert str(caught.value) == (
        "films.Movie.slug: the connection to the database was lost or closed. The rows "
        "that are filled stay. Run migrate again to resume."
    )
    reset_connection(history.connection)
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(slug) FROM films_movie")
        assert cursor.fetchone() == (20,)
    history.apply(add_slug())
    assert len(get_rows(history)) == 40


@pytest.mark.parametrize("alias", ["postgresql", "mariadb"], indirect=True)
def test_connects_to_no_other_session(
    alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Fails if Django connects again where the connection is closed between batches.

    Whoever reads the log may do that, as close_old_connections() does.
    """
    history = History(alias)
    create_movies(history, 40)
    seen: list[str] = []

    def close(record: logging.LogRecord) -> bool:
        seen.append(record.getMessage())
        if seen[-1] == "Setting the constraints of films.Movie.slug.":
            assert not history.connection.in_atomic_block
            history.connection.close()
        return True

    caplog.handler.addFilter(close)
    try:
        with (
            caplog.at_level(logging.INFO, "safefield"),
            pytest.raises(BackfillError) as caught,
        ):
            history.apply(add_slug())
    finally:
        caplog.handler.removeFilter(close)

    assert seen[-1] == "Setting the constraints of films.Movie.slug."
    assert str(caught.value) == (
        "films.Movie.slug: the connection to the database was lost or closed. The rows "
        "that are filled stay. Run migrate again to resume."
    )
    reset_connection(history.connection)
    history.apply(add_slug())
    assert len(get_rows(history)) == 40


@pytest.mark.parametrize("part", ["ADD COLUMN", "UPDATE "])
@pytest.mark.parametrize("alias", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_ctrl_c_that_breaks_the_connection(alias: str, part: str) -> None:
    """
    Fails if it is told as a lost connection: Django's atomic() cannot end over the
    broken one, and raises what it fails of.
    """
    history = History(alias)
    create_movies(history, 3)
    with Session(history.connection) as other:
        pid = get_pid(history.connection)

        def break_off(
            execute: Any, sql: str, params: Any, many: bool, context: Any
        ) -> Any:
            if part in sql:
                other.cut(pid)
                with suppress(DatabaseError):
                    execute(sql, params, many, context)
                raise KeyboardInterrupt
            return execute(sql, params, many, context)

        with (
            history.connection.execute_wrapper(break_off),
            pytest.raises(KeyboardInterrupt) as caught,
        ):
            history.apply(add_slug())

    assert isinstance(caught.value, SystemExit)
    assert caught.value.code == 130
    reset_connection(history.connection)
    history.apply(add_slug())
    assert len(get_rows(history)) == 3


@pytest.mark.parametrize("end", ["SIGINT", "cut"])
def test_stopped_while_the_index_is_built(postgresql_alias: str, end: str) -> None:
    """
    Fails if the invalid index of CREATE UNIQUE INDEX CONCURRENTLY is in anybody's way.

    It may refuse what old code inserts, and it has the name of the valid one.
    """
    history = History(postgresql_alias)
    create_movies(history, 3)
    with (
        Session(history.connection) as report,
        Session(history.connection) as third,
    ):
        start_old_snapshot(report)
        pid = get_pid(history.connection)

        def stop() -> None:
            wait_until(lambda: third.is_waiting(pid))
            if end == "cut":
                third.cut(pid)
            else:
                os.kill(os.getpid(), signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(stop)
            with pytest.raises((KeyboardInterrupt, BackfillError)):
                history.apply(add_slug())
            stopping.result()
        report.execute("ROLLBACK")
        found = third.fetch("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        # Of a lost session nobody is there to drop it.
        assert found == [(0 if end == "SIGINT" else 1,)]
        third.execute("INSERT INTO films_movie (title, year) VALUES ('Late', 1)")
    reset_connection(history.connection)

    history.apply(add_slug())

    assert get_rows(history)[3][2] == "late-4"
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        assert cursor.fetchone() == (0,)


def test_disk_full_anywhere(sqlite_alias: str) -> None:
    """max_page_count stands for the disk: more pages there are not."""
    history = History(sqlite_alias)
    create_movies(history, 2_000)
    before = history.describe("Movie"), values(history, "id", "title", "year")
    operation = AddFieldWithBackfill(
        "Movie",
        "extra",
        models.CharField(max_length=200, unique=True),
        lambda movie: f"{movie.title} {'.' * 100}",
    )
    with history.connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        pages = cursor.fetchone()[0]

    failures = 0
    for limit in itertools.count(pages, 20):
        with history.connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {limit}")
        try:
            history.apply(operation)
        except DatabaseError as exc:
            failures += 1
            assert str(exc) == "database or disk is full"
            assert (
                history.describe("Movie"),
                values(history, "id", "title", "year"),
            ) == before
        else:
            break

    assert failures > 5
    assert values(history, "extra") == [
        f"Film Number {n} {'.' * 100}" for n in range(2_000)
    ]
