"""SQLite: what another affinity makes of values, of which each keeps its own type."""

from __future__ import annotations

from safefield.backends.base.conversion import TableConversion


class SQLiteConversion(TableConversion):
    """What the values of an altered column become."""

    leaves_texts = True

    def _definition(self) -> str:
        columns = [
            f"key{n} {key.rel_db_type(self.connection)}"
            for n, key in enumerate(self.plan.model._meta.pk_fields)
        ]
        columns.append(f"value {self.plan.field.db_type(self.connection)}")
        return f"CREATE TEMPORARY TABLE {self.table.name} ({', '.join(columns)})"
