"""SQLite: triggers and views, which a remake of their table would lose or break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.db.backends.utils import strip_quotes

from safefield.exceptions import BackfillError
from safefield.plan import Plan

__all__ = ["keep_surroundings"]


class _Trigger(NamedTuple):
    name: str
    sql: str


@contextmanager
def keep_surroundings(connection: Any, plan: Plan) -> Iterator[None]:
    """
    Create the triggers of the table again, and see that views still work.

    Raises:
        BackfillError: A trigger or a view needs a column that is gone.
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
        triggers = _triggers(cursor, plan)
        views = [name for name in _views(cursor) if _flaw(cursor, _reading(name)) == ""]
        # Between DROP and RENAME of a remake there is no table of that name,
        # and SQLite would stop at the first view or trigger that reads it.
        cursor.execute("PRAGMA legacy_alter_table = ON")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA legacy_alter_table = {is_legacy}")
        for view in views:
            if flaw := _flaw(cursor, _reading(view)):
                raise _refusal(plan, "view", view, flaw)
        there = {trigger.name for trigger in _triggers(cursor, plan)}
        for trigger in triggers:
            if trigger.name not in there:
                cursor.execute(trigger.sql, None)
            if flaw := _flaw(cursor, *_firing(cursor, plan)):
                raise _refusal(plan, "trigger", trigger.name, flaw)


def _triggers(cursor: Any, plan: Plan) -> list[_Trigger]:
    # In the order in which they were created, which is that of firing.
    cursor.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' "
        "AND tbl_name = %s COLLATE NOCASE ORDER BY rowid",
        [strip_quotes(plan.table)],
    )
    return [_Trigger(*row) for row in cursor.fetchall()]


def _views(cursor: Any) -> list[str]:
    cursor.execute("SELECT name FROM sqlite_master WHERE type = 'view'")
    return [name for (name,) in cursor.fetchall()]


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _reading(view: str) -> str:
    return f"SELECT * FROM {_quote(view)}"


def _firing(cursor: Any, plan: Plan) -> Iterator[str]:
    """Yield statements that fire every trigger of the table between them."""
    table = _quote(strip_quotes(plan.table))
    cursor.execute(f"PRAGMA table_info({table})", None)
    # Without generated columns, which cannot be assigned to.
    columns = [_quote(row[1]) for row in cursor.fetchall()]
    yield f"INSERT INTO {table} DEFAULT VALUES"
    yield f"UPDATE {table} SET " + ", ".join(f"{name} = {name}" for name in columns)
    yield f"DELETE FROM {table}"


def _flaw(cursor: Any, *statements: str) -> str:
    """Return why one of `statements` cannot be run; it is only compiled."""
    for statement in statements:
        try:
            cursor.execute(f"EXPLAIN {statement}", None)
        except DatabaseError as exc:
            return str(exc)
    return ""


def _refusal(plan: Plan, kind: str, name: str, flaw: str) -> BackfillError:
    return BackfillError(
        f"{plan.title} cannot be changed: {kind} {name} would no longer work "
        f"({flaw}). Fix or drop the {kind}, then run migrate again. Nothing was "
        f"changed.",
        model=plan.label,
        field=plan.field_name,
    )
