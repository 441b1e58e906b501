"""On an empty table: what AddField does, soon, and every promise kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, migrations, models, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from safefield.backends.base.locks import Locks
from safefield.backends.mysql.locks import MySQLLocks
from safefield.operations import AddFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.fields import FIELDS
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, on_servers
from tests.support.movies import MOVIE, STUDIO, create_movies
from tests.support.sessions import Session

#: Queries by alias and by whether the migration is atomic, BEGIN and COMMIT included.
QUERIES = {
    "default": {False: 23, True: 25},
    "postgresql": {False: 8, True: 6},
    "mariadb": {False: 7, True: 7},
    # It has no LOCK TABLES … WAIT: its limit is set before and put back after.
    "mysql": {False: 10, True: 10},
}

#: The last moment at which somebody can come between the look and the change.
CHANGES = ("LOCK TABLES", "SET LOCAL")


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(STUDIO, MOVIE)
    return history


@pytest.fixture
def other(alias: str) -> Iterator[Session]:
    with Session(History(alias).connection) as session:
        yield session


@pytest.mark.parametrize("case", FIELDS)
def test_ends_as_django_would_have_made_it(history: History, case: str) -> None:
    field, populate, _ = FIELDS[case]
    fields = [*MOVIE.fields, ("extra", field.clone())]
    before = history.describe("Movie")

    history.apply(AddFieldWithBackfill("Movie", "extra", field, populate))
    history.apply(type(MOVIE)("Twin", fields))

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )
    history.unapply()
    history.unapply()
    assert history.describe("Movie") == before


def test_number_of_queries(history: History) -> None:
    expected = QUERIES[history.connection.alias][history.atomic]
    for name in ("slug", "other_slug"):
        field = models.SlugField(max_length=50, unique=True)

        with CaptureQueriesContext(history.connection) as queries:
            history.apply(AddFieldWithBackfill("Movie", name, field, str))

        assert len(queries) == expected


def test_a_column_that_is_there_is_made_final(history: History) -> None:
    operation = add_slug()
    history.apply(operation)
    expected = history.describe("Movie")
    history.unapply()
    left_behind = models.SlugField(max_length=operation.field.max_length, null=True)
    left_behind.db_index = False
    history.apply(
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AddField("Movie", "slug", left_behind)]
        )
    )

    history.apply(operation)

    assert history.describe("Movie") == expected


@on_servers
def test_row_inserted_after_the_look(alias: str, other: Session) -> None:
    history = History(alias)
    create_movies(history, 0)
    inserted: list[str] = []

    def insert(execute: Any, sql: Any, *rest: Any) -> Any:
        if sql.startswith(CHANGES) and not inserted:
            inserted.append(sql)
            other.execute("INSERT INTO films_movie (title, year) VALUES ('Late', 2000)")
        return execute(sql, *rest)

    with history.connection.execute_wrapper(insert):
        history.apply(add_slug())

    assert get_rows(history) == [(1, "Late", "late-1")]


@on_servers
def test_waits_only_shortly_for_a_report(
    alias: str, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(alias)
    create_movies(history, 0)
    waits = get_waits(history)
    history.apply(add_slug())
    expected = history.describe("Movie")
    history.unapply()
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.execute("COMMIT")

    monkeypatch.setattr(Locks, "sleep", staticmethod(pause))
    other.execute("BEGIN")
    other.fetch("SELECT COUNT(*) FROM films_movie")

    history.apply(add_slug())

    assert len(pauses) == 1
    assert history.describe("Movie") == expected
    assert get_waits(history) == waits


def get_waits(history: History) -> Any:
    """Return how long the session waits for locks."""
    sql = {
        "postgresql": "SHOW lock_timeout",
        "mysql": "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout",
    }
    with history.connection.cursor() as cursor:
        cursor.execute(sql[history.connection.vendor])
        return cursor.fetchone()


def test_mysql_has_no_clause_for_the_wait(
    mysql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mysql_alias)
    create_movies(history, 0)
    with Session(history.connection) as session:
        monkeypatch.setattr(session.connection, "mysql_is_mariadb", False)
        locks = MySQLLocks(session.connection, plan=None)
        before = session.fetch("SELECT @@SESSION.lock_wait_timeout")

        with locks.whole_tables(["films_movie"]):
            inside = session.fetch("SELECT @@SESSION.lock_wait_timeout")

        assert inside == [(1,)]
        assert session.fetch("SELECT @@SESSION.lock_wait_timeout") == before


def test_a_callers_transaction_is_not_committed(mysql_alias: str) -> None:
    history = History(mysql_alias)
    create_movies(history, 0)

    with (
        pytest.raises(TransactionManagementError),
        transaction.atomic(using=mysql_alias),
    ):
        history.rows("Studio").create(name="Ufa")
        history.apply(add_slug())

    assert not history.rows("Studio").exists()


@pytest.fixture
def separate_statements(
    postgresql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """The statements that a schema editor like that of django-multitenant gets."""
    connection: Any = connections[postgresql_alias]
    statements: list[str] = []

    class Editor(connection.SchemaEditorClass):  # type: ignore[misc, name-defined] # known at run time
        sql_create_column_inline_fk = None

        def execute(self, sql: Any, params: Any = ()) -> None:
            if not self.collect_sql:
                statements.append(str(sql))
            super().execute(sql, params)

    monkeypatch.setattr(connection, "SchemaEditorClass", Editor)
    yield statements


def test_an_editor_that_executes_gets_each_statement(
    postgresql_alias: str, separate_statements: list[str]
) -> None:
    history = History(postgresql_alias)
    create_movies(history, 0)
    del separate_statements[:]

    history.apply(add_slug())

    assert [sql.partition(" ")[0] for sql in separate_statements] == [
        "LOCK",
        "ALTER",
        "CREATE",
    ]


@pytest.mark.usefixtures("separate_statements")
def test_a_key_that_was_to_come_behind_the_column_comes_once(
    postgresql_alias: str,
) -> None:
    """The column of a run that was stopped is there already."""
    history = History(postgresql_alias)
    create_movies(history, 0)
    key = models.ForeignKey("films.Studio", models.CASCADE)
    operation = AddFieldWithBackfill("Movie", "studio", key, lambda movie: 1)
    history.apply(operation)
    expected = history.describe("Movie")
    history.unapply()
    with history.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE films_movie ADD COLUMN studio_id bigint NULL")

    history.apply(operation)

    found = history.describe("Movie")
    assert len(found["foreign_keys"]) == 1
    assert found["columns"] == expected["columns"]


@pytest.fixture
def prepares_everything(postgresql_alias: str) -> Iterator[str]:
    """Return an alias whose statements are all prepared by the server."""
    connection = connections[postgresql_alias]
    pytest.importorskip("psycopg", reason="psycopg2 prepares nothing")
    options = {"server_side_binding": True, "prepare_threshold": 0}
    connection.close()
    connection.settings_dict["OPTIONS"].update(options)
    yield postgresql_alias
    connection.close()
    for name in options:
        del connection.settings_dict["OPTIONS"][name]


def test_statements_are_prepared_one_by_one(prepares_everything: str) -> None:
    history = History(prepares_everything)
    create_movies(history, 0)

    history.apply(add_slug())

    history.rows("Movie").create(title="Late", year=2000, slug="late-1")
    assert get_rows(history) == [(1, "Late", "late-1")]
