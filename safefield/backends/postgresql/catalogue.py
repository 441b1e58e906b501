"""What PostgreSQL's catalogue says of the column of a plan, and of its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from safefield.backends.base.catalogue import Catalogue
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.names import TakenName, WantedName
from safefield.backends.postgresql.keys import PostgreSQLKeys
from safefield.backends.postgresql.names import find_taken_names


class PostgreSQLCatalogue(Catalogue):
    """What is there of the column of one plan; names are not quoted."""

    keys_class = PostgreSQLKeys

    @property
    def table(self) -> str:
        """The quoted table."""
        return str(self.connection.ops.quote_name(self.plan.table))

    def may_have_rows(self) -> bool:
        """Return whether the table has rows, or row security may hide some."""
        sql = (
            f"SELECT EXISTS (SELECT FROM {self.table.replace('%', '%%')}) "
            f"OR row_security_active(%s::regclass)"
        )
        return bool(self._fetch(sql, [self.table])[0])

    def is_bare(self) -> bool:
        """Return whether there are no rows, column, partitions, row security."""
        row = self._fetch(
            "SELECT relkind <> 'p' AND NOT row_security_active(oid) "
            f"AND NOT EXISTS (SELECT FROM {self.table.replace('%', '%%')}) "
            "AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid "
            "AND attname = %s AND NOT attisdropped) "
            "FROM pg_class WHERE oid = %s::regclass",
            [self.plan.field.column, self.table],
        )
        return bool(row[0])

    def is_empty(self) -> bool:
        return not self.may_have_rows()

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
            "SELECT NOT attnotnull, atthasdef, format_type(atttypid, atttypmod) "
            "FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s "
            "AND NOT attisdropped",
            [self.table, self.plan.field.column],
        )
        return None if row is None else LiveColumn(*row)

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        # Types have many spellings; the server itself says what the wanted one comes
        # to. EXPLAIN takes neither a table nor the right to create one.
        db_type = self.plan.field.db_type(self.connection)
        with self.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (VERBOSE, COSTS OFF) SELECT NULL::{db_type}")
            lines = [str(line).strip() for (line,) in cursor.fetchall()]
        (output,) = (line for line in lines if line.startswith("Output: "))
        return output.rpartition("::")[2]

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterable[TakenName]:
        return find_taken_names(self.connection, self.plan, wanted)

    def find_index(self, name: str) -> tuple[bool, str] | None:
        """Return whether an index of the table is valid, and its qualified name."""
        row: tuple[bool, str] | None = self._fetch(
            "SELECT indisvalid, indexrelid::regclass::text "
            "FROM pg_index JOIN pg_class ON oid = indexrelid "
            "WHERE indrelid = %s::regclass AND relname = %s",
            [self.table, name],
        )
        return row

    def has_constraint(self, name: str) -> bool:
        """Return whether the table has a constraint of this name, valid or not."""
        row = self._fetch(
            "SELECT 1 FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND conname = %s",
            [self.table, name],
        )
        return row is not None

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
        """
        Return what a check that the column is not NULL is or may be called.

        Args:
            name (str): What it is called if nothing else has this name.
        """
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
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone()
