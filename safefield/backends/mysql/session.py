"""MySQL and MariaDB: a session in which the server changes no value by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error

__all__ = ["strict_mode", "without_foreign_key_checks"]

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


@contextmanager
def without_foreign_key_checks(editor: Any) -> Iterator[None]:
    """Let a foreign key come without a look at the rows, which takes a copy of them."""
    before = 1
    if not editor.collect_sql:
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT @@SESSION.foreign_key_checks")
            before = int(cursor.fetchone()[0])
    editor.execute("SET SESSION foreign_key_checks = 0", None)
    try:
        yield
    finally:
        editor.execute(f"SET SESSION foreign_key_checks = {before}", None)
