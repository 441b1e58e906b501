"""PostgreSQL behind PgBouncer, in each of its modes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import models
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.kills import make_site
from tests.support.ledger import add_slug, get_rows, populate_slug
from tests.support.movies import SLOW, create_movies, values
from tests.support.pgbouncer import PROGRAM, run_pgbouncer
from tests.support.sessions import CLAIMS, Session, wait_until

IS_REQUIRED = os.environ.get("SAFEFIELD_REQUIRE_PGBOUNCER") == "1"

pytestmark = pytest.mark.skipif(
    PROGRAM is None and not IS_REQUIRED,
    reason="PgBouncer is NOT TESTED: install the program pgbouncer",
)

#: The mode, whether connections are handed out in turn, and what the project says.
TRANSACTIONS = pytest.mark.parametrize(
    ("round_robin", "setting"), [(0, False), (1, False), (1, True)]
)


class Pooled:
    """
    A history over PgBouncer.

    Args:
        history: The history, over the pooler.
        direct: A session of the server itself.
    """

    def __init__(self, history: History, direct: Session) -> None:
        self.history = history
        self.direct = direct


@pytest.fixture
def pool(postgresql_alias: str, tmp_path: Path) -> Iterator[Any]:
    """Yield what puts a pooler of a mode in front of a database with 40 movies."""
    history = History(postgresql_alias)
    create_movies(history, 40)
    connection = history.connection
    with ExitStack() as stack:

        def start(mode: str, *, round_robin: int = 0, setting: bool = False) -> Pooled:
            direct = stack.enter_context(Session(connection))
            runner = run_pgbouncer(
                connection.settings_dict, mode, tmp_path, round_robin=round_robin
            )
            settings = {
                "HOST": "127.0.0.1",
                "PORT": str(stack.enter_context(runner)),
                "DISABLE_SERVER_SIDE_CURSORS": setting,
            }
            connection.close()
            stack.enter_context(patch.dict(connection.settings_dict, settings))
            stack.callback(connection.close)
            return Pooled(history, direct)

        yield start


@TRANSACTIONS
def test_transactions(pool: Any, round_robin: int, setting: bool) -> None:
    """Fails if a claim stays with a connection of the pool, or a value is another's."""
    pooled = pool("transaction", round_robin=round_robin, setting=setting)
    history = pooled.history
    with Session(history.connection) as one, Session(history.connection) as another:
        sessions = [one, another]

        def take_away(execute: Any, *args: Any) -> Any:
            """Take the connection that was used last, and give back the one before."""
            if not history.connection.in_atomic_block:
                sessions.reverse()
                sessions[0].execute("BEGIN")
                sessions[0].fetch("SELECT 1")
                sessions[1].execute("ROLLBACK")
            return execute(*args)

        def populate(movie: Any) -> str:
            list(history.rows("Movie").filter(pk=movie.pk).iterator())
            return populate_slug(movie)

        with history.connection.execute_wrapper(take_away):
            history.apply(add_slug(populate, batch_size=7))
        # Before these sessions end, and with them the connections that they have. The
        # pooler closes that of a claim soon.
        wait_until(lambda: pooled.direct.fetch(CLAIMS) == [(0,)])

    assert get_rows(history) == [
        (n + 1, f"Film Number {n}", f"film-number-{n}-{n + 1}") for n in range(40)
    ]
    assert history.connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] is setting
    assert history.describe("Movie")["checks"] == []


@TRANSACTIONS
def test_positions(pool: Any, round_robin: int, setting: bool) -> None:
    """Fails if a temporary table is made where the next statement does not find it."""
    history = pool("transaction", round_robin=round_robin, setting=setting).history
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_position())

    assert str(caught.value) == (
        "films.Movie.position: RowNumber() OVER (OrderBy(F(id), descending=False)) "
        "needs a temporary table, and the connection is that of a pooler, which may "
        "hand out another one for the next statement. Connect to the database itself, "
        "or give a function of one row as populate, then run migrate again."
    )
    assert history.describe("Movie") == before


def add_position() -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        "Movie",
        "position",
        models.IntegerField(),
        Window(RowNumber(), order_by=F("id").asc()),
    )


def test_positions_behind_a_pooler_of_sessions(pool: Any) -> None:
    """Fails if a pooler that gives each client its own connection is refused too."""
    history = pool("session").history

    history.apply(add_position())

    assert values(history, "position") == list(range(1, 41))


def test_statements(pool: Any) -> None:
    """Fails if anything changes before the pooler is refused, or with a traceback."""
    pooled = pool("statement")
    (columns,) = pooled.direct.fetch(COLUMNS)

    with pytest.raises(BackfillError) as caught:
        pooled.history.apply(add_slug())

    assert str(caught.value) == (
        "films.Movie.slug: the pooler in front of the database hands out a connection "
        "for each statement, and a backfill needs transactions. Let migrate connect to "
        "the database itself, or to a pooler of transactions. Nothing was changed."
    )
    assert pooled.direct.fetch(COLUMNS) == [columns]


COLUMNS = (
    "SELECT count(*) FROM information_schema.columns WHERE table_name = 'films_movie'"
)

WAITING = """\
import time
from pathlib import Path

from django.db import migrations, models

import safefield.operations


def populate_slug(movie):
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return f"film-{movie.pk}"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0001_initial")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            "Movie", "slug", models.SlugField(unique=True), populate_slug
        ),
    ]
"""


def test_two_runs_at_once(
    postgresql_alias: str, pool: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Fails if the second run is not kept away, or the migration is recorded twice."""
    pooled = pool("transaction")
    connection = pooled.history.connection
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE films_movie, films_studio CASCADE")
    site = make_site(connection, tmp_path_factory.mktemp("site"), WAITING, rows=2)

    first = site.start("migrate")
    wait_until((site.path / "begun").exists)
    # Of the preflight; the claim is taken before.
    second = site.manage("migrate")
    site.write("go", "")
    first.communicate()

    assert first.returncode == 0
    assert second.code == 1
    assert re.fullmatch(
        r"BackfillError: films\.Movie\.slug: another migrate is running on table "
        r"films_movie: process \d+ \(no application name\), idle in transaction, in a "
        r"transaction for \d+ s\. Wait for it to end, then run migrate again\.\n",
        second.err,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM django_migrations WHERE name = '0002_slug'"
        )
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT slug FROM films_movie ORDER BY id")
        assert cursor.fetchall() == [("film-1",), ("film-2",)]


def test_time_limit_is_named(pool: Any) -> None:
    """Fails if a role's timeout ends in a traceback where no session can lift it."""
    pooled = pool("transaction")
    (name,) = pooled.direct.fetch("SELECT current_database()")[0]
    for sql in [
        *SLOW["postgresql"],
        f"ALTER DATABASE {name} SET statement_timeout=400",
    ]:
        pooled.direct.execute(sql.replace("0.05", "0.5"))

    with pytest.raises(BackfillError) as caught:
        pooled.history.apply(add_slug())

    pooled.direct.execute(f"ALTER DATABASE {name} RESET statement_timeout")
    assert str(caught.value) == (
        "films.Movie.slug: the server's setting statement_timeout ended a statement "
        "that took longer. Set it to 0 for the user who migrates. The rows that are "
        "filled stay. Run migrate again to resume."
    )
