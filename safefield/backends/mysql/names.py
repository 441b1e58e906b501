"""Names that something else has, on MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from safefield.backends.base.names import TakenName, WantedName
from safefield.plan import Plan


def find_taken_names(
    connection: Any, plan: Plan, wanted: Sequence[WantedName]
) -> Iterator[TakenName]:
    """Yield the wanted names that something else has."""
    column = plan.field.column
    with connection.cursor() as cursor:
        for name, kind, _ in wanted:
            if kind == "index":
                cursor.execute(
                    "SELECT COLUMN_NAME, INDEX_TYPE, SUB_PART "
                    "FROM information_schema.STATISTICS "
                    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s "
                    "AND INDEX_NAME = %s ORDER BY SEQ_IN_INDEX",
                    [plan.table, name],
                )
                parts = cursor.fetchall()
                if parts and parts != ((column, "BTREE", None),):
                    columns = ", ".join(part[0] or "an expression" for part in parts)
                    yield TakenName(name, f"{parts[0][1]} index of {columns}")
            elif kind == "foreign key":
                cursor.execute(
                    "SELECT TABLE_NAME, COLUMN_NAME "
                    "FROM information_schema.KEY_COLUMN_USAGE "
                    "WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = %s "
                    "AND REFERENCED_TABLE_NAME IS NOT NULL",
                    [name],
                )
                for table, other in cursor.fetchall():
                    if (table, other) != (plan.table, column):
                        yield TakenName(name, f"foreign key of {table}.{other}")
