"""Batches that populate, or what is about no row, breaks in the middle."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from django.db import InterfaceError, transaction

from safefield import BackfillError
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.movies import add_slug, create_movies, slug_of

ROWS = 40
SLUGS = [f"film-number-{n}" for n in range(ROWS)]

#: Makes the database refuse the fourth row.
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


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create_movies(history, ROWS)
    return history


def execute(history: History, sql: str) -> None:
    with history.connection.cursor() as cursor:
        cursor.execute(sql)


def get_slugs(history: History) -> list[str | None]:
    """Return the slugs, by key; also where the migration stopped half way."""
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT slug FROM films_movie ORDER BY id")
        return [slug for (slug,) in cursor.fetchall()]


@on_servers
@pytest.mark.parametrize("asks", [False, True], ids=["quiet", "asks"])
def test_a_refused_value_is_told_by_row(history: History, asks: bool) -> None:
    """Also where populate asks the database itself."""
    for sql in REFUSE[history.connection.vendor]:
        execute(history, sql)

    def populate(movie: Any) -> str:
        if asks:
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
    """Fails if another connection that is lost is taken for that of the run."""
    refused = [4] if refuses else []
    for sql in REFUSE[history.connection.vendor] if refuses else []:
        execute(history, sql)

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
def test_a_transaction_that_populate_broke(history: History) -> None:
    """Without a statement, and with no good row behind it in the batch."""
    alias = history.connection.alias
    half = ROWS // 2

    def populate(movie: Any) -> str:
        if movie.year == 1908:
            with (
                contextlib.suppress(ValueError),
                transaction.atomic(using=alias, savepoint=False),
            ):
                raise ValueError
        if 10 <= movie.year - 1900 < half:
            raise LookupError
        return slug_of(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate, batch_size=half))

    assert [row.pk for row in caught.value.rows] == list(range(11, half + 1))
    assert get_slugs(history) == [*SLUGS[:10], *[None] * 10, *SLUGS[half:]]


@on_servers
def test_stopped_in_the_middle_of_a_batch(history: History) -> None:
    def stop(movie: Any) -> str:
        if movie.year == 1900 + ROWS - 1:
            raise KeyboardInterrupt
        return slug_of(movie)

    half = ROWS // 2
    with pytest.raises(KeyboardInterrupt):
        history.apply(add_slug(populate=stop, batch_size=half))

    assert get_slugs(history) == [*SLUGS[:half], *[None] * half]

    history.apply(add_slug(batch_size=half))

    assert get_slugs(history) == SLUGS
