"""abandonbackfill, rehearsebackfill and showbackfills end in one sentence, however."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from tests.support.catalogue import describe_table
from tests.support.half_way import SLUG, make_site
from tests.support.site import Site

#: What stops a process before its first statement that begins so.
STOP = """

import os
import signal

from django.db.backends.signals import connection_created


def end_session(connection):
    other = connection.copy()
    other.execute_wrappers.clear()
    with other.cursor() as cursor:
        if connection.vendor == "postgresql":
            pid = connection.connection.info.backend_pid
            cursor.execute(f"SELECT pg_terminate_backend({pid})")
        else:
            cursor.execute(f"KILL {connection.connection.thread_id()}")
    other.close()


def add_wrapper(connection, **kwargs):
    def watch(execute, sql, *args):
        at = os.environ.get("STOP_AT")
        if at and str(sql).startswith(at):
            del os.environ["STOP_AT"]
            if os.environ["STOP"] == "cut":
                end_session(connection)
            else:
                os.kill(os.getpid(), getattr(signal, os.environ["STOP"]))
        return execute(sql, *args)

    connection.execute_wrappers.append(watch)


connection_created.connect(add_wrapper, weak=False)
"""

#: The commands, and the statement before which they are stopped.
COMMANDS = {
    "abandonbackfill": (["films", "0003", "--noinput"], "ALTER TABLE"),
    "rehearsebackfill": (["films", "0003"], "INSERT INTO"),
    "showbackfills": ([], "SELECT"),
}

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "cut": 1}


@pytest.mark.thorough_on("postgresql", "mariadb", "mysql")
@pytest.mark.parametrize("command", COMMANDS)
def test_stopped_command(alias: str, command: str, tmp_path: Path) -> None:
    """Fails if it ends in a traceback, or with the exit code of another end."""
    site = make_stopped(alias, tmp_path)
    arguments, at = COMMANDS[command]
    if alias == "default":
        # A run that is stopped leaves nothing there to be removed.
        at = "SELECT"
    before = describe_table(connections[alias], "films_movie")
    connections[alias].close()
    for how, code in CODES.items():
        if how == "cut" and alias == "default":
            continue
        site.environment = {"STOP": how, "STOP_AT": at}

        result = site.manage(command, *arguments)

        text = "Stopped. Nothing was changed.\n"
        if how == "cut":
            text = (
                "SafefieldError: The connection to the database was lost or closed. "
                f"Nothing was changed. Run {command} again.\n"
            )
        assert (result.err, result.code) == (text, code), (how, result)
        assert describe_table(connections[alias], "films_movie") == before
        connections[alias].close()
    site.environment = {}
    assert site.manage(command, *arguments).code == 0


def make_stopped(alias: str, path: Path) -> Site:
    """Return a project of which one backfill was stopped half-way."""
    site = make_site(alias, path)
    site.write("settings.py", site.read("settings.py") + STOP)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=3))
    assert site.manage("migrate", "films", "0003").code == 1
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    return site
