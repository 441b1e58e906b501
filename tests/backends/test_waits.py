"""Who is waited for is said while it is waited for, not only in the end."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from safefield.backends.base import locks, retries, waits
from safefield.backends.base.locks import Locks
from safefield.backends.base.waits import Wait
from safefield.backends.postgresql import locks as postgresql_locks
from safefield.exceptions import BackfillError
from tests.support.clock import Clock
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, on_servers
from tests.support.movies import create_movies
from tests.support.sessions import Session, start_old_snapshot, start_report


class Told(logging.Handler):
    """Keeps the lines that say who is waited for, and calls back at the first."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call: Callable[[], object] | None = call
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if "waiting for others" not in line:
            return
        self.lines.append(re.sub(r"for [\d.]+ s", "for N s", line))
        if self.call is not None:
            call, self.call = self.call, None
            call()


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Any:
    logger = logging.getLogger("safefield")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


def listen(logger: logging.Logger, call: Callable[[], object]) -> Told:
    told = Told(call)
    logger.handlers = [told]
    return told


@pytest.fixture(autouse=True)
def restore_handlers(logger: logging.Logger) -> Any:
    before = logger.handlers
    yield
    logger.handlers = before


@on_servers
def test_says_who_holds_the_table_while_it_waits(
    alias: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the blocker is named only by the error at the end of all tries."""
    # Each look at the clock is seven seconds later.
    monkeypatch.setattr(Locks, "clock", staticmethod(Clock()))
    history = History(alias)
    create_movies(history, 4)
    with Session(history.connection) as other:
        start_report(other)
        told = listen(logger, lambda: other.execute("COMMIT"))

        history.apply(add_slug())

        session = {
            "postgresql": f"process {other.pid} (report), idle in transaction, in a "
            "transaction for N s, holds AccessShareLock",
            "mysql": f"connection {other.pid} (Sleep), in a transaction for N s",
        }[other.vendor]
    assert told.lines[0] == (
        f"films.Movie.slug: waiting for others on table films_movie for N s: {session}."
    )
    assert len(get_rows(history)) == 4


def test_says_whom_an_index_waits_for(
    postgresql_alias: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    CREATE INDEX CONCURRENTLY waits for each older snapshot, without a lock timeout.

    Fails, by hanging, if nobody looks while the statement is under way.
    """
    monkeypatch.setattr(postgresql_locks, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(postgresql_locks, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(waits, "FIRST_SECONDS", 0.0)
    history = History(postgresql_alias)
    create_movies(history, 4)
    with Session(history.connection) as other:
        other.execute("SET application_name = 'report'")
        start_old_snapshot(other)
        told = listen(logger, lambda: other.execute("COMMIT"))

        history.apply(add_slug())

        assert told.lines[0] == (
            "films.Movie.slug: waiting for others on table films_movie for N s: "
            f"process {other.pid} (report), idle in transaction, in a transaction for "
            "N s."
        )
    assert len(get_rows(history)) == 4


def test_index_is_built_where_nobody_can_look(
    postgresql_alias: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if a second connection that is refused ends the run."""
    monkeypatch.setattr(postgresql_locks, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(postgresql_locks, "BLOCKING", "SELECT no_such_column, %s")
    history = History(postgresql_alias)
    create_movies(history, 4)
    listen(logger, lambda: None)

    history.apply(add_slug())

    assert len(get_rows(history)) == 4


@on_servers
def test_nothing_is_said_at_once(
    alias: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    monkeypatch.setattr(Locks, "clock", staticmethod(lambda: 0.0))
    history = History(alias)
    create_movies(history, 4)
    with Session(history.connection) as other:
        start_report(other)
        told = listen(logger, lambda: None)

        with pytest.raises(BackfillError):
            history.apply(add_slug())

        other.execute("COMMIT")
    assert told.lines == []


def test_is_said_again_now_and_then(sqlite_alias: str, logger: logging.Logger) -> None:
    history = History(sqlite_alias)
    create_movies(history, 1)
    plan = make_plan(history)
    told = listen(logger, lambda: None)
    # Looks after 7, 14, 21 and 28 seconds: due after 2, 17 and 31.
    wait = Wait(plan, lambda: ["one", "two", "three", "four"], Clock())

    for _ in range(4):
        wait.tell()

    line = (
        "films.Movie.slug: waiting for others on table films_movie for N s: one; two; "
        "three; and 1 more."
    )
    assert told.lines == [line, line]


def test_says_that_nobody_can_be_seen(
    sqlite_alias: str, logger: logging.Logger
) -> None:
    history = History(sqlite_alias)
    create_movies(history, 1)
    told = listen(logger, lambda: None)

    Wait(make_plan(history), lambda: [], Clock()).tell()

    assert told.lines == [
        "films.Movie.slug: waiting for others on table films_movie for N s; who they "
        "are cannot be seen."
    ]


def make_plan(history: History) -> Any:
    operation = add_slug()
    state = history.state.clone()
    operation.state_forwards("films", state)
    return operation.make_plan("films", history.state, state)
