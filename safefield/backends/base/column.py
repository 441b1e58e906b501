"""What the catalogue says of one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LiveColumn:
    """What the catalogue says of a column."""

    null: bool
    has_default: bool
    #: As the database spells it; None where types are not compared.
    type: str | None = None


def find_column_names(connection: Any, table: str) -> list[str]:
    """
    Return the names of the columns of a table.

    Not by Django's introspection, which on SQLite fails at some texts of a table.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM {connection.ops.quote_name(table)} WHERE 1 = 0", None
        )
        return [column[0] for column in cursor.description]
