"""Rows that the fill passes over are looked for behind the last whole page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db.models import QuerySet

from safefield import BackfillError
from safefield.filling import pursuit
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, on_servers, populate_slug
from tests.support.movies import create_movies
from tests.support.sessions import Session

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


class Inserting:
    """
    Populate, which lets others insert a row for each so many rows that it is given.

    Args:
        other: The session of the others.
        each: How many rows.
    """

    #: A pass that follows the table would end when nobody inserts any more.
    most = 400

    def __init__(self, other: Session, each: int) -> None:
        self.other = other
        self.each = each
        self.calls = 0

    def __call__(self, movie: Any) -> str:
        self.calls += 1
        if self.calls % self.each == 0 and self.calls <= self.most:
            self.other.execute("INSERT INTO films_movie (title, year) VALUES ('a', 1)")
        return populate_slug(movie)


@pytest.fixture
def busy_history(alias: str, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return a history with 40 movies, of which no pass is short."""
    monkeypatch.setattr(pursuit, "SHORT_SECONDS", 0.0)
    history = History(alias)
    create_movies(history, 40)
    return history


@on_servers
def test_rows_that_come_as_fast_as_they_are_filled(busy_history: History) -> None:
    """Fails if a pass goes on to where the table ends by then, or nobody is told."""
    history = busy_history
    with Session(history.connection) as other, pytest.raises(BackfillError) as caught:
        history.apply(add_slug(Inserting(other, 1), batch_size=10))

    assert re.sub(r"[\d,]+ a second", "N a second", str(caught.value)) == (
        "films.Movie.slug: rows come in faster than they are filled: about N a second "
        "came, and N a second were filled. Slow down what inserts them, or wait for a "
        "quieter hour. The rows that are filled stay. Run migrate again to "
        "resume."
    )
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(slug), COUNT(*) FROM films_movie")
        filled, rows = cursor.fetchone()
    # Those of the preflight, too; the fill and two sweeps, each over what the one
    # before let in.
    assert (filled, rows) == (135, 180)
    history.apply(add_slug())


@on_servers
def test_rows_that_come_half_as_fast(busy_history: History) -> None:
    """Fails if sweeps end before there is nothing to do, or are taken for hopeless."""
    history = busy_history
    with Session(history.connection) as other:
        history.apply(add_slug(Inserting(other, 2), batch_size=10))

    slugs = [slug for _, _, slug in get_rows(history)]
    assert len(slugs) == len(set(slugs)) > 75


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


def insert_another(movie: Any, year: int) -> None:
    QuerySet(type(movie), using=movie._state.db).create(title=movie.title, year=year)


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_rows_that_the_function_inserts(alias: str, atomic: bool) -> None:
    """Fails if the walk ends where the table ended, and nothing looks behind it."""
    history = History(alias, atomic=atomic)
    create_movies(history, 5)

    def populate(movie: Any) -> str:
        if movie.year < 2000:
            insert_another(movie, movie.year + 100)
        return populate_slug(movie)

    history.apply(add_slug(populate, batch_size=2))

    found = history.rows("Movie").order_by("id").values_list("id", "year", "slug")
    titles = [0, 1, 2, 3, 4] * 2
    assert sorted((year, slug.rpartition("-")[0]) for _, year, slug in found) == [
        (1900 + number // 5 * 100 + title, f"film-number-{title}")
        for number, title in enumerate(titles)
    ]
    assert all(slug.endswith(f"-{key}") for key, _, slug in found)


@pytest.mark.parametrize("alias", ["default", "postgresql"], indirect=True)
def test_function_that_inserts_without_end(alias: str) -> None:
    """Fails if it is for the size of the batches to say when the walk ends."""
    history = History(alias, atomic=True)
    create_movies(history, 5)
    before = history.describe("Movie")

    def populate(movie: Any) -> str:
        insert_another(movie, movie.year)
        return populate_slug(movie)

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate, batch_size=2))

    assert str(caught.value) == (
        "films.Movie.slug: rows come in faster than they are filled, from populate() "
        "itself or from others. Fix populate(), or stop what inserts them, then run "
        "migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before
    assert history.rows("Movie").count() == 5
