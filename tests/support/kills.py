"""Backfills whose `migrate` is killed, and the points at which that is done."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from django.db import DatabaseError

from tests.support.catalogue import describe_table, list_tables
from tests.support.fork_server import Answer, Client
from tests.support.servers import get_connection_settings
from tests.support.sessions import Session, wait_until
from tests.support.site import Site

#: Points in each direction of each case. The case that changes the schema most gets all
#: that matter.
POINTS = 6

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


class Journey(NamedTuple):
    """
    What migrating and undoing it does where nobody stops it.

    Args:
        before (tuple): What is in the database without the column.
        filled (tuple): What is in it with the column.
        forwards (list[str]): The events of the way there.
        backwards (list[str]): Those of the way back.
    """

    before: tuple[Any, ...]
    filled: tuple[Any, ...]
    forwards: list[str]
    backwards: list[str]


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

    def go_there_and_back(self, client: Client) -> Journey:
        """Migrate with rows and undo it, with nobody to stop it."""
        succeed(client.migrate("films", "0001"))
        self.create_rows()
        before = self.describe()
        forwards = succeed(client.migrate("films", "0002"))
        filled = self.describe()
        backwards = succeed(client.migrate("films", "0001"))
        return Journey(before, filled, forwards.events, backwards.events)

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

    def insert_late_row(self) -> None:
        """Insert a row as code does that knows nothing of the column."""
        with self.connection.cursor() as cursor:
            cursor.execute(INSERT)

    def read_late_value(self) -> Any:
        """Return the value of the row of old code; None if it did not come in."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.column} FROM films_movie WHERE id = 999")
            row = cursor.fetchone()
        return row and row[0]

    def delete_late_row(self) -> None:
        """Delete the row of old code, if it came in."""
        with self.connection.cursor() as cursor:
            cursor.execute("DELETE FROM films_movie WHERE id = 999")

    def can_old_code_insert(self) -> bool:
        """
        Return whether code that knows nothing of the column can insert.

        Once the column is NOT NULL, only the record of the migration is missing.
        """
        with self.connection.cursor() as cursor:
            columns = self.connection.introspection.get_table_description(
                cursor, "films_movie"
            )
        if not all(info.null_ok for info in columns if info.name == self.column):
            return True
        self.delete_late_row()
        try:
            self.insert_late_row()
        except DatabaseError:
            return False
        return True

    def kill(self, client: Client, migration: str, point: int | None) -> None:
        """Migrate to `migration` and kill the process at the event with this index."""
        if point is None:
            return
        answer = client.migrate("films", migration, kill_at=point)
        # Batches are cut by time, so that a run may have a few events less.
        assert answer.was_killed or point >= len(answer.events), answer
        # The server has to notice first.
        with Session(self.connection) as session:
            self.connection.close()
            wait_until(session.is_alone)


def make_site(connection: Any, path: Path, migration: str, *, rows: int) -> Site:
    """Return a project with some movies, whose next migration is this one."""
    site = Site(path, database=get_connection_settings(connection))
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_slug.py", migration)
    assert site.manage("migrate", "films", "0001").code == 0
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO films_movie (title, year, first_name, last_name) "
            "VALUES (%s, 1, 'b', 'c')",
            [("a",)] * rows,
        )
    return site


def succeed(answer: Answer) -> Answer:
    """Return the answer of a process that had to succeed."""
    assert answer.code == 0, answer.output
    return answer


IMPORTANT = re.compile(
    r"after (ALTER|CREATE (UNIQUE )?INDEX|DROP INDEX|COMMIT)"
    r"|(before|after) (INSERT INTO|DELETE FROM) .django_migrations"
)


def choose_points(events: list[str], *, in_full: bool = False) -> list[int]:
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
    if not in_full:
        points = spread(points, POINTS - 1) + points[-1:]
    return sorted({*points, *spread(others, POINTS - len(points))})


def spread(numbers: list[int], count: int) -> list[int]:
    """Return `count` of the numbers, evenly, or all when they are fewer."""
    if count <= 0:
        return []
    return numbers[:: max(-(-len(numbers) // count), 1)]


INSERT = (
    "INSERT INTO films_movie (id, title, year, first_name, last_name) "
    "VALUES (999, 'film', 2899, 'A999', 'B999')"
)
