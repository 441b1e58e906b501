"""MySQL and MariaDB: keep rows without a value from coming, for a while."""

from __future__ import annotations

import itertools
from typing import Any

from django.db import DatabaseError

from safefield.backends.base.guard import Guard
from safefield.backends.base.locks import Locks
from safefield.backends.base.sql import fetch_values
from safefield.plan import Plan

#: Error numbers of a trigger that this user may not create: "command denied",
#: "access denied; you need SUPER", "you do not have SUPER and binary logging
#: is enabled". Source: mysqld_error.h.
NOT_ALLOWED = {1142, 1227, 1419}


class NullGuard(Guard):
    """
    A trigger that refuses new rows without a value.

    NULLs that come while the table is rebuilt make the rebuild fail at its
    end, and a site with old code may insert them all the time. Neither server
    adds a CHECK constraint without a copy of the table that stops all writers.
    """

    def __init__(self, editor: Any, plan: Plan, locks: Locks) -> None:
        super().__init__(locks)
        self.editor = editor
        self.plan = plan
        self.quote = editor.connection.ops.quote_name
        column = plan.field.column
        self.name = editor._create_index_name(plan.table, [column], suffix="_notnull")
        #: How it begins, by which it is known again: the name may be somebody
        #: else's, and the server spells the text of a message in its own way.
        self.head = (
            f"BEGIN IF NEW.{self.quote(column)} IS NULL THEN SIGNAL SQLSTATE '23000' "
            f"SET MYSQL_ERRNO = 1048, MESSAGE_TEXT = "
        )

    @property
    def title(self) -> str:
        return f"trigger {self.name}"

    def add(self) -> None:
        """Create the trigger, unless that is not allowed."""
        message = f"Column '{self.plan.field.column}' cannot be null"
        self.name = self._free_name()
        try:
            self._execute(
                f"CREATE TRIGGER {self.quote(self.name)} "
                f"BEFORE INSERT ON {self.quote(self.plan.table)} FOR EACH ROW "
                f"{self.head}{self.editor.quote_value(message)}; END IF; END"
            )
        except DatabaseError as exc:
            if exc.args[0] not in NOT_ALLOWED:
                raise

    def drop(self) -> None:
        for name in self._find_names():
            self._execute(f"DROP TRIGGER {self.quote(name)}")

    def is_there(self) -> bool:
        names = self._find_names()
        if names:
            self.name = names[0]
        return bool(names)

    def _find_names(self) -> list[str]:
        return self._select(
            "EVENT_OBJECT_TABLE = %s AND ACTION_TIMING = 'BEFORE' "
            "AND EVENT_MANIPULATION = 'INSERT' "
            "AND LEFT(ACTION_STATEMENT, CHAR_LENGTH(%s)) = %s",
            self.plan.table,
            self.head,
            self.head,
        )

    def _free_name(self) -> str:
        """Return a name that no trigger of the database has."""
        name: str = self.name
        for number in itertools.count(2):
            if not self._select("TRIGGER_NAME = %s", name):
                break
            name = f"{self.name[:60]}_{number}"
        return name

    def _select(self, condition: str, *params: str) -> list[str]:
        return fetch_values(
            self.editor.connection,
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "
            f"WHERE TRIGGER_SCHEMA = DATABASE() AND {condition}",
            params,
        )

    def _execute(self, sql: str) -> None:
        self.locks.change_table(lambda: self.editor.execute(sql, None))
