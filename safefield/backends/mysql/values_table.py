"""MySQL and MariaDB: a temporary table that ends no transaction."""

from __future__ import annotations

from safefield.backends.base.values_table import ValuesTable


class MySQLValuesTable(ValuesTable):
    """The temporary table on MySQL and MariaDB."""

    #: DROP TABLE commits, and DROP TEMPORARY TABLE does not.
    drop_sql = "DROP TEMPORARY TABLE"

    def create(self) -> None:
        # CREATE INDEX commits, and hosted servers want a primary key in each table.
        self._execute(
            f"CREATE TEMPORARY TABLE {self.name} (PRIMARY KEY ({self.keys})) "
            f"AS {self.select_none()}"
        )

    def index(self) -> None:
        """Do nothing: the table has its primary key."""
