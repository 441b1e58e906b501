"""What each row must have in the end, whatever others did to it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, models

from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.movies import values
from tests.support.sessions import Session

#: For a test in which others write meanwhile, as nobody does on SQLite.
on_servers = pytest.mark.parametrize(
    "alias", ["postgresql", "mariadb", "mysql"], indirect=True
)

#: Makes a session give up at once what somebody else has locked.
NO_WAITING = {
    "sqlite": "PRAGMA busy_timeout = 0",
    # Only time spent waiting counts, so that nothing else can take so long.
    "postgresql": "SET lock_timeout = '5ms'",
    "mysql": "SET SESSION lock_wait_timeout = 0, innodb_lock_wait_timeout = 0",
}


class Ledger:
    """
    Changes the rows of films_movie as an application does that knows no `slug`.

    A change and what it finds in `slug` are one transaction, in which the row is
    locked. So each finding says on which side of the filling the change is: where
    there is no slug yet, the filling comes after it, and must see it.

    Args:
        session: Where the changes are made.
        titles: Titles by primary key: all rows.
    """

    def __init__(self, session: Session, titles: dict[int, str]) -> None:
        self.session = session
        #: The title that each row has.
        self.titles = dict(titles)
        #: The title that each row must have been filled from.
        self.sources = dict(titles)
        #: Changes that went through, and those that were refused.
        self.done = 0
        self.refused: list[str] = []

    def insert(self, pk: int, title: str) -> None:
        """Insert a row, unless that is refused."""
        if self._change(
            "INSERT INTO films_movie (id, title, year) VALUES (%s, %s, 2000)",
            [pk, title],
        ):
            self.titles[pk] = self.sources[pk] = title

    def update(self, pk: int, title: str) -> None:
        """Change a title, unless that is refused."""
        has_slug = False

        def look() -> None:
            nonlocal has_slug
            has_slug = self._has_slug(pk)

        if self._change(
            "UPDATE films_movie SET title = %s WHERE id = %s", [title, pk], look
        ):
            self.titles[pk] = title
            if not has_slug:
                self.sources[pk] = title

    def delete(self, pk: int) -> None:
        """Delete a row, unless that is refused."""
        if self._change("DELETE FROM films_movie WHERE id = %s", [pk]):
            del self.titles[pk], self.sources[pk]

    def _change(self, sql: str, params: list[Any], look: Any = None) -> bool:
        session = self.session
        session.execute("BEGIN")
        try:
            session.execute(sql, params)
            if look is not None:
                look()
            session.execute("COMMIT")
        except DatabaseError as exc:
            session.execute("ROLLBACK")
            self.refused.append(f"{sql.split()[0]}: {exc}")
            return False
        self.done += 1
        return True

    def _has_slug(self, pk: int) -> bool:
        with self.session.connection.cursor() as cursor:
            cursor.execute("SELECT * FROM films_movie WHERE id = %s", [pk])
            names = [column[0] for column in cursor.description]
            row = dict(zip(names, cursor.fetchone(), strict=True))
        return row.get("slug") is not None

    def get_expected(self) -> list[tuple[int, str, str]]:
        """Return the rows as they must be: key, title and slug."""
        return [
            (pk, title, make_slug(pk, self.sources[pk]))
            for pk, title in sorted(self.titles.items())
        ]


def make_slug(pk: int, title: str) -> str:
    """Return the slug of a row."""
    return f"{title.lower().replace(' ', '-')}-{pk}"


def populate_slug(movie: Any) -> str:
    """Return the slug of a row, as a populate function."""
    return make_slug(movie.pk, movie.title)


def add_slug(
    populate: Callable[[Any], str] = populate_slug, **options: Any
) -> AddFieldWithBackfill:
    """Return the operation that all these tests run."""
    field = models.SlugField(unique=True, max_length=80)
    return AddFieldWithBackfill("Movie", "slug", field, populate, **options)


def get_rows(history: History) -> list[tuple[Any, ...]]:
    """Return key, title and slug of each row."""
    return values(history, "id", "title", "slug")


class At:
    """
    Populate, which does something once, at the row with this key.

    Args:
        pk: Key of the row.
        action: Called without arguments, while the row's batch is locked.
    """

    def __init__(self, pk: int, action: Callable[[], object]) -> None:
        self.pk = pk
        self.action = action
        # The first call is that of preflight, which locks nothing.
        self.calls = 0

    def __call__(self, movie: Any) -> str:
        if movie.pk == self.pk:
            self.calls += 1
            if self.calls == 2:
                self.action()
        return populate_slug(movie)
