"""SQLite: triggers, views and keys of any table, which a change of one could break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.backends.utils import strip_quotes

from safefield.backends.sqlite.definition import quote
from safefield.exceptions import BackfillError, BadRow
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS, group_rows, make_error

#: What fires triggers.
EVENTS = ("INSERT", "UPDATE", "DELETE")


class _Trigger(NamedTuple):
    """
    A trigger, on a table or on a view.

    Args:
        name (str): Its name.
        table (str): What it is on.
        sql (str): The text that makes it.
        schema (str): "main", or "temp" for one of this connection alone.
    """

    name: str
    table: str
    sql: str
    schema: str


@contextmanager
def keep_surroundings(connection: Any, plan: Plan) -> Iterator[None]:
    """
    Create the triggers of the table again, and see that what worked still works.

    Raises:
        BackfillError: A trigger or a view, of whatever table, would fail now.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT type FROM sqlite_master "
            "WHERE type IN ('trigger', 'view') UNION ALL "
            "SELECT type FROM sqlite_temp_master "
            "WHERE type IN ('trigger', 'view')), legacy_alter_table "
            "FROM pragma_legacy_alter_table"
        )
        has_any, is_legacy = cursor.fetchone()
        if not has_any:
            yield
            return
        triggers = _triggers(cursor)
        views = [name for name in _views(cursor) if not _flaw(cursor, _reading(name))]
        tables = list(dict.fromkeys(trigger.table for trigger in triggers))
        firing = [
            (table, event)
            for table in tables
            for event in EVENTS
            if not _flaw_of(cursor, table, event)
        ]
        # Between DROP and RENAME of a remake there is no table of that name,
        # and SQLite would stop at the first view or trigger that reads it.
        cursor.execute("PRAGMA legacy_alter_table = ON")
        try:
            yield
            _create_again(cursor, plan, triggers)
            for view in views:
                if flaw := _flaw(cursor, _reading(view)):
                    raise _refusal(plan, "view", view, flaw)
            for table, event in firing:
                if flaw := _flaw_of(cursor, table, event):
                    culprit = _find_culprit(connection, table, event, flaw)
                    raise _refusal(plan, "trigger", culprit, flaw)
        finally:
            cursor.execute(f"PRAGMA legacy_alter_table = {is_legacy}")


def refuse_broken_references(connection: Any, plan: Plan) -> None:
    """
    Refuse a column that foreign keys of other tables can no longer point to.

    Raises:
        BackfillError: The column, or its unique index, is gone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT master.name FROM sqlite_master master, "
            "pragma_foreign_key_list(master.name) list WHERE master.type = 'table' "
            'AND list."table" = %s COLLATE NOCASE AND list."to" = %s COLLATE NOCASE',
            [strip_quotes(plan.table), plan.field.column],
        )
        for (table,) in cursor.fetchall():
            try:
                cursor.execute(f"PRAGMA foreign_key_check({quote(table)})", None)
                cursor.fetchall()
            except DatabaseError as exc:
                raise _refusal(
                    plan, "foreign key", f"of table {table}", str(exc)
                ) from exc


def refuse_dangling_keys(connection: Any, plan: Plan) -> None:
    """
    Refuse keys of the table that point nowhere, in whatever column.

    Raises:
        BackfillError: It names the rows.
    """
    name: str = strip_quotes(plan.table)
    bad_rows: list[BadRow] = []
    with connection.cursor() as cursor:
        # By its numbers of rows, which not every table has, it names no key.
        cursor.execute("SELECT DISTINCT fkid FROM pragma_foreign_key_check(%s)", [name])
        for (number,) in cursor.fetchall():
            bad_rows += _find_dangling(cursor, plan, name, number)
    if bad_rows:
        raise make_error(
            plan,
            f" cannot be changed: keys of table {name} point nowhere",
            group_rows(bad_rows),
            "Nothing was changed. Fix these keys, or what sets them, then run "
            "migrate again.",
            bad_rows[:MAX_BAD_ROWS],
        )


def _find_dangling(cursor: Any, plan: Plan, name: str, number: int) -> list[BadRow]:
    """Return the rows of which a foreign key, by its number, points nowhere."""
    cursor.execute(
        'SELECT "table", "from", "to" FROM pragma_foreign_key_list(%s) '
        "WHERE id = %s ORDER BY seq",
        [name, number],
    )
    parts = cursor.fetchall()
    parent = str(parts[0][0])
    cursor.execute("SELECT name, pk FROM pragma_table_info(%s) ORDER BY pk", [parent])
    found = cursor.fetchall()
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
    cursor.execute(f"SELECT {own} FROM {table} WHERE {' AND '.join(conditions)}", None)
    return [
        BadRow(
            key[0] if len(key) == 1 else tuple(key),
            f"there is no row in {parent} with the key in {parts[0][1]}",
        )
        for key in cursor.fetchall()
    ]


def _triggers(cursor: Any) -> list[_Trigger]:
    # In the order in which they were created, which is that of firing.
    cursor.execute(
        "SELECT name, tbl_name, sql, 'main', rowid FROM sqlite_master "
        "WHERE type = 'trigger' UNION ALL "
        "SELECT name, tbl_name, sql, 'temp', rowid FROM sqlite_temp_master "
        "WHERE type = 'trigger' ORDER BY 4, 5"
    )
    return [_Trigger(*row[:4]) for row in cursor.fetchall()]


def _views(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'view' UNION ALL "
        "SELECT name FROM sqlite_temp_master WHERE type = 'view'"
    )
    return [name for (name,) in cursor.fetchall()]


def _create_again(cursor: Any, plan: Plan, triggers: list[_Trigger]) -> None:
    """Create those triggers of the table that a remake of Django has dropped."""
    table = strip_quotes(plan.table).lower()
    there = {trigger.name for trigger in _triggers(cursor)}
    for trigger in triggers:
        if trigger.table.lower() == table and trigger.name not in there:
            # The text of a temporary trigger does not say that it is.
            how = "CREATE TEMP" if trigger.schema == "temp" else "CREATE"
            cursor.execute(trigger.sql.replace("CREATE", how, 1), None)


def _reading(view: str) -> str:
    return f"SELECT * FROM {quote(view)}"


def _firing(cursor: Any, table: str, event: str) -> str:
    """Return a statement that fires every trigger of `event` on a table."""
    if event == "INSERT":
        return f"INSERT INTO {quote(table)} DEFAULT VALUES"
    if event == "DELETE":
        return f"DELETE FROM {quote(table)}"
    # Without generated columns, which cannot be assigned to.
    cursor.execute(f"PRAGMA table_info({quote(table)})", None)
    columns = [quote(row[1]) for row in cursor.fetchall()]
    changes = ", ".join(f"{name} = {name}" for name in columns)
    return f"UPDATE {quote(table)} SET {changes}"


def _flaw(cursor: Any, statement: str) -> str:
    """Return why a statement cannot be run; it is only compiled."""
    try:
        cursor.execute(f"EXPLAIN {statement}", None)
        # To its end: a statement that is under way is in the way of a savepoint.
        cursor.fetchall()
    except DatabaseError as exc:
        return str(exc)
    return ""


def _flaw_of(cursor: Any, table: str, event: str) -> str:
    """Return why rows of a table, or of a view, cannot be written."""
    try:
        statement = _firing(cursor, table, event)
    except DatabaseError as exc:
        return str(exc)
    return _flaw(cursor, statement)


def _find_culprit(connection: Any, table: str, event: str, flaw: str) -> str:
    """
    Return the trigger that makes a statement fail, with its table.

    It may be on another table, to which a trigger of this one writes.
    """
    with connection.cursor() as cursor:
        triggers = _triggers(cursor)
        for suspect in triggers:
            others = [trigger for trigger in triggers if trigger is not suspect]
            with transaction.atomic(using=connection.alias):
                for other in others:
                    name = f"{other.schema}.{quote(other.name)}"
                    cursor.execute(f"DROP TRIGGER {name}", None)
                flaws = [_flaw_of(cursor, suspect.table, each) for each in EVENTS]
                transaction.set_rollback(True, using=connection.alias)
            if flaw in flaws:
                return f"{suspect.name} of table {suspect.table}"
    return f"for {event} of table {table}"


def _refusal(plan: Plan, kind: str, name: str, flaw: str) -> BackfillError:
    return plan.error(
        f"{plan.title} cannot be changed: {kind} {name} would no longer work "
        f"({flaw}). Fix or drop the {kind}, then run migrate again. Nothing was "
        f"changed."
    )
