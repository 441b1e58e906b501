"""What PostgreSQL's catalogue says of a table; tables are quoted, names are not."""

from __future__ import annotations

from typing import Any

from safefield.backends.base.column import LiveColumn


def may_have_rows(connection: Any, table: str) -> bool:
    """Return whether a table has rows, or row security may hide some."""
    sql = (
        f"SELECT EXISTS (SELECT FROM {table.replace('%', '%%')}) "
        f"OR row_security_active(%s::regclass)"
    )
    return bool(_fetch(connection, sql, [table])[0])


def is_bare(connection: Any, table: str, column: str) -> bool:
    """Return whether a table is bare: no rows, column, partitions, row security."""
    row = _fetch(
        connection,
        "SELECT relkind <> 'p' AND NOT row_security_active(oid) "
        f"AND NOT EXISTS (SELECT FROM {table.replace('%', '%%')}) "
        "AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid "
        "AND attname = %s AND NOT attisdropped) "
        "FROM pg_class WHERE oid = %s::regclass",
        [column, table],
    )
    return bool(row[0])


def find_column(connection: Any, table: str, column: str) -> LiveColumn | None:
    """Return what is known of a column; None if it is not there."""
    row = _fetch(
        connection,
        "SELECT NOT attnotnull, atthasdef, format_type(atttypid, atttypmod) "
        "FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s "
        "AND NOT attisdropped",
        [table, column],
    )
    return None if row is None else LiveColumn(*row)


def find_index(connection: Any, table: str, name: str) -> tuple[bool, str] | None:
    """Return whether an index of the table is valid, and its qualified name."""
    row: tuple[bool, str] | None = _fetch(
        connection,
        "SELECT indisvalid, indexrelid::regclass::text "
        "FROM pg_index JOIN pg_class ON oid = indexrelid "
        "WHERE indrelid = %s::regclass AND relname = %s",
        [table, name],
    )
    return row


def has_constraint(connection: Any, table: str, name: str) -> bool:
    """Return whether the table has a constraint of this name, valid or not."""
    row = _fetch(
        connection,
        "SELECT 1 FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s",
        [table, name],
    )
    return row is not None


def has_name(connection: Any, table: str, name: str) -> bool:
    """Return whether something in the schema of a table has a name."""
    row = _fetch(
        connection,
        "SELECT EXISTS (SELECT FROM pg_class c WHERE c.relname = %s "
        "AND c.relnamespace = me.relnamespace) OR EXISTS (SELECT FROM pg_constraint "
        "WHERE conname = %s AND connamespace = me.relnamespace) "
        "FROM pg_class me WHERE me.oid = %s::regclass",
        [name, name, table],
    )
    return bool(row[0])


def find_check_name(connection: Any, table: str, column: str, name: str) -> str:
    """
    Return what a check that the column is not NULL is or may be called.

    Args:
        connection (BaseDatabaseWrapper): Where the table is.
        table (str): The quoted table.
        column (str): The column.
        name (str): What it is called if nothing else has this name.
    """
    row = _fetch(
        connection,
        "SELECT candidate FROM (SELECT 1 AS n, %s::text AS candidate UNION ALL "
        "SELECT n, left(%s, 60) || '_' || n FROM generate_series(2, 9) n) candidates "
        # The column may not be there yet: then no check is one of it.
        "WHERE NOT EXISTS (SELECT FROM pg_constraint LEFT JOIN pg_attribute "
        "ON attrelid = conrelid AND attname = %s "
        "WHERE conrelid = %s::regclass AND conname = candidate AND ("
        "contype = 'c' AND conkey = ARRAY[attnum] "
        "AND pg_get_expr(conbin, conrelid) = "
        "format('(%%I IS NOT NULL)', COALESCE(attname, ''))) IS NOT TRUE) "
        "ORDER BY n LIMIT 1",
        [name, name, column, table],
    )
    return str(row[0])


def find_immediate_constraints(connection: Any) -> str | None:
    """Return the constraints that can wait and begin without, quoted, as a list."""
    row = _fetch(
        connection,
        "SELECT string_agg(format('%%I.%%I', nspname, conname), ', ') "
        "FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace "
        "WHERE condeferrable AND NOT condeferred AND nspname !~ '^pg_'",
        [],
    )
    return None if row[0] is None else str(row[0])


def estimate_rows(connection: Any, table: str) -> int:
    """Return about how many rows a table has; -1 before its first ANALYZE."""
    row = _fetch(
        connection,
        "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
        [table],
    )
    return int(row[0])


def _fetch(connection: Any, sql: str, params: list[str]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()
