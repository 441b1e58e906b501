"""Rows that the fill passes over are looked for behind the last whole page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.history import History
from tests.ledger import add_slug, get_rows, on_servers
from tests.sessions import Session
from tests.test_contract import create_movies

#: The look for rows without a value, with its bound if there is one.
LOOK = re.compile(r"SELECT %s AS a .* WHERE (\(.*\.id > %s AND )?\S*\.slug IS NULL")


@on_servers
@pytest.mark.parametrize(
    ("locked", "behind"),
    [(0, 6), (7, 6), (6, 3), (4, 3), (3, None), (1, None)],
)
def test_the_look_for_rows_without_a_value(
    alias: str, locked: int, behind: int | None
) -> None:
    history = History(alias)
    create_movies(history, 7)
    looks: list[int | None] = []
    is_locked = False

    def lock(execute: Any, sql: str, params: Any, *args: Any) -> Any:
        nonlocal is_locked
        if "SKIP LOCKED" in sql and not is_locked:
            is_locked = True
            other.execute("BEGIN")
            other.fetch("SELECT 1 FROM films_movie WHERE id = %s FOR UPDATE", [locked])
        if found := LOOK.match(re.sub('["`]', "", sql)):
            other.execute("COMMIT")
            looks.append(params[1] if found[1] else None)
        return execute(sql, params, *args)

    with Session(history.connection) as other, history.connection.execute_wrapper(lock):
        history.apply(add_slug(batch_size=3))

    assert looks[0] == behind
    assert get_rows(history) == [
        (number, f"Film Number {number - 1}", f"film-number-{number - 1}-{number}")
        for number in range(1, 8)
    ]


@on_servers
def test_a_row_inserted_behind_the_fill(alias: str) -> None:
    """By hand, or by a transaction that was long at it; the NOT NULL finds it."""
    history = History(alias)
    create_movies(history, 7)
    history.rows("Movie").filter(pk=2).delete()
    is_there = False

    def insert(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal is_there
        if not is_there and LOOK.match(re.sub('["`]', "", sql)):
            is_there = True
            other.execute(
                "INSERT INTO films_movie (id, title, year) VALUES (2, 'By Hand', 1999)"
            )
        return execute(sql, *args)

    with (
        Session(history.connection) as other,
        history.connection.execute_wrapper(insert),
    ):
        history.apply(add_slug(batch_size=3))

    assert (2, "By Hand", "by-hand-2") in get_rows(history)
