"""MariaDB: a trigger keeps rows without a value away while the table is rebuilt."""

from __future__ import annotations

import os
import signal
from functools import partial
from threading import Timer
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, migrations, models

import safefield
from safefield import BackfillError
from safefield.backends import get_backend
from safefield.backends.base.locks import Locks
from safefield.operations import AlterFieldWithBackfill
from tests.support.cleanup import reset_connection
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, populate_slug
from tests.support.movies import create_movies
from tests.support.old_code import OldCode
from tests.support.sessions import Session, get_pid

pytestmark = pytest.mark.edges


@pytest.fixture
def history(mysql_alias: str) -> History:
    history = History(mysql_alias)
    create_movies(history, 3)
    return history


def test_row_that_came_before_the_rebuild_is_filled(history: History) -> None:
    with history.connection.execute_wrapper(OldCode(history, 1)):
        history.apply(add_slug())

    assert get_rows(history) == [
        (1, "Film Number 0", "film-number-0-1"),
        (2, "Film Number 1", "film-number-1-2"),
        (3, "Film Number 2", "film-number-2-3"),
        (10, "Late", "late-10"),
    ]
    assert history.describe("Movie")["triggers"] == []


def refuse_trigger(number: int = 1142) -> None:
    raise OperationalError(number, "denied")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(1142, id="no TRIGGER"),
        pytest.param(1227, id="no SUPER"),
        pytest.param(1419, id="no SUPER and a binary log"),
    ],
)
def test_does_without_a_trigger_that_is_not_allowed(
    history: History, number: int
) -> None:
    """Fails if migrate ends with one of the errors of a user who may not create it."""
    old_code = OldCode(history, 2, before_trigger=partial(refuse_trigger, number))

    with history.connection.execute_wrapper(old_code):
        history.apply(add_slug())

    assert get_rows(history)[3:] == [(10, "Late", "late-10"), (11, "Late", "late-11")]


def test_old_code_hears_of_it_as_of_not_null(history: History) -> None:
    """Fails if what it gets is not the error that the column itself would raise."""
    errors: list[Any] = []

    def insert() -> None:
        with Session(history.connection) as other:
            with pytest.raises(IntegrityError) as caught:
                other.execute(
                    "INSERT INTO films_movie (id, title, year) VALUES (20, 'Old', 1)"
                )
            errors.append(caught.value.args)
            # As code does that knows the column.
            other.execute(
                "INSERT INTO films_movie (id, title, year, slug) "
                "VALUES (21, 'New', 1, 'new')"
            )

    old_code = OldCode(history, 1, after_trigger=insert)

    with history.connection.execute_wrapper(old_code):
        history.apply(add_slug())

    assert errors == [(1048, "Column 'slug' cannot be null")]


def test_a_row_that_cannot_be_filled_leaves_no_trigger(history: History) -> None:
    """Fails if old code cannot insert until the next run."""

    def populate(movie: Any) -> str:
        if movie.title == "Late":
            raise ValueError("not this one")
        return populate_slug(movie)

    with (
        history.connection.execute_wrapper(OldCode(history, 1)),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug(populate=populate))

    assert [row.pk for row in caught.value.rows] == [10]
    assert history.describe("Movie")["triggers"] == []


def test_an_error_that_is_about_no_null_is_told_as_it_is(history: History) -> None:
    """Fails if the rebuild is tried again, and the error hidden in the end."""
    tries: list[str] = []

    def fill_the_disk(execute: Any, sql: str, *rest: Any) -> Any:
        if "MODIFY `slug`" in sql and "NOT NULL" in sql:
            tries.append(sql)
            raise OperationalError(1114, "The table is full")
        return execute(sql, *rest)

    with (
        history.connection.execute_wrapper(fill_the_disk),
        pytest.raises(OperationalError, match="The table is full"),
    ):
        history.apply(add_slug())

    assert len(tries) == 1


def test_trigger_waits_for_a_report(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if it is not tried again: others have read the table, and go on soon."""
    pauses: list[float] = []

    with Session(history.connection) as other:

        def report() -> None:
            if not pauses:
                other.execute("BEGIN")
                other.fetch("SELECT COUNT(*) FROM films_movie")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.execute("COMMIT")

        monkeypatch.setattr(Locks, "sleep", staticmethod(pause))
        old_code = OldCode(history, 1, before_trigger=report)
        with history.connection.execute_wrapper(old_code):
            history.apply(add_slug())

    assert len(pauses) == 1
    assert get_rows(history)[3:] == [(10, "Late", "late-10")]


def test_trigger_in_another_database(history: History) -> None:
    """Fails if that is taken for the one of a run that was stopped here."""
    name = f"{history.connection.settings_dict['NAME']}_other"
    with history.connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            cursor.execute(
                f"CREATE TABLE {name}.films_movie "
                "(id int PRIMARY KEY, slug varchar(80))"
            )
            cursor.execute(
                f"CREATE TRIGGER {name}.guard BEFORE INSERT ON {name}.films_movie "
                "FOR EACH ROW BEGIN IF NEW.`slug` IS NULL THEN SIGNAL SQLSTATE '23000' "
                "SET MYSQL_ERRNO = 1048, MESSAGE_TEXT = 'theirs'; END IF; END"
            )
            history.apply(add_slug())
            history.unapply()
        finally:
            cursor.execute(f"DROP DATABASE {name}")

    assert len(history.rows("Movie")) == 3


def test_rows_that_share_a_value_keep_nobody_away(history: History) -> None:
    """They are looked for before a rebuild that would end in vain."""
    statements: list[str] = []

    def record(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql.partition(" ")[0] + " " + sql.split()[1])
        return execute(sql, *rest)

    with (
        history.connection.execute_wrapper(OldCode(history, 1)),
        history.connection.execute_wrapper(record),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug(populate=lambda movie: "same"))

    assert [row.pk for row in caught.value.rows] == [2, 3]
    assert "CREATE TRIGGER" not in statements
    assert history.describe("Movie")["triggers"] == []
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT id, slug FROM films_movie ORDER BY id")
        assert cursor.fetchall() == ((1, "same"), (2, None), (3, None), (10, None))


def test_rows_that_came_with_a_taken_value_are_numbered(history: History) -> None:
    """As those that were there before are, where the operation has deduplicate."""
    old_code = OldCode(history, 1)

    def take(execute: Any, sql: str, *rest: Any) -> Any:
        if "MODIFY `slug`" in sql and "NOT NULL" in sql and not old_code.inserted:
            with Session(history.connection) as other:
                other.execute(
                    "INSERT INTO films_movie (id, title, year, slug) "
                    "VALUES (5, 'New', 1, 'film-number-0-1')"
                )
        return execute(sql, *rest)

    with (
        history.connection.execute_wrapper(take),
        history.connection.execute_wrapper(old_code),
    ):
        history.apply(add_slug(deduplicate=safefield.numbered))

    assert get_rows(history) == [
        (1, "Film Number 0", "film-number-0-1"),
        (2, "Film Number 1", "film-number-1-2"),
        (3, "Film Number 2", "film-number-2-3"),
        (5, "New", "film-number-0-1-2"),
        (10, "Late", "late-10"),
    ]


def test_gives_up_where_rows_come_faster(history: History) -> None:
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE(), CURRENT_USER()")
        database, user = cursor.fetchone()
    user = user.replace("@", "'@'")
    old_code = OldCode(history, 100, before_trigger=refuse_trigger)

    with (
        history.connection.execute_wrapper(old_code),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug())

    assert str(caught.value) == (
        "films.Movie.slug: rows without a value came faster than they could be filled, "
        "5 times. Stop what writes them, or let this user create triggers (GRANT "
        f"TRIGGER ON `{database}`.* TO '{user}'), then run migrate again to "
        "resume."
    )

    history.apply(add_slug())

    assert len(get_rows(history)) == 8


def test_ctrl_c_in_the_middle_of_a_query_leaves_no_trigger(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails if the trigger is dropped over the connection that Ctrl-C has broken."""

    def populate(movie: Any) -> str:
        if movie.title == "Late":
            with history.connection.cursor() as cursor:
                timer = Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
                timer.start()
                cursor.execute("SELECT SLEEP(1)")
        return populate_slug(movie)

    with (
        history.connection.execute_wrapper(OldCode(history, 1)),
        pytest.raises(KeyboardInterrupt) as caught,
    ):
        history.apply(add_slug(populate))

    assert isinstance(caught.value, SystemExit)
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        "Stopped. 3 of 4 rows are filled and stay. Run migrate to resume, or "
        f"abandonbackfill --database {history.connection.alias} with this migration "
        "to undo.\n"
    )
    assert history.describe("Movie")["triggers"] == []
    with Session(history.connection) as other:
        other.execute("INSERT INTO films_movie (title, year) VALUES ('Old', 1)")


def test_next_run_drops_the_trigger_of_a_stopped_one(
    history: History, monkeypatch: Any
) -> None:
    stop_there(monkeypatch, history, add_slug())

    history.apply(add_slug())

    assert history.describe("Movie")["triggers"] == []
    assert get_rows(history)[3:] == [(10, "Late", "late-10")]


def test_way_back_drops_the_trigger_of_a_stopped_run(
    history: History, monkeypatch: Any
) -> None:
    before = history.describe("Movie")
    operation = add_slug()
    stop_there(monkeypatch, history, operation)
    state = history.state.clone()
    operation.state_forwards(history.app_label, state)

    with history.connection.schema_editor(atomic=False) as editor:
        operation.database_backwards(
            history.app_label, editor, state.clone(), history.state.clone()
        )

    assert history.describe("Movie") == before


def test_altered_field_with_the_trigger_is_not_restored(
    history: History, monkeypatch: Any
) -> None:
    slug = models.SlugField(max_length=80, null=True)
    history.apply(migrations.AddField("Movie", "slug", slug))
    before = history.describe("Movie")
    operation = AlterFieldWithBackfill(
        "Movie", "slug", models.SlugField(max_length=80), populate_slug
    )
    stop_there(monkeypatch, history, operation)
    state = history.state.clone()
    operation.state_forwards(history.app_label, state)
    plan = operation.make_plan(history.app_label, history.state.clone(), state)

    with history.connection.schema_editor(atomic=False) as editor:
        schema = get_backend(history.connection).schema(editor, plan)
        column = schema.catalogue.find_column()
        assert column is not None
        was_restored = schema.is_restored(column)
        schema.restore()

    assert was_restored is False
    assert history.describe("Movie") == before


def stop_there(monkeypatch: Any, history: History, operation: Any) -> None:
    """
    Run the operation, cut its connection once the trigger is there, and let nobody in.

    So the trigger stays, as after SIGKILL.
    """
    connection = history.connection
    settings = connection.settings_dict
    port = settings["PORT"]
    monkeypatch.setattr(Locks, "sleep", staticmethod(lambda seconds: None))
    with Session(connection) as other:
        pid = get_pid(connection)

        def cut() -> None:
            other.cut(pid)
            settings["PORT"] = "1"

        old_code = OldCode(history, 1, after_trigger=cut)
        with (
            connection.execute_wrapper(old_code),
            pytest.raises(BackfillError) as caught,
        ):
            history.apply(operation)
    settings["PORT"] = port
    reset_connection(connection)
    assert str(caught.value) == (
        "films.Movie.slug: the connection to the database was lost or closed. The rows "
        "that are filled stay. Run migrate again to resume. Trigger "
        "films_movie_slug_e73823af_notnull could not be dropped: until it is gone, "
        "table films_movie refuses each INSERT that leaves out column slug. Run "
        f"migrate to resume, or abandonbackfill --database {connection.alias} with "
        "this migration to undo: both drop it first."
    )
    assert history.describe("Movie")["triggers"] != []
