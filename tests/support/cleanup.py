"""How a test leaves its databases: with no open transaction and empty."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from tests.support.sessions import get_processes


def reset_connection(connection: Any, *, may_stay_open: bool = False) -> None:
    """
    Close the connection whatever state a test left it in; the next use opens a new one.

    Args:
        may_stay_open (bool): Whether it may be as it was when it was opened instead. To
            open one takes PostgreSQL longer than to empty a database.
    """
    connection.in_atomic_block = False
    connection.closed_in_transaction = False
    connection.needs_rollback = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.run_on_commit = []
    connection.execute_wrappers = []
    connection.force_debug_cursor = False
    connection.queries_log.clear()
    try:
        if not (may_stay_open and restart_session(connection)):
            connection.close()
    except Exception:
        # A broken connection cannot be closed either.
        connection.connection = None


def restart_session(connection: Any) -> bool:
    """Reset the session of a connection, where it can be; return whether it was."""
    session = connection.connection
    if connection.vendor != "postgresql" or session is None:
        return False
    try:
        session.rollback()
        session.autocommit = connection.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("DISCARD ALL")
    except connection.Database.Error:
        return False
    return True


def empty_database(connection: Any) -> None:
    """Drop whatever is in the database, and stop everybody else who still uses it."""
    EMPTIERS[connection.vendor](connection)
    connection.close()


def empty_sqlite(connection: Any) -> None:
    """Replace the file by one of no bytes, which SQLite takes for an empty database."""
    path = Path(connection.settings_dict["NAME"])
    connection.close()
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.touch()


def empty_postgresql(connection: Any) -> None:
    """Drop every schema and make an empty `public` one, unless all is empty already."""
    with connection.cursor() as cursor:
        stop_postgresql_clients(cursor)
        cursor.execute(
            "SELECT nspname, "
            "EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid) "
            "OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid) "
            "OR EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid) "
            "OR EXISTS (SELECT FROM pg_collation WHERE collnamespace = n.oid) "
            "FROM pg_namespace n "
            "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
        schemas = dict(cursor.fetchall())
        if schemas == {"public": False}:
            return
        for schema in schemas:
            cursor.execute(f"DROP SCHEMA {connection.ops.quote_name(schema)} CASCADE")
        cursor.execute("CREATE SCHEMA public")


def stop_postgresql_clients(cursor: Any) -> None:
    """End the other connections to the test database: they may hold locks."""
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )


def empty_mysql(connection: Any) -> None:
    """
    Drop tables, views, sequences, routines and events; triggers go with the tables.
    """
    with connection.cursor() as cursor:
        stop_mysql_clients(cursor, get_processes(connection))
        cursor.execute(
            "SELECT table_name, CASE table_type WHEN 'VIEW' THEN 'VIEW' "
            "WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END "
            "FROM information_schema.tables WHERE table_schema = DATABASE() "
            "UNION ALL SELECT routine_name, routine_type "
            "FROM information_schema.routines WHERE routine_schema = DATABASE() "
            "UNION ALL SELECT event_name, 'EVENT' "
            "FROM information_schema.events WHERE event_schema = DATABASE()"
        )
        found = cursor.fetchall()
        if not found:
            return
        cursor.execute("SET foreign_key_checks = 0")
        for name, kind in found:
            cursor.execute(f"DROP {kind} {connection.ops.quote_name(name)}")


def stop_mysql_clients(cursor: Any, processes: str) -> None:
    """End the other connections to the test database: they may hold metadata locks."""
    cursor.execute(
        f"SELECT id FROM {processes} WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    )
    for (identifier,) in cursor.fetchall():
        # It may have gone by itself since.
        with contextlib.suppress(Exception):
            cursor.execute(f"KILL {int(identifier)}")


EMPTIERS = {
    "sqlite": empty_sqlite,
    "postgresql": empty_postgresql,
    "mysql": empty_mysql,
}
