"""Names of a schema that something else has, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from safefield.backends.base.names import TakenName, WantedName
from safefield.plan import Plan

#: Bytes of a name. Source: NAMEDATALEN in pg_config_manual.h, less the end.
MAX_BYTES = 63

#: Whatever has a wanted name among the tables and indexes of the schema, but for an
#: index as it is wanted, which an earlier run has built.
RELATIONS = """
SELECT pg_describe_object('pg_class'::regclass, other.oid, 0)
       || COALESCE(' on table ' || indrelid::regclass::text, '')
  FROM pg_class me
  JOIN pg_class other
    ON other.relnamespace = me.relnamespace AND other.relname = %(name)s
  LEFT JOIN pg_index ON indexrelid = other.oid
  LEFT JOIN pg_am ON pg_am.oid = other.relam
 WHERE me.oid = %(table)s::regclass
   AND NOT COALESCE(
       indrelid = me.oid AND indpred IS NULL AND indexprs IS NULL
       AND indisunique = %(is_unique)s AND amname = %(method)s
       AND indkey::text = (
           SELECT attnum::text FROM pg_attribute
            WHERE attrelid = me.oid AND attname = %(column)s
       ), false)
"""

#: The same among the constraints of the table.
CONSTRAINTS = """
SELECT pg_describe_object('pg_constraint'::regclass, c.oid, 0)
  FROM pg_constraint c
 WHERE conrelid = %(table)s::regclass AND conname = %(name)s
   AND NOT (
       contype = %(contype)s
       AND conkey = ARRAY(
           SELECT attnum FROM pg_attribute
            WHERE attrelid = conrelid AND attname = %(column)s
       )
   )
"""


def find_taken_names(
    connection: Any, plan: Plan, wanted: Sequence[WantedName]
) -> Iterator[TakenName]:
    """Yield the wanted names that something else has."""
    with connection.cursor() as cursor:
        for name, kind, method in wanted:
            params = {
                "name": name,
                "table": connection.ops.quote_name(plan.table),
                "column": plan.field.column,
                "is_unique": kind == "unique constraint",
                "method": method,
                "contype": "f" if kind == "foreign key" else "u",
            }
            statements = [RELATIONS] if kind != "foreign key" else []
            statements += [CONSTRAINTS] if kind != "index" else []
            for sql in statements:
                cursor.execute(sql, params)
                for (owner,) in cursor.fetchall():
                    yield TakenName(name, owner)


def get_inline_names(table: str, column: str) -> Iterator[str]:
    """
    Yield what PostgreSQL calls an inline UNIQUE; it takes the first that is free.

    Source: ChooseIndexName() and makeObjectName() in indexcmds.c.
    """
    for number in count():
        label = f"key{number or ''}"
        parts = [table.encode(), column.encode()]
        while sum(map(len, parts)) > MAX_BYTES - len(f"__{label}"):
            longest = int(len(parts[0]) <= len(parts[1]))
            parts[longest] = parts[longest][:-1]
        yield "_".join([*(part.decode(errors="ignore") for part in parts), label])
