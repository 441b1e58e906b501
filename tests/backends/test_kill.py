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

import pytest
from django.db import connections

from tests.support.fork_server import Client
from tests.support.kills import (
    CASES,
    INSERT,
    ROWS,
    Films,
    choose_points,
    spread,
    succeed,
)
from tests.support.ledger import on_servers
from tests.support.sessions import Session, get_processes, wait_until
from tests.support.site import drop_progress

#: The case that is killed at each statement, the others behind what writes.
IN_FULL = "unique slug"

SERVERS = ("postgresql", "mariadb", "mysql")


@pytest.fixture
def films(
    alias: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Films]:
    yield Films(connections[alias], request.param, tmp_path)


@pytest.mark.parametrize(
    "films",
    [
        pytest.param(
            case,
            marks=[] if case == IN_FULL else pytest.mark.thorough_on(*SERVERS),
        )
        for case in CASES
    ],
    indirect=True,
)
def test_killed_anywhere(films: Films) -> None:
    with Client(films.site) as client:
        before, filled, forwards, backwards = films.go_there_and_back(client)
        assert [row[films.column] for row in filled[-1]] == [
            films.expected(pk) for pk in range(1, ROWS + 1)
        ]
        films.empty_altered()
        assert films.describe() == before

        for there, back in zip_longest(
            choose_points(forwards, in_full=films.case == IN_FULL),
            choose_points(backwards, in_full=films.case == IN_FULL),
        ):
            films.kill(client, "0002", there)
            succeed(client.migrate())
            assert films.describe() == filled, (there, forwards)
            films.forget_names()
            films.kill(client, "0001", back)
            succeed(client.migrate("films", "0001"))
            films.empty_altered()
            assert films.describe() == before, (back, backwards)


#: What the server is in the middle of when its client is killed, how another session
#: keeps it there, and how a third one sees it.
STATEMENTS = {
    "postgresql": (
        # As start_old_snapshot() does it.
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


@pytest.mark.thorough_on("mysql")
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
    "mysql": ("filling: 60 of 61 rows (98%)", "trigger"),
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
