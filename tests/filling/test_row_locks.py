"""What a backfill locks, and how long it waits for what others have locked."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, migrations, models
from django.db.models import F
from django.db.models.functions import Lower

import safefield
from safefield import BackfillError
from safefield.backends.base import locks, retries
from safefield.filling import attempts
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.family import FAMILY
from tests.support.history import History
from tests.support.ledger import NO_WAITING, At, add_slug, on_servers, populate_slug
from tests.support.movies import create_movies, values
from tests.support.sessions import Session

pytestmark = on_servers

#: How long the session waits for a lock.
WAITS = {
    "postgresql": "SELECT current_setting('lock_timeout')",
    "mysql": "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout",
}

#: Statements that may have to wait for others, and what they are called here. On
#: PostgreSQL a batch of the fill waits for nobody: it passes over locked rows.
LOCKING = {
    "rebuild": re.compile(r"ALTER TABLE \S+ MODIFY .* NOT NULL"),
    "table": re.compile(r"ALTER TABLE (?!.* VALIDATE )"),
    "rows": re.compile(r"SELECT .* FOR (NO KEY )?UPDATE(?!.* SKIP)|UPDATE "),
}


@pytest.fixture
def history(alias: str) -> History:
    return History(alias)


@pytest.fixture
def other(history: History) -> Iterator[Session]:
    """A session that gives up at once what somebody else has locked."""
    with Session(history.connection) as session:
        session.execute(NO_WAITING[session.vendor])
        yield session


class WaitWatch:
    """Asks the server, before each statement that locks, how long it may wait."""

    def __init__(self, history: History) -> None:
        self.sql = WAITS[history.connection.vendor]
        self.found: dict[str, set[Any]] = {}

    def __call__(self, execute: Any, sql: Any, params: Any, *rest: Any) -> Any:
        text = str(sql)
        kind = next((k for k, pattern in LOCKING.items() if pattern.match(text)), None)
        if kind is not None:
            # Past Django, so that nobody is asked about this question.
            with rest[-1]["connection"].connection.cursor() as cursor:
                cursor.execute(self.sql)
                self.found.setdefault(kind, set()).add(cursor.fetchone())
        return execute(sql, params, *rest)


def insert_late(history: History, *, is_tried_first: bool = True) -> At:
    """Return a populate; a row comes in behind it, for which the sweep comes back."""

    def insert() -> None:
        with Session(history.connection) as session:
            session.execute(
                "INSERT INTO films_movie (id, title, year) VALUES (-1, 'Late', 1999)"
            )

    populate = At(3, insert)
    populate.calls = 0 if is_tried_first else 1
    return populate


OPERATIONS: dict[str, Callable[[History], Any]] = {
    "function": lambda history: add_slug(insert_late(history), batch_size=3),
    "deduplicate": lambda history: add_slug(
        lambda movie: "same", deduplicate=safefield.numbered, batch_size=3
    ),
    "expression": lambda history: AddFieldWithBackfill(
        "Movie", "slug", models.CharField(max_length=200), Lower(F("title"))
    ),
    "alteration": lambda history: AlterFieldWithBackfill(
        "Movie",
        "note",
        models.CharField(max_length=90, unique=True),
        insert_late(history, is_tried_first=False),
        # Sized by time, a batch may be one row. Its UPDATE needs no limit: the row is
        # locked.
        batch_size=3,
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_wait_is_long(history: History, name: str) -> None:
    """
    Fails if a limit is gone, also on the way back, or ten times as large.

    The rebuild of MariaDB takes a lock once more at its end, and may wait a little
    longer, so as not to lose its work.
    """
    create_movies(history, 9)
    history.apply(
        migrations.AddField(
            "Movie", "note", models.CharField(max_length=80, null=True, db_index=True)
        )
    )
    watch = WaitWatch(history)

    with history.connection.execute_wrapper(watch):
        history.apply(OPERATIONS[name](history))
        history.unapply()

    expected: dict[str, dict[str, set[Any]]] = {
        "postgresql": {"table": {("50ms",)}, "rows": {("50ms",)}},
        "mysql": {"table": {(1, 1)}, "rows": {(1, 1)}, "rebuild": {(5, 5)}},
    }
    assert watch.found == expected[history.connection.vendor]


def test_no_wait_is_long_where_rows_are_emptied(history: History) -> None:
    """Fails if rows that were refused are locked without a limit."""
    create_movies(history, 9)
    watch = WaitWatch(history)

    with (
        pytest.raises(BackfillError, match="these are NULL again"),
        history.connection.execute_wrapper(watch),
    ):
        history.apply(add_slug(lambda movie: "same"))

    expected = {"postgresql": {("50ms",)}, "mysql": {(1, 1)}}
    assert watch.found["rows"] == expected[history.connection.vendor]


#: What an operation may set for its own statements, or for its transactions.
SETTINGS = {
    "postgresql": "SELECT current_setting('lock_timeout'), "
    "current_setting('session_replication_role')",
    "mysql": "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout, "
    "@@foreign_key_checks, @@sql_mode, @@autocommit",
}


@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
def test_the_session_is_as_before(history: History, fails: bool) -> None:
    """Fails if a setting is left behind, for the rest of migrate or for others."""
    create_movies(history, 9)
    history.rows("Studio").bulk_create([history.model("Studio")(pk=1, name="A")])
    studio = models.ForeignKey("films.Studio", models.CASCADE)
    operation = AddFieldWithBackfill(
        "Movie",
        "studio",
        studio,
        # Not in the first rows, so that the column is there when it fails.
        lambda movie: None if fails and movie.pk == 9 else 1,
    )
    sql = SETTINGS[history.connection.vendor]

    def ask() -> Any:
        with history.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    before = ask()
    if fails:
        with pytest.raises(BackfillError):
            history.apply(operation)
    else:
        history.apply(operation)

    assert ask() == before


def test_a_row_that_is_locked_when_the_sweep_begins(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the sweep passes over locked rows, or waits for them without end."""
    create_movies(history, 7)
    pauses: list[float] = []
    is_locked = False

    def lock(execute: Any, sql: Any, *rest: Any) -> Any:
        nonlocal is_locked
        if "SKIP LOCKED" in str(sql) and not is_locked:
            is_locked = True
            other.execute("BEGIN")
            other.fetch("SELECT 1 FROM films_movie WHERE id = 5 FOR UPDATE")
        return execute(sql, *rest)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.execute("COMMIT")

    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(pause))
    field = models.CharField(max_length=80, null=True)

    with history.connection.execute_wrapper(lock):
        history.apply(
            AddFieldWithBackfill("Movie", "slug", field, populate_slug, batch_size=3)
        )

    assert len(pauses) == 1
    assert values(history, "slug") == [f"film-number-{n}-{n + 1}" for n in range(7)]


def test_gives_up_on_a_row_that_others_hold(
    history: History, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if nobody says who holds a row at each try."""
    create_movies(history, 7)
    # As long as on a real site, a test cannot wait.
    monkeypatch.setattr(attempts, "BATCH", retries.Patience(2, 0.0, 0.0))
    monkeypatch.setattr(locks.Locks, "sleep", staticmethod(lambda seconds: None))
    is_locked = False

    def lock(execute: Any, sql: Any, *rest: Any) -> Any:
        nonlocal is_locked
        if "SKIP LOCKED" in str(sql) and not is_locked:
            is_locked = True
            other.execute("BEGIN")
            other.fetch("SELECT 1 FROM films_movie WHERE id = 5 FOR UPDATE")
        return execute(sql, *rest)

    with (
        history.connection.execute_wrapper(lock),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug())

    session = {
        "postgresql": f"process {other.pid} (no application name), idle in "
        "transaction, in a transaction for N s, holds RowShareLock: "
        "SELECT 1 FROM films_movie WHERE id = 5 FOR UPDATE",
        "mysql": f"connection {other.pid} (Sleep), in a transaction for N s",
    }[other.vendor]
    assert re.sub(r"for \d+ s", "for N s", str(caught.value)) == (
        "films.Movie.slug: could not lock table films_movie, because other "
        "sessions held locks on it at each try. "
        f"Sessions that hold locks on it:\n  {session}\n"
        "Wait for them or end them, then run migrate again to resume."
    )
    other.execute("COMMIT")

    history.apply(add_slug())

    assert values(history, "slug") == [f"film-number-{n}-{n + 1}" for n in range(7)]


def test_old_code_may_update_a_row_that_came_during_the_fill(
    history: History, other: Session
) -> None:
    """Fails if it has no value when the check before NOT NULL stands."""
    if other.vendor != "postgresql":
        pytest.skip("MariaDB has no such check")
    create_movies(history, 5)
    statements: list[str] = []
    updated: list[str] = []

    def update(execute: Any, sql: Any, *rest: Any) -> Any:
        # Once the check is committed, and before anything else is done.
        if statements and "IS NOT NULL) NOT VALID" in statements[-1]:
            updated.append("Again")
            other.execute("UPDATE films_movie SET title = 'Again' WHERE id = -1")
        statements.append(str(sql))
        return execute(sql, *rest)

    with history.connection.execute_wrapper(update):
        # The page in which it came is a whole one, so that the fill does not come back.
        history.apply(add_slug(insert_late(history), batch_size=3))

    assert len(updated) == 1
    assert values(history, "title", "slug")[0] == ("Again", "late--1")


def test_a_row_that_is_renumbered_is_locked(history: History, other: Session) -> None:
    """Fails if the application can write between the second look and the writing."""
    create_movies(history, 3)
    refused: list[DatabaseError] = []

    def write(execute: Any, sql: Any, params: Any, *rest: Any) -> Any:
        if "UPDATE" in str(sql) and "same-2" in str(params) and not refused:
            with pytest.raises(DatabaseError) as caught:
                other.execute("UPDATE films_movie SET slug = 'mine' WHERE id = 2")
            refused.append(caught.value)
        return execute(sql, params, *rest)

    with history.connection.execute_wrapper(write):
        history.apply(add_slug(lambda movie: "same", deduplicate=safefield.numbered))

    assert len(refused) == 1
    assert values(history, "slug") == ["same", "same-2", "same-3"]


def test_a_row_that_was_written_meanwhile_is_not_renumbered(
    history: History, other: Session
) -> None:
    """Fails if nobody looks again whether it is as it was found."""
    create_movies(history, 3)
    written: list[str] = []

    def write(execute: Any, sql: Any, *rest: Any) -> Any:
        # The second look of the renumbering, which locks its rows.
        is_look = str(sql).startswith("SELECT") and LOCKING["rows"].match(str(sql))
        if is_look and not written:
            written.append(str(sql))
            other.execute("UPDATE films_movie SET slug = 'mine' WHERE id = 2")
        return execute(sql, *rest)

    with history.connection.execute_wrapper(write):
        history.apply(
            add_slug(lambda movie: "same", deduplicate=safefield.numbered, batch_size=9)
        )

    assert values(history, "slug")[1] == "mine"


def test_few_rows_are_renumbered_together(history: History) -> None:
    """Fails if thousands are locked in one transaction."""
    create_movies(history, 1_101)
    locked: list[int] = []

    def count(execute: Any, sql: Any, params: Any, *rest: Any) -> Any:
        if LOCKING["rows"].match(str(sql)) and str(sql).startswith("SELECT"):
            locked.append(len(params))
        return execute(sql, params, *rest)

    with history.connection.execute_wrapper(count):
        history.apply(add_slug(lambda movie: "same", deduplicate=safefield.numbered))

    assert locked == [500, 500, 100]


@pytest.mark.parametrize(
    ("field", "keys", "first"),
    [
        (
            models.UUIDField(primary_key=True),
            [uuid.UUID(int=n) for n in range(11, 18)],
            uuid.UUID(int=1).hex,
        ),
        (models.CharField(max_length=9, primary_key=True), "bcdefgh", "a"),
    ],
    ids=["uuid", "text"],
)
def test_keys_that_do_not_grow(
    history: History, other: Session, field: Any, keys: Any, first: str
) -> None:
    """Fails if no look at the end finds the rows that came in before the fill."""
    history.apply(
        migrations.CreateModel(
            "Movie", [("id", field), ("year", models.IntegerField())]
        )
    )
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=key, year=number) for number, key in enumerate(keys)
    )

    inserted: list[str] = []

    def populate(movie: Any) -> int:
        # In the last batch, which preflight does not see.
        if movie.year == 6 and not inserted:
            inserted.append(first)
            other.execute("INSERT INTO films_movie (id, year) VALUES (%s, 7)", inserted)
        return int(movie.year)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "rank", models.IntegerField(null=True), populate, batch_size=3
        )
    )

    assert values(history, "rank") == [7, 0, 1, 2, 3, 4, 5, 6]


def test_a_child_may_be_inserted_meanwhile(history: History, other: Session) -> None:
    """Fails if PostgreSQL is asked for FOR UPDATE, for which foreign keys wait."""
    if other.vendor != "postgresql":
        pytest.skip("InnoDB lets nobody refer to a row that is locked for writing")
    create_movies(history, 5)
    movie = models.ForeignKey("films.Movie", models.CASCADE)
    history.apply(
        migrations.CreateModel(
            "Review", [("id", models.BigAutoField(primary_key=True)), ("movie", movie)]
        )
    )

    def insert() -> None:
        other.execute("INSERT INTO films_review (movie_id) VALUES (3)")

    history.apply(add_slug(At(3, insert)))

    assert list(history.rows("Review").values_list("movie", flat=True)) == [3]


def test_what_a_row_is_related_to_is_not_locked(
    history: History, other: Session
) -> None:
    """Fails if FOR UPDATE is not OF the table; PostgreSQL refuses it of outer joins."""
    if not history.connection.features.has_select_for_update_of:
        pytest.skip("MariaDB has no FOR UPDATE OF")
    create_movies(history, 5)
    studio = models.ForeignKey("films.Studio", models.CASCADE, null=True)
    history.apply(migrations.AddField("Movie", "studio", studio))
    owner = (
        history.model("Studio").objects.using(other.connection.alias).create(name="A")
    )
    history.rows("Movie").update(studio=owner.pk)

    def rename() -> None:
        other.execute("UPDATE films_studio SET name = 'B'")

    populate = At(3, rename)
    history.apply(
        add_slug(
            lambda movie: f"{populate(movie)}-{movie.studio.name}",
            select_related=["studio"],
        )
    )

    assert values(history, "slug")[2] == "film-number-2-3-A"
    assert list(history.rows("Studio").values_list("name", flat=True)) == ["B"]


@pytest.mark.parametrize("name", ["Movie", "Remake"])
def test_the_row_of_a_parent_is_locked(
    history: History, other: Session, name: str
) -> None:
    """Fails if only the child's table is: a new title would not come to the slug."""
    history.apply(*FAMILY)
    for title in "abc":
        model = history.model(name)
        model(title=title, year=1900).save(using=history.connection.alias)
    refused: list[DatabaseError] = []

    def rename() -> None:
        with pytest.raises(DatabaseError) as caught:
            other.execute("UPDATE films_work SET title = 'new' WHERE id = 2")
        refused.append(caught.value)

    slug = models.SlugField(unique=True)
    history.apply(AddFieldWithBackfill(name, "slug", slug, At(2, rename)))

    assert len(refused) == 1
    assert list(history.rows(name).values_list("title", "slug")) == [
        ("a", "a-1"),
        ("b", "b-2"),
        ("c", "c-3"),
    ]
