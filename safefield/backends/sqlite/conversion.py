"""SQLite: what another affinity makes of values, of which each keeps its own type."""

from __future__ import annotations

from django.db.models import AutoField

from safefield.backends.base.conversion import TableConversion


class SQLiteConversion(TableConversion):
    """What the values of an altered column become."""

    leaves_texts = True

    def _definition(self) -> str:
        columns = []
        for n, key in enumerate(self.plan.model._meta.pk_fields):
            is_auto = isinstance(key, AutoField)
            get_type = key.rel_db_type if is_auto else key.db_type
            columns.append(f"key{n} {get_type(self.connection)}")
        columns.append(f"value {self.plan.field.db_type(self.connection)}")
        return f"CREATE TEMPORARY TABLE {self.table.name} ({', '.join(columns)})"
