"""MySQL and MariaDB: a temporary table, for CAST knows few types and never refuses."""

from __future__ import annotations

from safefield.backends.base.conversion import TableConversion

__all__ = ["MySQLConversion"]


class MySQLConversion(TableConversion):
    """What the values of an altered column become."""

    drop_sql = "DROP TEMPORARY TABLE"

    def _definition(self) -> str:
        quote = self.connection.ops.quote_name
        parameters = self.plan.field.db_parameters(self.connection)
        value = f"value {parameters['type']}"
        if collation := parameters.get("collation"):
            value += f" COLLATE {quote(collation)}"
        # The keys as they are, with their collations.
        keys = ", ".join(
            f"{quote(key.column)} AS key{n}" for n, key in enumerate(self._keys)
        )
        names = ", ".join(f"key{n}" for n in range(len(self._keys)))
        return (
            f"CREATE TEMPORARY TABLE {self.table} ({value}, PRIMARY KEY ({names}))"
            f"{self._table_options()} AS SELECT {keys} FROM {quote(self.plan.table)} "
            f"LIMIT 0"
        )

    def _table_options(self) -> str:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT TABLE_COLLATION FROM information_schema.TABLES "
                "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                [self.plan.table],
            )
            row = cursor.fetchone()
        return f" COLLATE {row[0]}" if row and row[0] else ""
