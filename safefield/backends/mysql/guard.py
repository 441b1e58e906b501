"""MySQL and MariaDB: keep rows without a value from coming, for a while."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError

from safefield.backends.base.locks import Locks
from safefield.plan import Plan

__all__ = ["NullGuard"]

#: Error numbers of a trigger that this user may not create: "command denied",
#: "access denied; you need SUPER", "you do not have SUPER and binary logging
#: is enabled". Source: mysqld_error.h.
NOT_ALLOWED = {1142, 1227, 1419}


class NullGuard:
    """
    A trigger that refuses new rows without a value.

    NULLs that come while the table is rebuilt make the rebuild fail at its
    end, and a site with old code may insert them all the time. Neither server
    adds a CHECK constraint without a copy of the table that stops all writers.

    Args:
        editor (BaseDatabaseSchemaEditor): Django's schema editor.
        plan (Plan): What the operation asks for.
        locks (Locks): The locks of the plan.
    """

    def __init__(self, editor: Any, plan: Plan, locks: Locks) -> None:
        self.editor = editor
        self.plan = plan
        self.locks = locks
        self.quote = editor.connection.ops.quote_name
        column = plan.field.column
        self.name = editor._create_index_name(plan.table, [column], suffix="_notnull")

    def create(self) -> None:
        """Create the trigger, unless it is there or not allowed."""
        column = self.quote(self.plan.field.column)
        message = f"Column '{self.plan.field.column}' cannot be null"
        if self.is_there():
            return
        try:
            self._execute(
                f"CREATE TRIGGER {self.quote(self.name)} "
                f"BEFORE INSERT ON {self.quote(self.plan.table)} FOR EACH ROW "
                f"BEGIN IF NEW.{column} IS NULL THEN SIGNAL SQLSTATE '23000' "
                f"SET MYSQL_ERRNO = 1048, "
                f"MESSAGE_TEXT = {self.editor.quote_value(message)}; "
                f"END IF; END"
            )
        except DatabaseError as exc:
            if exc.args[0] not in NOT_ALLOWED:
                raise

    def drop(self) -> None:
        """Drop the trigger, also that of a run that was stopped."""
        if self.is_there():
            self._execute(f"DROP TRIGGER {self.quote(self.name)}")

    def is_there(self) -> bool:
        """Return whether the table has the trigger."""
        with self.editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.TRIGGERS "
                "WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = %s",
                [self.name],
            )
            return cursor.fetchone() is not None

    def _execute(self, sql: str) -> None:
        self.locks.change_table(lambda: self.editor.execute(sql, None))
