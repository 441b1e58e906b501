"""
MySQL and MariaDB: the checks that Django makes with a column.

On MariaDB such a check is one of the column, and MODIFY replaces it. On MySQL it
becomes one of the table, which MODIFY leaves alone and would only add to.
"""

from __future__ import annotations

from typing import Any

from safefield.backends.base.sql import fetch_all, fetch_one
from safefield.fields import AnyField
from safefield.plan import Plan


def get_check(connection: Any, field: AnyField) -> str | None:
    """Return the check that Django makes with a column of this field."""
    check = field.db_parameters(connection)["check"]
    return str(check) if check else None


def find_check_by_hand(connection: Any, plan: Plan) -> str | None:
    """Return the check that somebody made on MariaDB's old column, if there is one."""
    old = plan.old_field
    if old is None or not connection.mysql_is_mariadb:
        return None
    row = fetch_one(
        connection,
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS "
        "WHERE CONSTRAINT_SCHEMA = DATABASE() AND LEVEL = 'Column' "
        "AND TABLE_NAME = %s AND CONSTRAINT_NAME = %s",
        [plan.table, old.column],
    )
    known = [_get_own_check(connection, field) for field in (old, plan.field)]
    return None if row is None or row[0] in known else str(row[0])


def _get_own_check(connection: Any, field: AnyField) -> str | None:
    """Return the check that MariaDB's column of a field has without anybody's doing."""
    if field.db_parameters(connection)["type"] == "json":
        # It is a longtext, to which the server adds this.
        return f"json_valid({connection.ops.quote_name(field.column)})"
    return get_check(connection, field)


def spell_check_changes(
    editor: Any, model: Any, old: AnyField, new: AnyField
) -> list[str]:
    """
    Return what ALTER TABLE has to do on MySQL for the check of another type.

    It asks the server, so that a statement that is repeated adds nothing twice.
    """
    connection: Any = editor.connection
    before, after = get_check(connection, old), get_check(connection, new)
    if connection.mysql_is_mariadb or before == after:
        return []
    table = model._meta.db_table
    found = _find_checks(connection, table)
    quote = connection.ops.quote_name
    changes = []
    if before is not None:
        changes += [
            f"DROP CHECK {quote(name)}" for name, clause in found if clause == before
        ]
    if after is not None and after not in [clause for _, clause in found]:
        name = editor._create_index_name(table, [new.column], suffix="_check")
        changes.append(f"ADD CONSTRAINT {quote(name)} CHECK ({after})")
    return changes


def _find_checks(connection: Any, table: str) -> list[tuple[str, str]]:
    """Return name and text of each check of a table, spelled as Django does."""
    rows = fetch_all(
        connection,
        "SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE "
        "FROM information_schema.CHECK_CONSTRAINTS c "
        "JOIN information_schema.TABLE_CONSTRAINTS t USING "
        "(CONSTRAINT_SCHEMA, CONSTRAINT_NAME) "
        "WHERE t.CONSTRAINT_SCHEMA = DATABASE() AND t.TABLE_NAME = %s",
        [table],
    )
    # The server puts parentheses around each.
    return [(name, clause[1:-1]) for name, clause in rows]
