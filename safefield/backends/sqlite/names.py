"""Names that something else has, on SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.backends.utils import strip_quotes

from safefield.backends.base.names import TakenName, WantedName
from safefield.plan import Plan


def find_taken_names(
    connection: Any, plan: Plan, wanted: Sequence[WantedName]
) -> Iterator[TakenName]:
    """Yield the wanted names that something else has."""
    table, column = strip_quotes(plan.table).lower(), plan.field.column.lower()
    with connection.cursor() as cursor:
        for name, kind, _ in wanted:
            if kind != "index":
                # The others have no names here.
                continue
            # One name space for the whole database.
            cursor.execute(
                "SELECT type, tbl_name, ifnull(("
                "SELECT group_concat(lower(ifnull(name, '?'))) "
                "FROM pragma_index_info(master.name)), ''), sql "
                "FROM sqlite_master master WHERE name = %s COLLATE NOCASE "
                "AND type <> 'trigger'",
                [name],
            )
            for found, owner, columns, sql in cursor.fetchall():
                is_whole = " WHERE " not in (sql or "").upper()
                if (owner.lower(), columns) == (table, column) and is_whole:
                    continue
                where = f" on table {owner}" if found == "index" else ""
                yield TakenName(name, f"{found}{where}")
