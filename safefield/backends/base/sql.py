"""Statements over a connection, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error


def execute(connection: Any, sql: str, params: Any = None) -> int:
    """Run a statement; return how many rows the database says it has changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def fetch_all(connection: Any, sql: str, params: Any = None) -> list[Any]:
    """Return the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def fetch_one(connection: Any, sql: str, params: Any = None) -> Any:
    """Return the first row of a query; None if it has none."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def fetch_value(connection: Any, sql: str, params: Any = None) -> Any:
    """Return the value of a query of one row and one column."""
    return fetch_one(connection, sql, params)[0]


def fetch_values(connection: Any, sql: str, params: Any = None) -> list[Any]:
    """Return the values of a query of one column."""
    return [value for (value,) in fetch_all(connection, sql, params)]


def find_column_names(connection: Any, table: str) -> list[str]:
    """
    Return the names of the columns of a table.

    Not by Django's introspection, which on SQLite fails at some texts of a table.
    """
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(table)
        cursor.execute(f"SELECT * FROM {name} WHERE 1 = 0", None)
        return [column[0] for column in cursor.description]


@contextmanager
def putting_away(function: Callable[[], object]) -> Iterator[None]:
    """Call `function` after the block, and where that has failed, as far as it goes."""
    try:
        yield
    except BaseException:
        # The connection may be what was lost, and with it what is to be put away.
        with suppress(Error):
            function()
        raise
    function()
