"""Connections that are cut, a server that crashes, a disk that is full."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, models

from safefield.operations import AddFieldWithBackfill
from tests.cleanup import reset_connection
from tests.history import History
from tests.ledger import add_slug, get_rows
from tests.sessions import Session
from tests.test_contract import create_movies, values

ROWS = 60


@pytest.mark.parametrize("alias", ["postgresql", "mariadb"], indirect=True)
def test_connection_cut_before_every_statement(alias: str) -> None:
    history = History(alias)
    create_movies(history, ROWS)
    before = history.describe("Movie"), values(history, "id", "title", "year")
    history.apply(add_slug())
    filled = history.describe("Movie"), get_rows(history)
    history.unapply()
    operation = add_slug(batch_size=20)

    for number in itertools.count(1):
        was_cut = cut_at(history, number, lambda: history.apply(operation))
        if not was_cut:
            break
        # The very last statement may be one that can be done without.
        if len(history.migrations) == 1:
            history.apply(operation)
        assert (history.describe("Movie"), get_rows(history)) == filled, number
        history.unapply()
    assert number > 20
    for number in itertools.count(1):
        was_cut = cut_at(history, number, history.unapply)
        if not was_cut:
            break
        if len(history.migrations) == 2:
            history.unapply()
        assert (
            history.describe("Movie"),
            values(history, "id", "title", "year"),
        ) == before, number
        history.apply(operation)
    assert number > 1


def cut_at(history: History, number: int, run: Any) -> bool:
    """Run, and cut the connection before this statement; return whether it was."""
    connection = history.connection
    connection.ensure_connection()
    with Session(connection) as other:
        with connection.cursor() as cursor:
            cursor.execute(other.identifier_sql)
            pid = cursor.fetchone()[0]
        counter = itertools.count(1)
        was_cut = False

        def cut(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal was_cut
            if next(counter) == number:
                was_cut = True
                other.cut(pid)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(cut):
            if was_cut_in(run):
                assert was_cut
    if was_cut:
        reset_connection(connection)
    return was_cut


def was_cut_in(run: Any) -> bool:
    """Return whether the database fails `run`."""
    try:
        run()
    except (DatabaseError, InterfaceError):
        return True
    return False


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
