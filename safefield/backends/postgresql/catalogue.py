"""What PostgreSQL's catalogue says of the column of a plan, and of its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from safefield.backends.base.catalogue import Catalogue, LiveColumn
from safefield.backends.base.sql import fetch_one, fetch_values
from safefield.backends.base.wanted import WantedName
from safefield.backends.postgresql.keys import PostgreSQLKeys

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


class PostgreSQLCatalogue(Catalogue):
    """
    What is there of the column of one plan.

    For sqlmigrate nothing is: it prints what is done to a table of before.
    """

    keys_class = PostgreSQLKeys

    @property
    def table(self) -> str:
        """The quoted table."""
        return str(self.connection.ops.quote_name(self.plan.table))

    @property
    def column(self) -> str:
        """The quoted column."""
        return str(self.connection.ops.quote_name(self.plan.field.column))

    def is_bare(self) -> bool:
        # Nor partitions, nor row security, which may hide rows.
        row = self._fetch(
            "SELECT relkind <> 'p' AND NOT row_security_active(oid) "
            f"AND NOT EXISTS (SELECT FROM {self.table.replace('%', '%%')}) "
            "AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid "
            "AND attname = %s AND NOT attisdropped) "
            "FROM pg_class WHERE oid = %s::regclass",
            [self.plan.field.column, self.table],
        )
        return bool(row[0])

    def is_partitioned(self) -> bool:
        """Return whether the table is partitioned."""
        row = self._fetch(
            "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)",
            [self.table],
        )
        return row is not None and bool(row[0])

    def estimate_rows(self) -> int:
        rows = self._fetch(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [self.table],
        )[0]
        # -1 before the first ANALYZE.
        return int(rows) if rows >= 0 else super().estimate_rows()

    def find_column(self) -> LiveColumn | None:
        row = self._fetch(
            "SELECT NOT attnotnull, atthasdef, format_type(atttypid, atttypmod), "
            "col_description(attrelid, attnum), NULLIF(collname, 'default') "
            "FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation "
            "WHERE attrelid = %s::regclass AND attname = %s "
            "AND NOT attisdropped",
            [self.table, self.plan.field.column],
        )
        return None if row is None else LiveColumn(*row)

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        # Types have many spellings; the server itself says what the wanted one comes
        # to. EXPLAIN takes neither a table nor the right to create one.
        db_type = self.plan.field.db_type(self.connection)
        sql = f"EXPLAIN (VERBOSE, COSTS OFF) SELECT NULL::{db_type}"
        lines = [str(line).strip() for line in fetch_values(self.connection, sql)]
        (output,) = (line for line in lines if line.startswith("Output: "))
        return output.rpartition("::")[2]

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterator[str]:
        for name, kind, method in wanted:
            params = {
                "name": name,
                "table": self.table,
                "column": self.plan.field.column,
                "is_unique": kind == "unique constraint",
                "method": method,
                "contype": "f" if kind == "foreign key" else "u",
            }
            statements = [RELATIONS] if kind != "foreign key" else []
            statements += [CONSTRAINTS] if kind != "index" else []
            for sql in statements:
                for owner in fetch_values(self.connection, sql, params):
                    yield f"{name} ({owner})"

    def find_index(self, name: str) -> tuple[bool, str] | None:
        """Return whether an index of the table is valid, and its qualified name."""
        row: tuple[bool, str] | None = self._fetch(
            "SELECT indisvalid, indexrelid::regclass::text "
            "FROM pg_index JOIN pg_class ON oid = indexrelid "
            "WHERE indrelid = %s::regclass AND relname = %s",
            [self.table, name.strip('"')],
        )
        return row

    def has_constraint(self, name: str) -> bool:
        """Return whether the table has a constraint of this name, valid or not."""
        row = self._fetch(
            "SELECT 1 FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND conname = %s",
            [self.table, name.strip('"')],
        )
        return row is not None

    @property
    def has_plain_editor(self) -> bool:
        """
        Whether what the schema editor does can be in a transaction.

        That of django-pg-zero-downtime-migrations sets timeouts of its own, and does
        CONCURRENTLY what it can.
        """
        return isinstance(self.editor.sql_create_index, str)

    @property
    def unique_name(self) -> str:
        """The quoted name of the unique index, and of what alter_field() makes."""
        return str(
            self.editor._unique_constraint_name(
                self.plan.table, [self.plan.field.column]
            )
        )

    def find_final_unique_name(self) -> str:
        """Return the quoted name that Django's own operation leaves behind."""
        # AddField has it inline, without a name; another package's editor may not.
        if self.plan.old_field is not None or not self.has_plain_editor:
            return self.unique_name
        table = self.plan.table.rpartition('"."')[2].strip('"')
        names = get_inline_names(table, self.plan.field.column)
        name = next(name for name in names if not self.has_name(name))
        return str(self.connection.ops.quote_name(name))

    def spell_unique_renaming(self) -> str | None:
        """Return what names a constraint of alter_field() as add_field() names it."""
        if not self.plan.final_field.unique:
            return None
        name, final_name = self.unique_name, self.find_final_unique_name()
        if name == final_name:
            return None
        return f"ALTER TABLE {self.table} RENAME CONSTRAINT {name} TO {final_name}"

    def has_name(self, name: str) -> bool:
        """Return whether something in the schema of the table has a name."""
        row = self._fetch(
            "SELECT 1 FROM pg_class me WHERE me.oid = %s::regclass AND ("
            "EXISTS (SELECT FROM pg_class c WHERE c.relname = %s "
            "AND c.relnamespace = me.relnamespace) OR EXISTS (SELECT FROM "
            "pg_constraint WHERE conname = %s AND connamespace = me.relnamespace))",
            [self.table, name, name],
        )
        return row is not None

    def find_check_name(self, name: str) -> str:
        """Return what a check that the column is not NULL is or may be called."""
        row = self._fetch(
            "SELECT candidate FROM (SELECT 1 AS n, %s::text AS candidate UNION ALL "
            "SELECT n, left(%s, 60) || '_' || n FROM generate_series(2, 9) n) "
            # The column may not be there yet: then no check is one of it.
            "candidates WHERE NOT EXISTS (SELECT FROM pg_constraint LEFT JOIN "
            "pg_attribute ON attrelid = conrelid AND attname = %s "
            "WHERE conrelid = %s::regclass AND conname = candidate AND ("
            "contype = 'c' AND conkey = ARRAY[attnum] "
            "AND pg_get_expr(conbin, conrelid) = "
            "format('(%%I IS NOT NULL)', COALESCE(attname, ''))) IS NOT TRUE) "
            "ORDER BY n LIMIT 1",
            [name, name, self.plan.field.column, self.table],
        )
        return name if row is None else str(row[0])

    def find_immediate_constraints(self) -> str | None:
        """Return the constraints that can wait and begin without, quoted, as a list."""
        row = self._fetch(
            "SELECT string_agg(format('%%I.%%I', nspname, conname), ', ') "
            "FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace "
            "WHERE condeferrable AND NOT condeferred AND nspname !~ '^pg_'",
            [],
        )
        return None if row is None or row[0] is None else str(row[0])

    def _fetch(self, sql: str, params: list[str]) -> Any:
        if self.editor.collect_sql:
            return None
        return fetch_one(self.connection, sql, params)


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
