"""A temporary table of the values that only the whole table has."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from django.db.models import QuerySet

from safefield.backends.base.sql import execute
from safefield.backends.base.writer import Writer
from safefield.fields import AnyField


class ValuesTable:
    """
    Keys and values of rows, in columns of the types that they have in their table.

    So a value is converted once, as by an UPDATE of that table. The name is a new
    one each time: it must not hide a table that the expression reads.

    Args:
        fields (Sequence[Field]): The column of the values; none to see whether such
            a table can be made.
    """

    #: How the table is dropped.
    drop_sql = "DROP TABLE"

    def __init__(self, writer: Writer, fields: Sequence[AnyField]) -> None:
        self.writer = writer
        self.connection = writer.connection
        name = f"safefield_{token_hex(8)}"
        self.name = writer.quote_name(name)
        self.index_name = writer.quote_name(f"{name}_key")
        keys = [f"key{position}" for position in range(len(writer.keys))]
        names = [*keys, "value"] if fields else keys
        self.keys = ", ".join(keys)
        self.columns = ", ".join(
            f"{writer.quote(field)} AS {name}"
            for field, name in zip([*writer.keys, *fields], names, strict=True)
        )
        self.is_row = " AND ".join(
            f"{self.name}.{name} = {writer.table}.{writer.quote(field)}"
            for field, name in zip(writer.keys, keys, strict=True)
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
        self._execute(f"CREATE TEMPORARY TABLE {self.name} AS {self._select()}")

    def _select(self) -> str:
        return f"SELECT {self.columns} FROM {self.writer.table} WHERE 1 = 0"

    def insert(self, queryset: QuerySet[Any, Any]) -> None:
        """Insert the rows of `queryset`, whose columns are the keys and the value."""
        sql, params = queryset.query.get_compiler(using=queryset.db).as_sql()
        self._execute(f"INSERT INTO {self.name} {sql}", params)

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
