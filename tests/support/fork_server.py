"""
Runs `migrate` in forked processes that stop themselves, or the server, at some point.

Started in the folder of a tests.support.site.Site, so that Django is imported only
once: a fork takes milliseconds. Each line of standard input is a request, each line of
standard output its answer; Client is for the other end.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import interpreter
from tests.support.site import Site

#: What a site is given to be started by.
SCRIPT = "serve.py"


class Answer(NamedTuple):
    """
    How one process ended.

    Args:
        code (int): Its exit code; negative for the number of a signal.
        events (list[str]): What it did, in order: "before" and "after" each
            statement, with its SQL, and each COMMIT.
        output (str): What it wrote.
    """

    code: int
    events: list[str]
    output: str

    @property
    def was_killed(self) -> bool:
        """Whether it was ended by SIGKILL."""
        return self.code == -signal.SIGKILL


class Client:
    """
    Starts a fork server for a site, and ends it.

    Args:
        site (Site): A project whose migrations are written.
    """

    def __init__(self, site: Site) -> None:
        site.write(SCRIPT, "from tests.support.fork_server import serve\n\nserve()\n")
        self._socket, other_end = socket.socketpair()
        self._file = self._socket.makefile("rw")
        with other_end:
            self._code = interpreter.launch(
                site.path,
                SCRIPT,
                [],
                site.get_environment(),
                [other_end, other_end, sys.__stderr__],
            )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self._file.close()
        self._socket.close()
        with self._code:
            self._code.read()

    def migrate(
        self,
        *arguments: str,
        kill_at: int | None = None,
        how: str = "SIGKILL",
        old_code: str = "",
    ) -> Answer:
        """
        Run `migrate` in a process of its own.

        Args:
            arguments (str): Those of the command, such as "films", "0002".
            kill_at (int or None): Index of the event at which it is stopped.
            how (str): By which signal; "cut" ends its session; "server" sends SIGKILL
                to its PostgreSQL session, upon which the server ends all others and
                recovers from its log.
            old_code (str): What another session executes once, before the column is
                made required.
        """
        self._file.write(json.dumps([arguments, kill_at, how, old_code]) + "\n")
        self._file.flush()
        return Answer(*json.loads(self._file.readline()))


def serve() -> None:
    """Answer requests until standard input ends."""
    import django

    from tests.support import servers

    servers.install_mysql_driver()
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    sys.path.insert(0, os.getcwd())
    django.setup()
    # Imported here, so that not every fork has to: the command, the migrations and the
    # parts of safefield for their database.
    from django.core.management.commands import migrate  # noqa: F401
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    from safefield import steps  # noqa: F401
    from safefield.backends import get_backend

    MigrationLoader(None)
    get_backend(connection)

    # What is here already, a fork need not look through, which would copy it.
    gc.freeze()
    for line in sys.stdin:
        arguments, *stop = json.loads(line)
        with tempfile.TemporaryDirectory() as directory:
            events, output = Path(directory, "events"), Path(directory, "output")
            process = os.fork()
            if process == 0:
                run(arguments, stop, events, output)
            _, status = os.waitpid(process, 0)
            answer = (
                os.waitstatus_to_exitcode(status),
                [json.loads(event) for event in events.read_text().splitlines()],
                output.read_text(),
            )
        print(json.dumps(answer), flush=True)


def run(
    arguments: list[str],
    stop: list[Any],
    events: Path,
    output: Path,
) -> None:
    """Run `migrate` in this process, and end it."""
    from django.core.management import call_command
    from django.db import connections

    file = os.open(output, os.O_CREAT | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    try:
        with events.open("w", buffering=1) as log:
            install(connections["default"], log, *stop)
            call_command("migrate", *arguments)
        code = 0
    except SystemExit as exc:
        code = exc.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def install(
    connection: Any, log: Any, kill_at: int | None, how: str, old_code: str
) -> None:
    """Log every statement and every COMMIT, and stop at one of them."""
    counter = itertools.count()
    original_commit = connection._commit
    stop = make_stop(connection, how)
    remaining = [old_code] if old_code else []

    def pass_event(event: str) -> None:
        log.write(json.dumps(event) + "\n")
        if next(counter) == kill_at:
            stop()

    def execute(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if remaining and MAKES_REQUIRED.search(sql):
            with_another(connection, remaining.pop())
        pass_event(f"before {sql}")
        result = execute(sql, params, many, context)
        pass_event(f"after {sql}")
        return result

    def commit() -> None:
        pass_event("before COMMIT")
        original_commit()
        pass_event("after COMMIT")

    connection.execute_wrappers.append(execute)
    connection._commit = commit


#: The first statement behind which a row without a value can do harm.
MAKES_REQUIRED = re.compile("CHECK .* NOT VALID|MODIFY .* NOT NULL")


def make_stop(connection: Any, how: str) -> Callable[[], None]:
    """Return what stops this process, or its session."""
    if how == "cut":
        return lambda: with_another(connection, get_cut(connection))
    if how == "server":
        return lambda: os.kill(connection.connection.info.backend_pid, signal.SIGKILL)
    return lambda: os.kill(os.getpid(), getattr(signal, how))


def get_cut(connection: Any) -> str:
    """Return the statement that ends the session of a connection."""
    if connection.vendor == "mysql":
        return f"KILL {connection.connection.thread_id()}"
    return f"SELECT pg_terminate_backend({connection.connection.info.backend_pid})"


def with_another(connection: Any, sql: str) -> None:
    """Execute a statement in another session."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(sql)
    other.close()
