"""MySQL and MariaDB: how many bytes values take in a statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DataError

from safefield.backends.base.writer import Row

#: Bytes that a row adds to a statement beside its values, at the most.
ROW_BYTES = 64

#: Bytes that become two in a literal.
#: Source: https://dev.mysql.com/doc/c-api/8.0/en/mysql-real-escape-string.html
ESCAPED = (b"\\", b"'", b'"', b"\0", b"\n", b"\r", b"\x1a")


def measure(columns: Sequence[Sequence[Any]], kinds: Sequence[set[type]]) -> int:
    """Return how many bytes `columns` take in a statement, at the most."""
    characters = 0
    for column, of_column in zip(columns, kinds, strict=True):
        if of_column <= {str, bytes}:
            characters += sum(map(len, column))
        else:
            characters += sum(len(x) for x in column if isinstance(x, (str, bytes)))
    # A character takes four bytes, or six as \uXXXX, and the backslash is escaped
    # once more.
    return characters * 7 + ROW_BYTES * len(columns) * len(columns[0])


def measure_literal(value: Any) -> int:
    """Return how many bytes a text takes as a literal, its quotes left out."""
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        return 0
    return len(value) + sum(map(value.count, ESCAPED))


def refuse_too_large(row: Row, most: int) -> None:
    """Refuse a row that the server would end the connection for."""
    size = sum(measure_literal(value) for part in row for value in part)
    if size >= most:
        raise DataError(
            f"it takes {size:,} bytes in a statement, and max_allowed_packet is "
            f"{most:,}"
        )
