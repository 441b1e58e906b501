"""Other sessions on a test database, which meet by locks and not by sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

#: Seconds after which something that has to happen is taken not to happen.
DEADLINE_SECONDS = 20

IDENTIFIERS = {
    "sqlite": "SELECT 0",
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT CONNECTION_ID()",
}

#: Ends another session.
CUTS = {
    "postgresql": "SELECT pg_terminate_backend(%s)",
    "mysql": "KILL %s",
}

#: Whether a session waits for a lock on rows or on a table.
WAITS = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE pid = %s AND wait_event_type = 'Lock'"
    ),
    "mysql": (
        "SELECT COUNT(*) FROM performance_schema.threads t WHERE PROCESSLIST_ID = %s "
        "AND (PROCESSLIST_STATE = 'Waiting for table metadata lock' OR EXISTS (SELECT "
        "1 FROM performance_schema.data_locks d WHERE d.THREAD_ID = t.THREAD_ID "
        "AND LOCK_STATUS = 'WAITING'))"
    ),
    "mariadb": (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
        "LEFT JOIN information_schema.INNODB_TRX ON trx_mysql_thread_id = ID "
        "WHERE ID = %s AND (trx_state = 'LOCK WAIT' "
        "OR STATE = 'Waiting for table metadata lock')"
    ),
}

OTHERS = {
    "sqlite": "SELECT 0",
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ),
    "mysql": (
        "SELECT COUNT(*) FROM {processes} "
        "WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    ),
}

#: Locks of a session of PostgreSQL that it keeps beyond its transactions.
CLAIMS = (
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
    "WHERE locktype = 'advisory' AND datname = current_database()"
)

#: Whoever reads the table in a transaction keeps its definition as it is.
REPORT = "SELECT COUNT(*) FROM films_movie"


class Session:
    """
    A session of its own on the database of a connection.

    Args:
        connection: A Django connection, which stays as it is.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection.copy()
        self.vendor = connection.vendor
        # So that start() may use it too; one thread at a time does.
        self.connection.inc_thread_sharing()
        self._executor = ThreadPoolExecutor(max_workers=1)
        self.pid = get_pid(self.connection)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *args: object) -> None:
        self._executor.shutdown()
        self.connection.close()

    def fetch(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def execute(self, sql: str, params: Any = None) -> None:
        """Run a statement, such as BEGIN."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)

    def start(self, sql: str, params: Any = None) -> Future[None]:
        """Run a statement in the background: it may have to wait."""
        return self._executor.submit(self.execute, sql, params)

    def is_waiting(self, pid: int) -> bool:
        """Return whether another session waits for a lock."""
        label = self.vendor
        if label == "mysql" and self.connection.mysql_is_mariadb:
            label = "mariadb"
            # What InnoDB says of locks is renewed only when nobody has asked for it
            # in the last 0.1 s. Source: storage/innobase/trx/trx0i_s.cc.
            time.sleep(0.11)
        return bool(self.fetch(WAITS[label], [pid])[0][0])

    def is_alone(self) -> bool:
        """Return whether nobody else is connected to the database."""
        sql = OTHERS[self.vendor]
        sql = sql.replace("{processes}", get_processes(self.connection))
        return not self.fetch(sql)[0][0]

    def cut(self, pid: int) -> None:
        """End another session."""
        self.execute(CUTS[self.vendor], [pid])


def get_pid(connection: Any) -> int:
    """Return how the server names the session of a connection."""
    with connection.cursor() as cursor:
        cursor.execute(IDENTIFIERS[connection.vendor])
        return int(cursor.fetchone()[0])


def get_processes(connection: Any) -> str:
    """
    Return the table of sessions.

    MySQL's own fails where any session runs a statement with a character of four bytes.
    """
    is_mysql = connection.vendor == "mysql" and not connection.mysql_is_mariadb
    return f"{'performance' if is_mysql else 'information'}_schema.processlist"


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` is true, which another session is to make it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "What was waited for has not come."
        time.sleep(0.005)


def start_old_snapshot(session: Session) -> None:
    """Open a transaction that nothing but CREATE INDEX CONCURRENTLY waits for."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    session.fetch("SELECT count(*) FROM films_studio")


def start_report(session: Session) -> None:
    """Read the table in a transaction that stays open."""
    if session.vendor == "postgresql":
        session.execute("SET application_name = 'report'")
    session.execute("BEGIN")
    session.fetch(REPORT)
