"""The application goes on while a backfill runs: no change of either is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.history import History
from tests.support.ledger import (
    NO_WAITING,
    At,
    Ledger,
    add_slug,
    get_rows,
    on_servers,
)
from tests.support.movies import create_movies
from tests.support.sessions import Session, wait_until


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create_movies(history, 40)
    return history


def start_and_wait(
    session: Session, watcher: Session, sql: str
) -> tuple[Callable[[], None], list[Future[None]]]:
    """Return what starts a statement and waits until the statement waits."""
    futures: list[Future[None]] = []

    def start() -> None:
        futures.append(session.start(sql))
        wait_until(lambda: watcher.is_waiting(session.pid))

    return start, futures


@on_servers
def test_title_changed_between_reading_and_writing(
    history: History, other: Session, watcher: Session
) -> None:
    start, futures = start_and_wait(
        other, watcher, "UPDATE films_movie SET title = 'New' WHERE id = 3"
    )

    history.apply(add_slug(At(3, start)))
    futures[0].result()

    expected = [
        (n + 1, f"Film Number {n}", f"film-number-{n}-{n + 1}") for n in range(40)
    ]
    expected[2] = (3, "New", "film-number-2-3")
    assert get_rows(history) == expected


@on_servers
def test_slug_written_by_new_code_between_reading_and_writing(
    history: History, other: Session, watcher: Session
) -> None:
    start, futures = start_and_wait(
        other,
        watcher,
        "UPDATE films_movie SET title = 'New', slug = 'new' WHERE id = 3",
    )

    history.apply(add_slug(At(3, start)))
    futures[0].result()

    assert get_rows(history)[2] == (3, "New", "new")


@on_servers
def test_slug_written_by_new_code_before_its_batch(
    history: History, other: Session
) -> None:
    def write() -> None:
        other.execute("UPDATE films_movie SET slug = 'mine' WHERE id = 35")

    history.apply(add_slug(At(3, write), batch_size=10))

    assert get_rows(history)[33:36] == [
        (34, "Film Number 33", "film-number-33-34"),
        (35, "Film Number 34", "mine"),
        (36, "Film Number 35", "film-number-35-36"),
    ]


@on_servers
def test_row_deleted_between_reading_and_writing(
    history: History, other: Session, watcher: Session
) -> None:
    start, futures = start_and_wait(
        other, watcher, "DELETE FROM films_movie WHERE id = 3"
    )

    history.apply(add_slug(At(3, start)))
    futures[0].result()

    assert [row[0] for row in get_rows(history)] == [1, 2, *range(4, 41)]


def test_changes_before_every_statement(history: History, other: Session) -> None:
    """
    Insert, update and delete a row before each statement of the migration.

    Refused may be what would have to wait for the migration, and, once NOT NULL
    stands, rows without a slug.
    """
    catalogue = describe_quiet(history)
    titles = {n + 1: f"Film Number {n}" for n in range(40)}
    ledger = Ledger(other, titles)
    other.execute(NO_WAITING[other.vendor])
    step = 0

    def change(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal step
        step += 1
        ledger.insert(1000 + step, f"Late {step}")
        ledger.update(step % 30 + 1, f"Changed {step}")
        if 30 + step in ledger.titles:
            ledger.delete(30 + step)
        return execute(sql, params, many, context)

    with history.connection.execute_wrapper(change):
        history.apply(add_slug(batch_size=10))

    assert get_rows(history) == ledger.get_expected()
    assert history.describe("Movie") == catalogue
    assert [text for text in ledger.refused if not MAY_BE_REFUSED.match(text)] == []
    assert ledger.done > (3 if other.vendor == "sqlite" else 60)


MAY_BE_REFUSED = re.compile(
    r"INSERT: .*(slug|Lock wait|database is locked|lock timeout)"
    r"|(UPDATE|DELETE): .*(Lock wait|database is locked|lock timeout)",
    re.DOTALL,
)


def describe_quiet(history: History) -> dict[str, Any]:
    """Return the catalogue after a migration that nobody disturbs, undone again."""
    quiet = History(history.connection.alias)
    quiet.states, quiet.migrations = list(history.states), list(history.migrations)
    quiet.apply(add_slug())
    catalogue = quiet.describe("Movie")
    quiet.unapply()
    return catalogue
