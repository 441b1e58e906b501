"""MySQL and MariaDB: a temporary table, for CAST knows few types and never refuses."""

from __future__ import annotations

from typing import Any

from django.db.models import JSONField
from django.db.models.functions import Cast

from safefield.backends.base.conversion import TableConversion
from safefield.backends.base.sql import fetch_one
from safefield.backends.mysql.rights import MySQLRights
from safefield.backends.mysql.values_table import MySQLValuesTable


class MySQLConversion(TableConversion):
    """What the values of an altered column become."""

    rights_class = MySQLRights
    table_class = MySQLValuesTable

    def _old_value(self) -> Any:
        value = super()._old_value()
        integers = self.connection.ops.integer_field_ranges
        if (
            isinstance(self.plan.field, JSONField)
            and self.old_field.get_internal_type() in integers
        ):
            # MySQL's INSERT takes no number for a document; its ALTER TABLE does.
            return Cast(value, self.plan.field)
        return value

    def _definition(self) -> str:
        parameters = self.plan.field.db_parameters(self.connection)
        value = f"value {parameters['type']}"
        if collation := parameters.get("collation"):
            value += f" COLLATE {self.connection.ops.quote_name(collation)}"
        options = spell_options(self.connection, self.plan.table)
        # The keys as they are, with their collations.
        return (
            f"CREATE TEMPORARY TABLE {self.table.name} "
            f"({value}, PRIMARY KEY ({self.table.keys})){options} "
            f"AS {self.table.select_none()}"
        )


def spell_options(connection: Any, table: str) -> str:
    """Return what makes columns of a new table have the character set of another's."""
    row = fetch_one(
        connection,
        "SELECT TABLE_COLLATION FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
        [table],
    )
    return f" COLLATE {row[0]}" if row and row[0] else ""
