"""What populate does beside the rows is undone while it is only tried."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

import pytest
from django.db import connections, migrations, models, transaction

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support import servers
from tests.support.history import History
from tests.support.rehearsals import create, rehearse

LOG = migrations.CreateModel(
    "Log",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("text", models.CharField(max_length=20)),
    ],
)


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create(history, *[f"Film {n}" for n in range(20)])
    return history


@pytest.fixture(params=list(servers.LABELS), ids=list(servers.LABELS.values()))
def log(request: pytest.FixtureRequest, alias: str) -> History:
    """Return a history with a table of log lines, on another database."""
    if request.param == alias or servers.find_servers()[request.param].settings is None:
        pytest.skip("another database is wanted")
    history = History(request.param)
    history.apply(LOG)
    return history


def count(history: History) -> int:
    """Return how many lines another session finds in the log."""
    history.connection.close()
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM films_log")
        return int(cursor.fetchone()[0])


def adding(populate: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        "Movie", "label", models.CharField(max_length=40), populate
    )


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("way", ["plain", "in a block"])
def test_another_database(
    history: History, log: History, way: str, is_open: bool
) -> None:
    # Fails if preflight or rehearsal leave the connections of other aliases alone.
    lines = log.model("Log").objects.using(log.connection.alias)

    def populate(movie: Any) -> str:
        if way == "plain":
            lines.bulk_create([log.model("Log")(text=movie.title)])
        else:
            with transaction.atomic(using=log.connection.alias):
                lines.create(text=movie.title)
        return f"{movie.title}: {lines.count()}"

    if not is_open:
        log.connection.close()

    rehearsal = rehearse(history, adding(populate))

    assert rehearsal.error is None
    assert rehearsal.writes
    assert count(log) == 0
    if not is_open:
        log.connection.close()
    history.apply(adding(populate))
    assert count(log) == 20
    assert log.connection.get_autocommit()
    assert list(history.rows("Movie").values_list("label", flat=True)) == [
        f"Film {n}: {n + 1}" for n in range(20)
    ]


def test_what_a_function_remembers(history: History) -> None:
    """Fails if it creates objects that are gone again: it remembers their keys."""
    objects = history.rows("Studio")

    @functools.cache
    def get_studio(name: str) -> Any:
        return objects.get_or_create(name=name)[0].pk

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            # The names of the first rows come again behind them, in another order.
            lambda movie: get_studio(f"Studio {movie.pk * 7 % 10}"),
        )
    )

    rows = history.rows("Movie").values_list("pk", "studio__name")
    assert list(rows) == [(pk, f"Studio {pk * 7 % 10}") for pk, _ in rows]


def test_a_connection_of_its_own(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    # Fails if a connection that a thread opens is not noticed.
    alias = history.connection.alias

    def ask() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
        connections[alias].close()

    def populate(movie: Any) -> str:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return str(movie.title)

    with caplog.at_level(logging.WARNING, "safefield"):
        rehearsal = rehearse(history, adding(populate))
        caplog.clear()
        history.apply(adding(populate))

    assert rehearsal.notes == [
        f"populate() opened a connection of its own to the {alias!r} database: what it "
        f"may have written through it stays."
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"populate() opened a connection of its own to the {alias!r} database while it "
        f"was tried on the first rows. What it may have written through it stays."
    ]


def test_statement_that_commits(mysql_alias: str) -> None:
    # Fails if a statement that commits is let through: the table is there then.
    history = History(mysql_alias)
    create(history, "a", "b")

    def populate(movie: Any) -> str:
        with history.connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS films_cache (id integer)")
        return str(movie.title)

    rehearsal = rehearse(history, adding(populate))
    with pytest.raises(BackfillError) as caught:
        history.apply(adding(populate))

    message = (
        "films.Movie.label cannot be filled. populate() failed for both rows it "
        "was tried on:\n"
        "  2 rows: populate() raised NotSupportedError: CREATE TABLE ends the "
        "transaction and cannot be undone (pk 1, 2)\n"
        "Nothing was changed. Fix populate(), then run migrate again."
    )
    assert str(rehearsal.error) == message
    assert str(caught.value) == message
    with history.connection.cursor() as cursor:
        tables = history.connection.introspection.table_names(cursor)
    assert "films_cache" not in tables
