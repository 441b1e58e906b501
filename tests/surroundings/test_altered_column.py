"""What somebody made by hand on the very column that is altered."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, migrations, models, transaction

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.movies import MOVIE

CODE = models.CharField(max_length=9, null=True)


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(MOVIE, migrations.AddField("Movie", "code", CODE))
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(movie(title=str(n), year=n) for n in range(3))
    return history


def refuses(history: History, code: str) -> bool:
    """Return whether the database refuses a code for a row."""
    try:
        with transaction.atomic(history.connection.alias):
            history.rows("Movie").filter(pk=1).update(code=code)
            transaction.set_rollback(True, history.connection.alias)
    except DatabaseError:
        return True
    return False


SQLITE_TABLE = """CREATE TABLE films_movie (
    id integer PRIMARY KEY AUTOINCREMENT, title varchar(200), year integer,
    code varchar(9) CONSTRAINT odd CHECK (code <> 'x)') CHECK (length(code) < 5)
)"""


def test_check(history: History) -> None:
    """Fails if the check goes with the definition of the column."""
    with history.connection.cursor() as cursor:
        if history.connection.vendor == "sqlite":
            cursor.execute("DROP TABLE films_movie")
            cursor.execute(SQLITE_TABLE)
            cursor.execute("INSERT INTO films_movie (title, year) VALUES ('1', 1)")
        elif history.connection.vendor == "mysql":
            cursor.execute(
                "ALTER TABLE films_movie MODIFY code varchar(9) "
                "CHECK (code <> 'x)' AND char_length(code) < 5)"
            )
        else:
            cursor.execute(
                "ALTER TABLE films_movie ADD CHECK (code <> 'x)'), "
                "ADD CHECK (length(code) < 5)"
            )
    operation = AlterFieldWithBackfill(
        "Movie",
        "code",
        models.CharField(max_length=9, unique=True),
        lambda movie: str(movie.pk),
    )

    def assert_checked(apps: Any = None, editor: Any = None) -> None:
        assert [refuses(history, code) for code in ("x)", "12345", "ok")] == [
            True,
            True,
            False,
        ]

    assert_checked()
    history.apply(operation)
    assert_checked()
    history.unapply()
    assert_checked()
    assert history.describe("Movie")["columns"]["code"]["null"] is True


def test_check_in_the_place_of_djangos(mariadb_alias: str) -> None:
    """Fails if the check of a positive integer takes the place of one by hand."""
    history = History(mariadb_alias)
    history.apply(MOVIE)
    with history.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE films_movie MODIFY year integer CHECK (year < 9)")
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "year", models.PositiveIntegerField(), lambda movie: 1
            )
        )

    assert str(caught.value) == (
        "films.Movie.year cannot be altered: its column has a check that somebody made "
        "by hand, `year` < 9, and gets one of Django's. MariaDB has one for each "
        "column. Make it a check of the table, then run migrate again. Nothing was "
        "changed."
    )
    assert history.describe("Movie") == before
