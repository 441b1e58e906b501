"""SQLite: types that a STRICT table has not."""

from __future__ import annotations

from safefield.backends.base.preflight import Preflight
from safefield.backends.sqlite.definition import Definition

#: The types of a STRICT table. Source: https://www.sqlite.org/stricttables.html.
STRICT_TYPES = ("INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY")


class SQLitePreflight(Preflight):
    """What may be in the way of one plan."""

    def check_table(self) -> None:
        super().check_table()
        definition = Definition.read(self.connection, self.plan.table)
        kind = str(self.plan.field.db_type(self.connection))
        if definition.is_strict and kind.upper() not in STRICT_TYPES:
            raise self.plan.error(
                f"{self.plan.title} cannot be added: table {self.plan.table} is "
                f"STRICT, and has no type {kind}. Use a field whose type is "
                f"{', '.join(STRICT_TYPES[:-1])} or {STRICT_TYPES[-1]}, such as "
                f"TextField. Nothing was changed."
            )
