"""MySQL and MariaDB alter a table beside its writers; where they cannot, it is said."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.sessions import Session
from tests.support.titles import create

pytestmark = [pytest.mark.newest, pytest.mark.edges]

STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True))]
)


@pytest.fixture
def history(mysql_alias: str) -> History:
    return History(mysql_alias)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """Return a function that returns what was said of writers that wait."""
    caplog.set_level(logging.INFO, "safefield")
    return lambda: [line for line in caplog.messages if "nobody can write" in line]


class Statements:
    """The statements that change the table, and those that the server refused."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, execute: Any, sql: Any, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if str(sql).startswith(("ALTER TABLE", "CREATE INDEX")):
            self.done.append(str(sql))
        return result


def copies_beside_writers(history: History) -> bool:
    """Return whether the server lets others write also while it copies a table."""
    connection: Any = history.connection
    return bool(connection.mysql_is_mariadb and connection.mysql_version >= (11, 2))


def test_writers_go_on(history: History, said: Any) -> None:
    """Fails if a statement does not ask the server to let others write."""
    history.apply(STUDIO)
    create(history)
    history.rows("Studio").create(id=1)
    statements = Statements()

    with history.connection.execute_wrapper(statements):
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "studio",
                models.ForeignKey("films.Studio", models.CASCADE),
                lambda movie: 1,
            ),
            AddFieldWithBackfill(
                "Movie",
                "code",
                models.CharField(max_length=80, db_index=True),
                lambda movie: movie.title,
            ),
        )

    assert [sql.partition(" CONSTRAINT")[0] for sql in statements.done] == [
        "ALTER TABLE `films_movie` ADD COLUMN `studio_id` bigint NULL, LOCK=NONE",
        "ALTER TABLE `films_movie` ADD",
        "ALTER TABLE `films_movie` MODIFY `studio_id` bigint NOT NULL, LOCK=NONE",
        "ALTER TABLE `films_movie` ADD COLUMN `code` varchar(80) NULL, LOCK=NONE",
        "ALTER TABLE `films_movie` MODIFY `code` varchar(80) NOT NULL, LOCK=NONE",
        "CREATE INDEX `films_movie_code_ba984d94` ON `films_movie` (`code`) LOCK=NONE",
    ]
    assert all(sql.endswith("LOCK=NONE") for sql in statements.done)
    assert said() == []


def test_column_comes_in_an_instant(history: History) -> None:
    """Fails if the table is made anew for a column with a foreign key."""
    if history.connection.mysql_is_mariadb:
        pytest.skip("MariaDB does not say how a column came")
    history.apply(STUDIO)
    create(history)
    history.rows("Studio").create(id=1)
    versions: list[int] = []

    def populate(movie: Any) -> int:
        with history.connection.cursor() as cursor:
            cursor.execute(
                "SELECT TOTAL_ROW_VERSIONS FROM information_schema.INNODB_TABLES "
                "WHERE NAME = CONCAT(DATABASE(), '/films_movie')"
            )
            versions.append(cursor.fetchone()[0])
        return 1

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            populate,
        )
    )

    # Of the rows that are tried, and of those that are filled.
    assert set(versions) == {0, 1}


def test_says_where_a_text_is_searched(history: History, said: Any) -> None:
    """Fails if nobody is told that writers wait, or for each statement anew."""
    create(history)
    history.execute("ALTER TABLE films_movie ADD FULLTEXT (title)")
    reason = (
        "Fulltext index creation requires a lock"
        if history.connection.mysql_is_mariadb
        else "InnoDB presently supports one FULLTEXT index creation at a time"
    )

    history.apply(
        AddFieldWithBackfill(
            "Movie", "code", models.CharField(max_length=80), lambda movie: movie.title
        )
    )

    # Once to add the column, and once to make it required.
    expected = (
        "films.Movie.code: nobody can write to table films_movie until the server has "
        f"altered it ({reason})."
    )
    assert said() == ([] if copies_beside_writers(history) else [expected, expected])
    assert list(history.rows("Movie").values_list("code", flat=True)) == [
        f"Film {n}" for n in range(1, 7)
    ]


def test_says_where_a_type_has_a_check(history: History, said: Any) -> None:
    """Fails if nobody is told that MySQL copies the table for the check."""
    create(history)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "number", models.PositiveIntegerField(), lambda movie: movie.pk
        )
    )

    expected = [
        "films.Movie.number: nobody can write to table films_movie until the server "
        "has altered it (COPY algorithm requires a lock)."
    ]
    assert said() == ([] if history.connection.mysql_is_mariadb else expected)


def test_says_where_a_type_changes(history: History, said: Any) -> None:
    """Fails if nobody is told that the table is copied for another type."""
    create(history, ("number", models.IntegerField(null=True)))
    is_mariadb = history.connection.mysql_is_mariadb
    how = "" if is_mariadb else " INPLACE"
    expected = [
        "films.Movie.number: nobody can write to table films_movie until the server "
        f"has altered it (Cannot change column type{how})."
    ]
    if copies_beside_writers(history):
        expected = []

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "number", models.BigIntegerField(), lambda movie: movie.pk
        )
    )

    assert said() == expected


def get_foreign_keys(history: History) -> list[Any]:
    with history.connection.cursor() as cursor:
        found = history.connection.introspection.get_constraints(cursor, "films_movie")
    return [key["foreign_key"] for key in found.values() if key["foreign_key"]]


def test_value_that_leads_nowhere_comes_before_the_foreign_key(
    history: History,
) -> None:
    """Fails if what came before the constraint is not looked at, or if it stays."""
    history.apply(STUDIO)
    loose = models.ForeignKey(
        "films.Studio", models.CASCADE, null=True, db_constraint=False
    )
    create(history, ("studio", loose))
    history.rows("Studio").create(id=1)
    movies = history.rows("Movie")
    came: list[int] = []

    def insert(execute: Any, sql: Any, *rest: Any) -> Any:
        if "FOREIGN KEY" in str(sql) and not came:
            came.append(5)
            with Session(history.connection) as other:
                other.execute(
                    "INSERT INTO films_movie (id, title, studio_id) VALUES (5, 'x', 9)"
                )
        return execute(sql, *rest)

    alter = AlterFieldWithBackfill(
        "Movie",
        "studio",
        models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: 1,
    )
    with (
        pytest.raises(BackfillError) as caught,
        history.connection.execute_wrapper(insert),
    ):
        history.apply(alter)

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (
            5,
            "there is no films.Studio with this key, and this value was there before",
        )
    ]
    assert get_foreign_keys(history) == []
    assert list(movies.order_by("pk").values_list("studio_id", flat=True)) == [
        9,
        *[1] * 6,
    ]

    movies.filter(pk=5).update(studio_id=1)
    history.apply(alter)

    assert get_foreign_keys(history) == [("films_studio", "id")]
