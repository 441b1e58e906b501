"""PostgreSQL: a sample of pages, whatever the primary key."""

from __future__ import annotations

from safefield.backends.base.census import Census
from safefield.backends.base.sql import fetch_one, fetch_value
from safefield.backends.base.tally import Tally, extrapolate

#: Pages of a table that are read at the most. The share is exact to about two
#: percent: 1 / (2 * sqrt(SAMPLE_PAGES)), for a page is filled as a whole.
SAMPLE_PAGES = 1_000


class PostgreSQLCensus(Census):
    """Counts with TABLESAMPLE where a table is big."""

    def sample(self) -> Tally | None:
        quote_name = self.connection.ops.quote_name
        table, column = map(quote_name, (self.plan.table, self.plan.field.column))
        # A partitioned table has no pages of its own.
        size = fetch_value(
            self.connection,
            "SELECT COALESCE((SELECT sum(pg_relation_size(relid)) "
            "FROM pg_partition_tree(oid)), pg_relation_size(oid)) "
            "/ current_setting('block_size')::int "
            "FROM pg_class WHERE oid = %s::regclass",
            [table],
        )
        pages = int(size)
        if pages <= SAMPLE_PAGES:
            return None
        percent = 100 * SAMPLE_PAGES / pages
        seen, filled = fetch_one(
            self.connection,
            f"SELECT count(*), count({column}) FROM {table} "
            f"TABLESAMPLE SYSTEM ({percent})",
        )
        # Not from the statistics, which are those of the last ANALYZE.
        return extrapolate(round(100 * seen / percent), seen, filled)
