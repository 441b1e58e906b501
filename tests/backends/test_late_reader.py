"""PostgreSQL: somebody reads the table while the check before NOT NULL stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError

from safefield import BackfillError
from safefield.backends.base import locks, retries
from safefield.interrupts import Stopped, Terminated
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows
from tests.support.movies import create_movies
from tests.support.sessions import Session

LATE = "INSERT INTO films_movie (id, title, year) VALUES (9, 'Late', 1)"


@pytest.fixture
def history(postgresql_alias: str) -> History:
    history = History(postgresql_alias)
    create_movies(history, 3)
    return history


@pytest.fixture
def reader(history: History) -> Iterator[Session]:
    """Begin to read just before SET NOT NULL, and stay in the transaction."""
    with Session(history.connection) as session:
        begun: list[str] = []

        def read(execute: Any, sql: Any, *rest: Any) -> Any:
            if "SET NOT NULL" in str(sql) and not begun:
                begun.append(str(sql))
                session.execute("BEGIN")
                session.fetch("SELECT count(*) FROM films_movie")
            return execute(sql, *rest)

        with history.connection.execute_wrapper(read):
            yield session


HELD = (
    "films.Movie.slug: could not lock table films_movie, because other sessions held "
    "locks on it at each try"
)


def test_the_check_goes_when_the_reader_goes(
    history: History, reader: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the check is dropped in one try, or in none: old code cannot insert."""
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            # Of the first tries, those to set NOT NULL, there is one pause.
            reader.execute("COMMIT")

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug())

    assert len(pauses) == 2
    assert str(caught.value).startswith(HELD)
    assert "could not be dropped" not in str(caught.value)
    assert history.describe("Movie")["checks"] == []
    reader.execute(LATE)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), Terminated(15)], ids=repr)
def test_the_check_goes_after_a_signal(
    history: History,
    reader: Session,
    monkeypatch: pytest.MonkeyPatch,
    interrupt: KeyboardInterrupt,
) -> None:
    """Fails if the signal that ends the run ends the tries to drop the check, too."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            raise interrupt
        if len(pauses) == 4:
            reader.execute("COMMIT")

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))

    with pytest.raises(Stopped):
        history.apply(add_slug())

    assert len(pauses) == 4
    assert history.describe("Movie")["checks"] == []
    reader.execute(LATE)


def test_the_error_says_that_inserts_are_refused(
    history: History, reader: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if nobody hears why old code cannot insert, or if migrate leaves it so."""
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug())

    assert str(caught.value).startswith(HELD)
    assert str(caught.value).splitlines()[-1] == (
        "Wait for them or end them, then run migrate again to resume. "
        "Check constraint films_movie_slug_e73823af_notnull could not be dropped: "
        "until it is gone, table films_movie refuses each INSERT that leaves out "
        "column slug. Run migrate to resume, or abandonbackfill --database postgresql "
        "with this migration to undo: both drop it first."
    )
    reader.execute("COMMIT")
    with pytest.raises(IntegrityError):
        reader.execute(LATE)

    inserted: list[str] = []

    def insert(execute: Any, sql: Any, *rest: Any) -> Any:
        if "ADD CONSTRAINT" in str(sql) and "CHECK" in str(sql):
            inserted.append(LATE)
            reader.execute(LATE)
        return execute(sql, *rest)

    with history.connection.execute_wrapper(insert):
        history.apply(add_slug())

    assert inserted == [LATE]
    assert [slug for *_, slug in get_rows(history)][3:] == ["late-9"]
