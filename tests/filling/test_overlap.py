"""The database writes one part of a batch while Python computes the next."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from django.db import InterfaceError, migrations, models, transaction

from safefield import BackfillError
from safefield.filling.backfill import PREFLIGHT_ROWS
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.movies import add_slug, create_movies, slug_of
from tests.support.sessions import Session, wait_until

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


def fetch(history: History, sql: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


def get_slugs(history: History) -> list[str | None]:
    """Return the slugs, by key; also where the migration stopped half way."""
    return fetch(history, "SELECT slug FROM films_movie ORDER BY id")


SLUGS = [f"film-number-{n}" for n in range(ROWS)]


@pytest.fixture
def history(alias: str) -> Iterator[History]:
    history = History(alias)
    create_movies(history, ROWS)
    interval = sys.getswitchinterval()
    yield history
    assert sys.getswitchinterval() == interval
    assert not history.connection.allow_thread_sharing
    assert not {"cursor", "chunked_cursor"} & set(vars(history.connection))
    assert not [t for t in threading.enumerate() if t.name.startswith("safefield")]


class Log:
    """Which threads wrote, by the statements that Django logs."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog

    @property
    def threads(self) -> set[str | None]:
        records: list[Any] = self.caplog.records
        return {
            (record.threadName or "").partition("_")[0]
            for record in records
            if record.name == "django.db.backends" and "UPDATE " in record.sql
            if "SET " in record.sql
        }


@pytest.fixture
def log(history: History, caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    history.connection.force_debug_cursor = True
    with caplog.at_level(logging.DEBUG, "django.db.backends"):
        yield Log(caplog)
    history.connection.force_debug_cursor = False


@on_servers
def test_another_thread_writes(history: History, log: Log) -> None:
    history.apply(add_slug(batch_size=ROWS))

    assert log.threads == {"safefield", "MainThread"}
    assert get_slugs(history) == SLUGS


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_each_value_is_sent_once(
    history: History, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails if a part that the other thread writes is sent again with the next."""
    history.apply(add_slug(batch_size=ROWS))

    assert log.threads == {"safefield", "MainThread"}
    records: list[Any] = caplog.records
    statements = "".join(getattr(record, "sql", "") for record in records)
    sent = re.findall(r"film-number-\d+", statements)
    assert [sent.count(slug) for slug in SLUGS[:300:50]] == [1] * 6


@on_servers
def test_the_thread_has_the_context_of_its_caller(history: History, log: Log) -> None:
    """Fails if what looks there, such as a tenant's name, finds nothing."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    found: set[str] = set()

    def note(record: logging.LogRecord) -> bool:
        found.add(tenant.get())
        return True

    logger = logging.getLogger("django.db.backends")
    logger.addFilter(note)
    token = tenant.set("one")
    try:
        history.apply(add_slug(batch_size=ROWS))
    finally:
        tenant.reset(token)
        logger.removeFilter(note)

    assert log.threads == {"safefield", "MainThread"}
    assert found == {"one"}


@pytest.mark.parametrize("alias", ["default"], indirect=True)
def test_not_where_the_database_is_in_this_process(history: History, log: Log) -> None:
    history.apply(add_slug(batch_size=ROWS))

    assert log.threads == {"MainThread"}


@on_servers
def test_not_where_others_wrap_the_statements(history: History, log: Log) -> None:
    """They may keep something for the thread that they were called in."""
    local = threading.local()
    local.count = 0

    def count(execute: Any, *args: Any) -> Any:
        local.count += 1
        return execute(*args)

    with history.connection.execute_wrapper(count):
        history.apply(add_slug(batch_size=ROWS))

    assert log.threads == {"MainThread"}
    assert local.count > 0


@on_servers
def test_not_where_the_connection_is_of_another_class(
    history: History, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may keep something of its own, which a copy would not share."""
    connection: Any = history.connection
    other = type("DatabaseWrapper", (type(connection),), {"__module__": "tenants"})
    monkeypatch.setattr(connection, "__class__", other)

    history.apply(add_slug(batch_size=ROWS))

    assert log.threads == {"MainThread"}
    assert get_slugs(history) == SLUGS


@on_servers
def test_what_populate_wraps_is_its_own(history: History, log: Log) -> None:
    def refuse(*args: Any) -> Any:
        raise AssertionError

    def populate(movie: Any) -> str:
        with history.connection.execute_wrapper(refuse):
            return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=ROWS))

    assert log.threads == {"safefield", "MainThread"}
    assert get_slugs(history) == SLUGS


@on_servers
def test_populate_that_asks_the_database_has_it_alone(history: History) -> None:
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
def test_one_question_ends_it(history: History, log: Log) -> None:
    def populate(movie: Any) -> str:
        if movie.year == 1900 + PREFLIGHT_ROWS:
            history.rows("Studio").exists()
        return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=ROWS // 2))

    assert log.threads == {"MainThread"}
    assert get_slugs(history) == SLUGS


@pytest.mark.parametrize("alias", ["mariadb", "mysql"], indirect=True)
def test_a_procedure_is_a_question(history: History, log: Log) -> None:
    """No wrapper of statements sees it."""
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE PROCEDURE safefield_test() SELECT SLEEP(0.0001)")

    def populate(movie: Any) -> str:
        with history.connection.cursor() as cursor:
            cursor.callproc("safefield_test")
        return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=ROWS))

    assert log.threads == {"MainThread"}
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
@pytest.mark.parametrize("refuses", [False, True], ids=["alone", "beside a refusal"])
def test_errors_of_other_databases_are_told_by_row(
    history: History, refuses: bool
) -> None:
    refused = [4] if refuses else []
    for sql in REFUSE[history.connection.vendor] if refuses else []:
        with history.connection.cursor() as cursor:
            cursor.execute(sql)

    def populate(movie: Any) -> str:
        if movie.year >= 1900 + ROWS - 5:
            raise InterfaceError("another connection is closed")
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=ROWS))

    bad = [*refused, *range(ROWS - 4, ROWS + 1)]
    assert sorted(row.pk for row in caught.value.rows) == bad
    assert get_slugs(history) == [
        None if n + 1 in bad else slug for n, slug in enumerate(SLUGS)
    ]


@on_servers
def test_a_transaction_that_populate_broke_is_told(history: History) -> None:
    """Without a statement, which the thread would notice, and no row behind it."""
    alias = history.connection.alias

    def populate(movie: Any) -> str:
        if movie.year == 1910:
            with (
                contextlib.suppress(ValueError),
                transaction.atomic(using=alias, savepoint=False),
            ):
                raise ValueError
        if 125 <= movie.year - 1900 < 1000:
            raise LookupError
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=1_000))

    assert [row.pk for row in caught.value.rows] == list(range(126, 1_001))
    assert get_slugs(history) == [*SLUGS[:125], *[None] * 875, *SLUGS[1_000:]]


@on_servers
def test_a_cursor_from_before_is_noticed(history: History) -> None:
    cursors: list[Any] = []
    found: list[int] = []

    def populate(movie: Any) -> str:
        if not cursors:
            # In the preflight, in which nothing overlaps.
            cursors.append(history.connection.cursor())
        if movie.year >= 1900 + 200:
            cursors[0].execute("SELECT COUNT(slug) FROM films_movie")
            found.append(cursors[0].fetchone()[0])
        return slug_of(movie)

    history.apply(add_slug(populate=populate, batch_size=1_000))

    assert found[0] == 125
    assert found[-1] == 1_000
    assert get_slugs(history) == SLUGS


def test_statements_that_are_logged_as_the_server_binds_them(
    postgresql_alias: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Django asks the connection itself for a cursor to write such a line."""
    pytest.importorskip("psycopg", reason="psycopg2 binds nothing on the server")
    history = History(postgresql_alias)
    create_movies(history, ROWS)
    connection: Any = history.connection
    connection.close()
    monkeypatch.setattr(connection.features, "uses_server_side_binding", True)
    connection.settings_dict["OPTIONS"]["server_side_binding"] = True
    connection.force_debug_cursor = True
    try:
        with caplog.at_level(logging.DEBUG, "django.db.backends"):
            history.apply(add_slug(batch_size=ROWS))
    finally:
        connection.force_debug_cursor = False
        connection.close()
        del connection.settings_dict["OPTIONS"]["server_side_binding"]

    assert Log(caplog).threads == {"safefield", "MainThread"}
    assert get_slugs(history) == SLUGS


#: Keeps the database at the first part of a batch for a while.
SLOW = {
    "postgresql": [
        "CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE UPDATE ON films_movie FOR EACH ROW "
        "WHEN (NEW.id = 4) EXECUTE FUNCTION pg_temp.slow()",
    ],
    "mysql": [
        "CREATE TRIGGER slow BEFORE UPDATE ON films_movie FOR EACH ROW "
        "IF NEW.id = 4 THEN SET @slept = SLEEP(0.3); END IF",
    ],
}


@on_servers
def test_an_error_of_another_connection_while_a_part_is_written(
    history: History, log: Log
) -> None:
    """Fails if the connection is asked whether it is there while it is in use."""
    with history.connection.cursor() as cursor:
        for statement in SLOW[history.connection.vendor]:
            cursor.execute(statement)

    def populate(movie: Any) -> str:
        # Behind the first part, which the thread writes by now.
        if movie.pk == 300:
            raise InterfaceError("somebody else's connection is closed")
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=ROWS))

    assert [row.pk for row in caught.value.rows] == [300]
    assert get_slugs(history) == [
        None if number == 299 else slug for number, slug in enumerate(SLUGS)
    ]


@on_servers
def test_stopped_in_the_middle_of_a_batch(history: History) -> None:
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


def test_a_stop_does_not_wait_for_the_locks_of_others(postgresql_alias: str) -> None:
    """In an atomic migration rows are not locked before they are written."""
    history = History(postgresql_alias, atomic=True)
    create_movies(history, ROWS)
    nullable = models.SlugField(max_length=80, null=True, db_index=False)
    history.apply(migrations.AddField("Movie", "slug", nullable))
    (pid,) = fetch(history, "SELECT pg_backend_pid()")

    with Session(history.connection) as other:
        other.execute("BEGIN")
        other.execute("UPDATE films_movie SET title = 'Held' WHERE id = 1")

        def stop(movie: Any) -> str:
            if movie.year == 1900 + ROWS // 2:
                wait_until(lambda: other.is_waiting(pid))
                raise KeyboardInterrupt
            return slug_of(movie)

        with pytest.raises(KeyboardInterrupt):
            history.apply(
                AlterFieldWithBackfill(
                    "Movie",
                    "slug",
                    models.SlugField(max_length=80, db_index=False),
                    stop,
                    batch_size=ROWS,
                )
            )
        other.execute("ROLLBACK")

    assert get_slugs(history) == [None] * ROWS
