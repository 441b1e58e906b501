"""PostgreSQL: the check with which SET NOT NULL need not scan the table."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from safefield.backends.base.guard import Guard
from safefield.backends.base.locks import Locks
from safefield.backends.postgresql import catalogue
from safefield.plan import Plan


class NotNullCheck(Guard):
    """
    A check that the column is not NULL.

    Args:
        editor (BaseDatabaseSchemaEditor): Django's schema editor.
        plan (Plan): What the operation asks for.
        locks (Locks): The locks of the plan.
        alter (Callable[[str], None]): Changes the table, without a long wait.
    """

    kind = "check constraint"

    def __init__(
        self, editor: Any, plan: Plan, locks: Locks, alter: Callable[[str], None]
    ) -> None:
        super().__init__(locks)
        self.editor = editor
        self.plan = plan
        self.alter = alter
        quote_name = editor.connection.ops.quote_name
        self.table = quote_name(plan.table)
        self.column = quote_name(plan.field.column)

    @cached_property
    def _name(self) -> str:
        column = self.plan.field.column
        name: str = self.editor._create_index_name(
            self.plan.table, [column], suffix="_notnull"
        )
        if self.editor.collect_sql:
            return name
        return catalogue.find_check_name(
            self.editor.connection, self.table, column, name
        )

    @property
    def name(self) -> str:
        """The quoted name."""
        return str(self.editor.connection.ops.quote_name(self._name))

    @property
    def title(self) -> str:
        return f"{self.kind} {self._name}"

    def is_there(self) -> bool:
        return not self.editor.collect_sql and catalogue.has_constraint(
            self.editor.connection, self.table, self._name
        )

    def add(self) -> None:
        self.alter(
            f"ADD CONSTRAINT {self.name} CHECK ({self.column} IS NOT NULL) NOT VALID"
        )

    def drop(self) -> None:
        if self.editor.collect_sql or self.is_there():
            self.alter(f"DROP CONSTRAINT {self.name}")
