"""PostgreSQL: which rows were written since a moment."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Model, QuerySet
from django.db.models.expressions import RawSQL

from safefield.backends.base.conversion import Conversion
from safefield.backends.base.sql import fetch_value

#: What a row keeps of the number of the transaction that wrote it.
XID_LIMIT = 2**32


class PostgreSQLConversion(Conversion):
    """What the values of an altered column become."""

    def get_mark(self) -> Any:
        # The oldest transaction that is not over: what it writes may be seen later.
        sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
        return str(int(fetch_value(self.connection, sql)) % XID_LIMIT)

    def filter_changed(self, rows: QuerySet[Model], mark: Any) -> QuerySet[Model]:
        table = self.connection.ops.quote_name(self.plan.table)
        changed: QuerySet[Model] = rows.filter(
            RawSQL(
                f"age({table}.xmin) <= age(%s::text::xid)",
                (mark,),
                output_field=BooleanField(),
            )
        )
        return changed
