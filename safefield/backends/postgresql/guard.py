"""PostgreSQL: the check with which SET NOT NULL need not scan the table."""

from __future__ import annotations

from functools import cached_property

from safefield.backends.base.guard import Guard
from safefield.backends.base.locks import Locks
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue


class NotNullCheck(Guard):
    """A check that the column is not NULL."""

    def __init__(self, catalogue: PostgreSQLCatalogue, locks: Locks) -> None:
        super().__init__(locks)
        self.catalogue = catalogue

    @cached_property
    def _name(self) -> str:
        plan = self.catalogue.plan
        name = self.catalogue.editor._create_index_name(
            plan.table, [plan.field.column], suffix="_notnull"
        )
        return self.catalogue.find_check_name(name)

    @property
    def name(self) -> str:
        """The quoted name."""
        return str(self.catalogue.connection.ops.quote_name(self._name))

    @property
    def title(self) -> str:
        return f"check constraint {self._name}"

    def is_there(self) -> bool:
        return self.catalogue.has_constraint(self._name)

    def add(self) -> None:
        self._alter(
            f"ADD CONSTRAINT {self.name} "
            f"CHECK ({self.catalogue.column} IS NOT NULL) NOT VALID"
        )

    def drop(self) -> None:
        if self.is_there():
            self.remove()

    def remove(self) -> None:
        """Drop it, which is there."""
        self._alter(f"DROP CONSTRAINT {self.name}")

    def _alter(self, change: str) -> None:
        sql = f"ALTER TABLE {self.catalogue.table} {change}"
        self.locks.change_table(lambda: self.catalogue.editor.execute(sql, None))
