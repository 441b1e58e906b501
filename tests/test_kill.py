"""
SIGKILL to `migrate` anywhere: running it again finishes what was begun.

SAFEFIELD_KILL_POINTS=all kills at every statement and COMMIT instead of at a choice
of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.catalogue import describe_table, list_tables
from tests.fork_server import Answer, Client
from tests.ledger import on_servers
from tests.servers import get_connection_settings
from tests.sessions import Session, wait_until
from tests.site import Site

#: Points in each direction of each case: with six cases that makes 60 on each
#: database. The case that changes the schema most gets all that matter.
POINTS = 10
THOROUGH = "unique slug"

INITIAL = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Studio",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=40)),
            ],
        ),
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=40)),
                ("year", models.IntegerField(db_index=True)),
                ("first_name", models.CharField(max_length=40)),
                ("last_name", models.CharField(max_length=40)),
                ("subtitle", models.CharField(max_length=80, null=True)),
            ],
        ),
    ]
"""

BACKFILL = """\
from django.db import migrations, models

import safefield.operations


def populate_extra(movie):
    return {value}


def reverse_extra(movie):
    first_name, last_name = movie.extra.split("|")[:2]
    return {{"first_name": first_name, "last_name": last_name}}


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("films", "0001_initial")]
    operations = [
        safefield.operations.{operation}(
            "Movie", "{name}", models.{field}, populate_extra, {reverse}, batch_size=25
        ),
    ]
"""

NAMES = 'f"{movie.first_name}|{movie.last_name}|{movie.pk}"'

#: Of each case the field, what populate returns, and what the rows then have.
CASES: dict[str, tuple[str, str, Any]] = {
    "unique slug": (
        'SlugField(unique=True, max_length=80, db_comment="for URLs")',
        'f"{movie.title}-{movie.pk}"',
        lambda pk: f"film-{pk}",
    ),
    "foreign key": (
        'ForeignKey("films.Studio", models.CASCADE)',
        "movie.year % 2 + 1",
        lambda pk: (1900 + pk) % 2 + 1,
    ),
    "indexed char": (
        "CharField(max_length=80, db_index=True)",
        "movie.title.upper()",
        lambda pk: "FILM",
    ),
    "reversed": (
        "CharField(max_length=130, unique=True)",
        NAMES,
        lambda pk: f"A{pk}|B{pk}|{pk}",
    ),
    "altered": (
        "CharField(max_length=80, unique=True)",
        'f"{movie.title} {movie.pk}"',
        lambda pk: f"film {pk}",
    ),
    "atomic": (
        "CharField(max_length=130, unique=True)",
        NAMES,
        lambda pk: f"A{pk}|B{pk}|{pk}",
    ),
}

ROWS = 60


class Films:
    """
    The database of one case, seen from outside of the process that migrates.

    Args:
        connection: Its database.
        case: Key of CASES.
        path: An empty directory for the project.
    """

    def __init__(self, connection: Any, case: str, path: Path) -> None:
        self.connection = connection
        self.case = case
        self.site = Site(path, database=get_connection_settings(self.connection))
        field, value, self.expected = CASES[case]
        self.has_reverse = case in ("reversed", "atomic")
        self.is_altered = case == "altered"
        self.column = {"foreign key": "extra_id", "altered": "subtitle"}.get(
            case, "extra"
        )
        self.site.write("films/migrations/0001_initial.py", INITIAL)
        self.site.write(
            "films/migrations/0002_extra.py",
            BACKFILL.format(
                operation=(
                    "AlterFieldWithBackfill"
                    if self.is_altered
                    else "AddFieldWithBackfill"
                ),
                name="subtitle" if self.is_altered else "extra",
                field=field,
                value=value,
                atomic=case == "atomic",
                reverse="reverse_extra" if self.has_reverse else "None",
            ),
        )

    def create_rows(self) -> None:
        """Insert the rows that must come through all of it."""
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO films_studio (id, name) VALUES (%s, %s)",
                [(1, "One"), (2, "Two")],
            )
            cursor.executemany(
                "INSERT INTO films_movie (id, title, year, first_name, last_name) "
                "VALUES (%s, %s, %s, %s, %s)",
                [
                    (pk, "film", 1900 + pk, f"A{pk}", f"B{pk}")
                    for pk in range(1, ROWS + 1)
                ],
            )

    def forget_names(self) -> None:
        """Leave what reverse is to write back to the new column alone."""
        if self.has_reverse:
            with self.connection.cursor() as cursor:
                cursor.execute("UPDATE films_movie SET first_name = '', last_name = ''")

    def empty_altered(self) -> None:
        """Take back what was filled: the values stay when an alteration is undone."""
        if self.is_altered:
            with self.connection.cursor() as cursor:
                cursor.execute("UPDATE films_movie SET subtitle = NULL")

    def describe(self) -> tuple[Any, ...]:
        """Return all that is in the database but for the log of migrations."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT * FROM films_movie ORDER BY id")
            columns = [column[0] for column in cursor.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            constraints = self.connection.introspection.get_constraints(
                cursor, "films_movie"
            )
        return (
            list_tables(self.connection),
            describe_table(self.connection, "films_movie"),
            describe_table(self.connection, "films_studio"),
            sorted(constraints),
            rows,
        )

    def kill(self, client: Client, migration: str, point: int | None) -> None:
        """Migrate to `migration` and kill the process at the event with this index."""
        if point is None:
            return
        answer = client.migrate("films", migration, kill_at=point)
        assert answer.was_killed, answer
        # The server has to notice first.
        with Session(self.connection) as session:
            self.connection.close()
            wait_until(session.is_alone)


@pytest.fixture
def films(
    alias: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Films]:
    yield Films(connections[alias], request.param, tmp_path)


@pytest.mark.parametrize("films", CASES, indirect=True)
def test_killed_anywhere(films: Films) -> None:
    with Client(films.site) as client:
        succeed(client.migrate("films", "0001"))
        films.create_rows()
        before = films.describe()
        forwards = succeed(client.migrate("films", "0002"))
        filled = films.describe()
        backwards = succeed(client.migrate("films", "0001"))
        assert [row[films.column] for row in filled[-1]] == [
            films.expected(pk) for pk in range(1, ROWS + 1)
        ]
        films.empty_altered()
        assert films.describe() == before

        for there, back in zip_longest(
            choose_points(forwards.events, is_thorough=films.case == THOROUGH),
            choose_points(backwards.events, is_thorough=films.case == THOROUGH),
        ):
            films.kill(client, "0002", there)
            succeed(client.migrate())
            assert films.describe() == filled, (there, forwards.events)
            films.forget_names()
            films.kill(client, "0001", back)
            succeed(client.migrate("films", "0001"))
            films.empty_altered()
            assert films.describe() == before, (back, backwards.events)


def succeed(answer: Answer) -> Answer:
    """Return the answer of a process that had to succeed."""
    assert answer.code == 0, answer.output
    return answer


IMPORTANT = re.compile(
    r"after (ALTER|CREATE (UNIQUE )?INDEX|DROP INDEX|COMMIT)"
    r"|(before|after) (INSERT INTO|DELETE FROM) .django_migrations"
)


def choose_points(events: list[str], *, is_thorough: bool = False) -> list[int]:
    """
    Return the indexes of the events at which to kill.

    Those that matter are behind each change of the schema and each COMMIT, and around
    the record of the migration: before a statement all is as it was behind the one
    before. Where they are many, and nobody asks for all, some of them are left out;
    where they are few, others from between the first and the last come to them.
    """
    if os.environ.get("SAFEFIELD_KILL_POINTS") == "all":
        return list(range(len(events)))
    points = [number for number, event in enumerate(events) if IMPORTANT.match(event)]
    others = [number for number in range(points[0], points[-1]) if number not in points]
    if not is_thorough:
        points = spread(points, POINTS - 1) + points[-1:]
    return sorted({*points, *spread(others, POINTS - len(points))})


def spread(numbers: list[int], count: int) -> list[int]:
    """Return `count` of the numbers, evenly, or all when they are fewer."""
    if count <= 0:
        return []
    return numbers[:: max(-(-len(numbers) // count), 1)]


#: What the server is in the middle of when its client is killed, how another session
#: keeps it there, and how a third one sees it.
STATEMENTS = {
    "postgresql": (
        # An old snapshot is waited for by CREATE INDEX CONCURRENTLY alone.
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT count(*) FROM films_studio",
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE 'CREATE UNIQUE INDEX CONCURRENTLY%' "
        "AND wait_event_type = 'Lock'",
    ),
    "mysql": (
        "BEGIN",
        "SELECT COUNT(*) FROM films_movie",
        "SELECT COUNT(*) FROM information_schema.processlist "
        "WHERE db = DATABASE() AND INFO LIKE 'ALTER TABLE%' "
        "AND STATE = 'Waiting for table metadata lock'",
    ),
}


@on_servers
@pytest.mark.parametrize("films", ["unique slug"], indirect=True)
def test_killed_while_the_server_works_on(films: Films) -> None:
    begin, hold, is_held = STATEMENTS[films.connection.vendor]
    with Client(films.site) as client:
        succeed(client.migrate("films", "0001"))
        films.create_rows()
        succeed(client.migrate("films", "0002"))
        filled = films.describe()
        succeed(client.migrate("films", "0001"))

        with Session(films.connection) as session, Session(films.connection) as other:
            films.connection.close()
            other.execute(begin)
            other.fetch(hold)
            process = films.site.start("migrate")
            wait_until(lambda: session.fetch(is_held)[0][0])
            process.kill()
            process.communicate()
            other.connection.close()
            wait_until(session.is_alone)

        succeed(client.migrate())
        assert films.describe() == filled
