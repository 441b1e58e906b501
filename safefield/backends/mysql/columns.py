"""MySQL and MariaDB: what the server says of the columns of a table."""

from __future__ import annotations

from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.backends.base.sql import fetch_all


class LiveColumn(NamedTuple):
    """What the server says of a column."""

    kind: str
    collation: str | None
    #: Whether an UPDATE that does not name it sets it to the time of day.
    changes: bool


def find_live_columns(
    connection: BaseDatabaseWrapper, table: str
) -> dict[str, LiveColumn]:
    """Return the columns of a table, quoted, by name; also of a temporary one."""
    rows = fetch_all(connection, f"SHOW FULL COLUMNS FROM {table}")
    return {
        name: LiveColumn(str(kind).lower(), collation, "on update" in extra.lower())
        for name, kind, collation, _, _, _, extra, *_ in rows
    }
