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
from django.db import DatabaseError, connections

from tests.support.catalogue import describe_table, list_tables
from tests.support.fork_server import Answer, Client
from tests.support.ledger import on_servers
from tests.support.servers import get_connection_settings
from tests.support.sessions import Session, get_processes, wait_until
from tests.support.site import Site, drop_progress

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
        "SELECT COUNT(*) FROM {processes} "
        "WHERE db = DATABASE() AND INFO LIKE 'ALTER TABLE%' "
        "AND STATE = 'Waiting for table metadata lock'",
    ),
}


@on_servers
@pytest.mark.parametrize("films", ["unique slug"], indirect=True)
def test_killed_while_the_server_works_on(films: Films) -> None:
    begin, hold, is_held = STATEMENTS[films.connection.vendor]
    is_held = is_held.replace("{processes}", get_processes(films.connection))
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


#: Between the first and the last of these, something may refuse rows of old code.
GUARDED = re.compile(
    r"(before|after) .*(_notnull|VALIDATE|NOT NULL|CREATE TRIGGER|DROP TRIGGER)"
)

INSERT = (
    "INSERT INTO films_movie (id, title, year, first_name, last_name) "
    "VALUES (999, 'film', 2899, 'A999', 'B999')"
)


@on_servers
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "cut"])
@pytest.mark.parametrize("films", ["unique slug"], indirect=True)
def test_old_code_can_insert_after(films: Films, how: str) -> None:
    """Fails if a check or a trigger stays behind a run that could have dropped it."""
    with Client(films.site) as client:
        succeed(client.migrate("films", "0001"))
        films.create_rows()
        events = succeed(client.migrate("films", "0002", old_code=INSERT)).events
        assert films.read_late_value() == "film-999"
        films.delete_late_row()
        filled = films.describe()
        succeed(client.migrate("films", "0001"))

        for point in choose_guarded_points(events):
            answer = client.migrate(
                "films", "0002", kill_at=point, how=how, old_code=INSERT
            )
            # Batches are cut by time, so that a run may have a few events less.
            was_stopped = point < len(answer.events)
            if was_stopped and how != "cut":
                assert answer.code != 0, (events[point], answer)
            assert films.can_old_code_insert(), (events[point], answer)
            succeed(client.migrate())
            assert films.read_late_value() in ("film-999", None), events[point]
            films.delete_late_row()
            assert films.describe() == filled, (events[point], answer)
            succeed(client.migrate("films", "0001"))


def choose_guarded_points(events: list[str]) -> list[int]:
    """Return the indexes of the events at which something may stay behind."""
    if os.environ.get("SAFEFIELD_KILL_POINTS") == "all":
        return list(range(len(events)))
    guarded = [number for number, event in enumerate(events) if GUARDED.match(event)]
    # Of a session that is lost right then, Django takes the block for one still open.
    commits = [
        number
        for number in range(guarded[0], guarded[-1])
        if events[number] == "after COMMIT"
    ]
    return sorted({*spread(guarded, 3), *commits[:1]})


#: What showbackfills says of the rows, and of what refuses rows of old code.
GUARDS = {
    "postgresql": ("filled, not enforced: 61 rows", "check constraint"),
    "mysql": ("filling: 60 of 61 rows (98 %)", "trigger"),
}


@on_servers
@pytest.mark.parametrize("end", ["migrate", "abandonbackfill"])
@pytest.mark.parametrize("films", ["unique slug"], indirect=True)
def test_what_sigkill_leaves_is_shown(films: Films, end: str) -> None:
    """Fails if nobody hears why INSERTs fail, or what ends it."""
    commands = {
        "migrate": ["migrate"],
        "abandonbackfill": ["abandonbackfill", "films", "0002", "--noinput"],
    }
    with Client(films.site) as client:
        succeed(client.migrate("films", "0001"))
        films.create_rows()
        events = succeed(client.migrate("films", "0002", old_code=INSERT)).events
        films.delete_late_row()
        succeed(client.migrate("films", "0001"))
        point = 1 + next(
            number
            for number, event in enumerate(events)
            if re.match("after CREATE TRIGGER|before .* VALIDATE", event)
        )
        answer = client.migrate("films", "0002", kill_at=point, old_code=INSERT)
        assert answer.was_killed

    shown = films.site.manage("showbackfills").out
    could_insert = films.can_old_code_insert()
    result = films.site.manage(*commands[end])

    state, kind = GUARDS[films.connection.vendor]
    assert shown == (
        f"films.0002_extra  films.Movie.extra  {state}. A run was killed: {kind} "
        "films_movie_extra_47462a00_notnull refuses each INSERT without a value. "
        "migrate and abandonbackfill drop it\n"
    )
    assert not could_insert
    assert result.code == 0
    assert films.can_old_code_insert()


STOPPED = {
    "sqlite": "Nothing was changed. Run migrate again.",
    "postgresql": (
        "50 of 60 rows are filled and stay. Run migrate to resume, or abandonbackfill "
        "films 0002 to undo."
    ),
}
STOPPED["mysql"] = STOPPED["postgresql"]


@pytest.mark.parametrize("films", ["indexed char"], indirect=True)
def test_stopped_says_where_it_stands(films: Films) -> None:
    """Fails if Ctrl-C, SIGTERM or SIGHUP ends in a traceback."""
    with Client(films.site) as client:
        succeed(client.migrate("films", "0001"))
        films.create_rows()
        events = succeed(client.migrate("films", "0002")).events
        updates = [
            number
            for number, event in enumerate(events)
            if re.match("after UPDATE|after .*UPDATE .films_movie", event)
        ]
        succeed(client.migrate("films", "0001"))
        answers = []
        for how in ("SIGINT", "SIGTERM", "SIGHUP"):
            answers.append(
                client.migrate("films", "0002", kill_at=updates[2] - 1, how=how)
            )
            succeed(client.migrate("films", "0002"))
            succeed(client.migrate("films", "0001"))

    assert [(answer.code, drop_progress(answer.output)) for answer in answers] == [
        (
            code,
            "Operations to perform:\n"
            "  Target specific migration: 0002_extra, from films\n"
            "Running migrations:\n"
            "  Applying films.0002_extra...\n"
            f"Stopped. {STOPPED[films.connection.vendor]}\n",
        )
        for code in (130, 143, 129)
    ]
