"""MySQL and MariaDB: a session in which the server changes no value by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error

__all__ = ["strict_mode"]

#: Modes in which a server refuses what does not fit, and does not change it.
STRICT_MODES = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}


@contextmanager
def strict_mode(connection: Any) -> Iterator[None]:
    """Let the server refuse a value that it would change, such as NULL to ''."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.sql_mode")
        before = str(cursor.fetchone()[0])
    modes = [mode for mode in before.split(",") if mode]
    if STRICT_MODES & set(modes):
        yield
        return
    _set_mode(connection, ",".join([*modes, "STRICT_TRANS_TABLES"]))
    try:
        yield
    except BaseException:
        # The connection may be what was lost, and the setting with it.
        with suppress(Error):
            _set_mode(connection, before)
        raise
    _set_mode(connection, before)


def _set_mode(connection: Any, mode: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = %s", [mode])
