"""A temporary table of values, found by the keys of their rows."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from django.db.models import Model, QuerySet

from safefield.backends.base.sql import execute
from safefield.fields import AnyField


class ValuesTable:
    """
    Keys and values of rows, in columns of the types that they have in their table.

    So a value is converted once, as by an UPDATE of that table. The name is a new
    one each time: it must not hide a table that the expression reads.

    Args:
        model (type[Model]): The model of the rows.
        field (Field | None): The column of the values; None where the table gets one
            of another type, or is only to be made.
    """

    #: How the table is dropped.
    drop_sql = "DROP TABLE"

    def __init__(
        self, connection: Any, model: type[Model], field: AnyField | None = None
    ) -> None:
        self.connection = connection
        quote = connection.ops.quote_name
        name = f"safefield_{token_hex(8)}"
        self.name: str = quote(name)
        self.index_name: str = quote(f"{name}_key")
        self.table: str = quote(model._meta.db_table)
        keys = {
            f"key{position}": quote(key.column)
            for position, key in enumerate(model._meta.pk_fields)
        }
        columns = keys if field is None else {**keys, "value": quote(field.column)}
        self.keys = ", ".join(keys)
        self.columns = ", ".join(
            f"{column} AS {name}" for name, column in columns.items()
        )
        self.is_row = " AND ".join(
            f"{self.name}.{name} = {self.table}.{column}"
            for name, column in keys.items()
        )

    @property
    def value_sql(self) -> str:
        """The value of a row, without the brackets."""
        return f"SELECT value FROM {self.name} WHERE {self.is_row}"

    @property
    def is_null_sql(self) -> str:
        """Whether that is NULL; NULL itself if the row is not in the table."""
        # MySQL takes the name of a temporary table once in a statement.
        return f"SELECT value IS NULL FROM {self.name} WHERE {self.is_row}"

    def create(self) -> None:
        """Create the table, without rows."""
        self._execute(f"CREATE TEMPORARY TABLE {self.name} AS {self.select_none()}")

    def select_none(self) -> str:
        """Return a query of its columns, without rows."""
        return f"SELECT {self.columns} FROM {self.table} WHERE 1 = 0"

    def insert(self, queryset: QuerySet[Any, Any]) -> None:
        """Insert the rows of `queryset`, whose columns are the keys and the value."""
        sql, params = queryset.query.get_compiler(using=queryset.db).as_sql()
        self._execute(f"INSERT INTO {self.name} ({self.keys}, value) {sql}", params)

    def empty(self) -> None:
        """Delete all rows."""
        self._execute(f"DELETE FROM {self.name}")

    def index(self) -> None:
        """Let a row be found by its key."""
        self._execute(
            f"CREATE UNIQUE INDEX {self.index_name} ON {self.name} ({self.keys})"
        )

    def drop(self) -> None:
        """Drop the table."""
        self._execute(f"{self.drop_sql} {self.name}")

    def _execute(self, sql: str, params: Any = None) -> None:
        execute(self.connection, sql, params)
