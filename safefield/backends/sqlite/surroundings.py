"""SQLite: triggers, views and keys of any table, which a change of one could break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError
from django.db.backends.utils import strip_quotes

from safefield.backends.base.sql import execute, fetch_all, fetch_one, fetch_values
from safefield.backends.sqlite.definition import quote
from safefield.exceptions import BackfillError, BadRow
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS, group_rows, make_error


@contextmanager
def keep_surroundings(connection: Any, plan: Plan) -> Iterator[None]:
    """Refuse what would break a trigger or a view, of whatever table."""
    has_any, is_legacy = fetch_one(
        connection,
        "SELECT EXISTS (SELECT type FROM sqlite_master "
        "WHERE type IN ('trigger', 'view') UNION ALL "
        "SELECT type FROM sqlite_temp_master "
        "WHERE type IN ('trigger', 'view')), legacy_alter_table "
        "FROM pragma_legacy_alter_table",
    )
    if not has_any:
        yield
        return
    before = _find_flaws(connection)
    # Between DROP and RENAME of a remake there is no table of that name,
    # and SQLite would stop at the first view or trigger that reads it.
    execute(connection, "PRAGMA legacy_alter_table = ON")
    try:
        yield
        for what, flaw in _find_flaws(connection).items():
            if what not in before:
                raise _refusal(plan, what, flaw)
    finally:
        execute(connection, f"PRAGMA legacy_alter_table = {is_legacy}")


def refuse_broken_references(connection: Any, plan: Plan) -> None:
    """Refuse to end without a column, or its index, to which foreign keys refer."""
    tables = fetch_values(
        connection,
        "SELECT DISTINCT master.name FROM sqlite_master master, "
        "pragma_foreign_key_list(master.name) list WHERE master.type = 'table' "
        'AND list."table" = %s COLLATE NOCASE AND list."to" = %s COLLATE NOCASE',
        [strip_quotes(plan.table), plan.field.column],
    )
    for table in tables:
        try:
            fetch_all(connection, f"PRAGMA foreign_key_check({quote(table)})")
        except DatabaseError as exc:
            what = f"foreign key of table {table}"
            raise _refusal(plan, what, str(exc)) from exc


def refuse_dangling_keys(connection: Any, plan: Plan) -> None:
    """Refuse keys of the table that point nowhere, in whatever column."""
    name: str = strip_quotes(plan.table)
    bad_rows: list[BadRow] = []
    # By its numbers of rows, which not every table has, it names no key.
    sql = "SELECT DISTINCT fkid FROM pragma_foreign_key_check(%s)"
    for number in fetch_values(connection, sql, [name]):
        bad_rows += _find_dangling(connection, plan, name, number)
    if bad_rows:
        raise make_error(
            plan,
            f" cannot be changed: keys of table {name} point nowhere",
            group_rows(bad_rows),
            "Nothing was changed. Fix these keys, or what sets them, then run "
            "migrate again.",
            bad_rows[:MAX_BAD_ROWS],
        )


def _find_dangling(connection: Any, plan: Plan, name: str, number: int) -> list[BadRow]:
    """Return the rows of which a foreign key, by its number, points nowhere."""
    parts = fetch_all(
        connection,
        'SELECT "table", "from", "to" FROM pragma_foreign_key_list(%s) '
        "WHERE id = %s ORDER BY seq",
        [name, number],
    )
    parent = str(parts[0][0])
    sql = "SELECT name, pk FROM pragma_table_info(%s) ORDER BY pk"
    found = fetch_all(connection, sql, [parent])
    keys = [key for key, place in found if place]
    # A foreign key that names no column refers to the primary key.
    targets = [target or keys[n] for n, (_, _, target) in enumerate(parts) if found]
    table, columns = quote(name), [quote(str(column)) for _, column, _ in parts]
    conditions = [f"{table}.{column} IS NOT NULL" for column in columns]
    if found:
        same = " AND ".join(
            f"parent.{quote(str(target))} = {table}.{column}"
            for target, column in zip(targets, columns, strict=True)
        )
        conditions.append(
            f"NOT EXISTS (SELECT 1 FROM {quote(parent)} parent WHERE {same})"
        )
    own = ", ".join(
        f"{table}.{quote(str(key.column))}" for key in plan.model._meta.pk_fields
    )
    sql = f"SELECT {own} FROM {table} WHERE {' AND '.join(conditions)}"
    return [
        BadRow(
            key[0] if len(key) == 1 else tuple(key),
            f"there is no row in {parent} with the key in {parts[0][1]}",
        )
        for key in fetch_all(connection, sql)
    ]


def _find_flaws(connection: Any) -> dict[str, str]:
    """Return why views cannot be read, and triggers not be fired."""
    found = fetch_all(
        connection,
        "SELECT type, name, tbl_name FROM sqlite_master UNION ALL "
        "SELECT type, name, tbl_name FROM sqlite_temp_master",
    )
    statements = {
        f"view {name}": f"SELECT * FROM {quote(name)}"
        for kind, name, _ in found
        if kind == "view"
    }
    for table in dict.fromkeys(table for kind, _, table in found if kind == "trigger"):
        for event, statement in _list_firing(connection, table):
            statements[f"trigger that {event} of table {table} fires"] = statement
    flaws = {}
    for what, statement in statements.items():
        try:
            # It is only compiled.
            fetch_all(connection, f"EXPLAIN {statement}")
        except DatabaseError as exc:
            flaws[what] = str(exc)
    return flaws


def _list_firing(connection: Any, table: str) -> Iterator[tuple[str, str]]:
    """Yield the statements that fire every trigger on a table, by what they are."""
    columns: list[Any] = []
    # Of a view that cannot be read, which is a flaw of its own.
    with suppress(DatabaseError):
        # Without generated columns, which cannot be assigned to.
        columns = fetch_all(connection, f"PRAGMA table_info({quote(table)})")
    changes = ", ".join(f"{quote(row[1])} = {quote(row[1])}" for row in columns)
    yield "INSERT", f"INSERT INTO {quote(table)} DEFAULT VALUES"
    yield "UPDATE", f"UPDATE {quote(table)} SET {changes}"
    yield "DELETE", f"DELETE FROM {quote(table)}"


def _refusal(plan: Plan, what: str, flaw: str) -> BackfillError:
    return plan.error(
        f"{plan.title} cannot be changed: {what} would no longer work ({flaw}). Fix "
        f"or drop it, then run migrate again. Nothing was changed."
    )
