"""Write many values at once, on any database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter
from typing import Any

import django
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.sql import UpdateQuery

from safefield.fields import AnyField, is_stock_integer
from safefield.progress import shows_statements, statement

#: Key and values of one row, ready for the database: a key is a tuple with a
#: part for each column of the primary key.
Row = tuple[tuple[Any, ...], tuple[Any, ...]]

#: Characters that are said of a statement, which may have a piece for each row.
MAX_SAID = 1_000

#: How a field is asked for the SQL around its value.
PLACE = "get_placeholder_sql" if django.VERSION >= (6, 1) else "get_placeholder"


class Writer:
    """
    Write values into rows of one table, found by primary key.

    Args:
        only_null (Field | None): Write only rows whose value in this column
            is still NULL, so that what the application wrote meanwhile stays.
        set_null (Field | None): Set this column to NULL in the same statement.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        model: type[Model],
        fields: Sequence[AnyField],
        *,
        only_null: AnyField | None = None,
        set_null: AnyField | None = None,
    ) -> None:
        self.connection = connection
        self.model = model
        self.fields = list(fields)
        self.keys = list(model._meta.pk_fields)
        self.columns = self.keys + self.fields
        self.only_null = only_null
        self.set_null = set_null
        self._is_said = False

    def write(self, rows: Sequence[Row]) -> int:
        """Write `rows`, if they are there; return how many the database has changed."""
        with self._saying():
            if len(rows) == 1:
                # As save() does, so that it is refused or not as save() would be.
                return self._write_singly(rows)
            return self._write(rows) if rows else 0

    def update(self, rows: QuerySet[Any, Any], value: Any) -> int:
        """Set the field of `rows`, and no other column; return how many it was."""
        with self._saying():
            return self._update(rows, value)

    def _update(self, rows: QuerySet[Any, Any], value: Any) -> int:
        return rows.update(**{self.fields[0].name: value})

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Say the first statement that writes rows, where statements are wanted."""
        if self._is_said or not shows_statements():
            yield
            return

        def say(execute: Any, sql: Any, *args: Any) -> Any:
            if not self._is_said and "UPDATE" in str(sql):
                self._is_said = True
                # Without the values, which are parameters.
                statement(f"{str(sql)[:MAX_SAID]}; and so on")
            return execute(sql, *args)

        with self.connection.execute_wrapper(say):
            yield

    @cached_property
    def has_plain_key(self) -> bool:
        """Whether the primary key is one integer, which needs no preparing."""
        return len(self.keys) == 1 and is_stock_integer(self.keys[0])

    @cached_property
    def key_of(self) -> Callable[[Model], tuple[Any, ...]]:
        """A function of a row: its primary key, ready for the database."""
        get_value = attrgetter(self.keys[0].attname)
        if self.has_plain_key:
            return lambda row: (get_value(row),)
        return lambda row: tuple(
            key.get_db_prep_value(getattr(row, key.attname), self.connection)
            for key in self.keys
        )

    @classmethod
    def get_freezers(
        cls, connection: BaseDatabaseWrapper
    ) -> dict[type, Callable[[Any], Any]]:
        """
        Return what makes a parameter one that nobody can change, by its type.

        What populate returns may have another state when the batch is written.
        """
        freezers: dict[type, Callable[[Any], Any]] = {
            bytearray: bytes,
            memoryview: bytes,
        }

        def freeze(value: Any) -> Any:
            found = freezers.get(type(value))
            return value if found is None else found(value)

        freezers[list] = lambda values: [freeze(value) for value in values]
        freezers[dict] = lambda values: {k: freeze(v) for k, v in values.items()}
        return freezers

    def _write(self, rows: Sequence[Row]) -> int:
        return self._write_singly(rows)

    def _write_singly(self, rows: Sequence[Row]) -> int:
        # One prepared statement, run once a row.
        if not self.is_placed:
            return self._write_many(
                ["%s"] * len(self.columns), [values + key for key, values in rows]
            )
        # Rows with the same SQL around their values go together.
        groups: dict[tuple[str, ...], list[list[Any]]] = {}
        for row in rows:
            places, parameters = self.place_row(row)
            count = len(self.keys)
            sql = (*places[count:], *places[:count])
            ordered = parameters[count:] + parameters[:count]
            groups.setdefault(sql, []).append([p for part in ordered for p in part])
        return sum(self._write_many(sql, many) for sql, many in groups.items())

    def _write_many(
        self, places: Sequence[str], parameters: Sequence[Sequence[Any]]
    ) -> int:
        # Values first, then keys, as they stand in the statement.
        pairs = [
            f"{self.quote(field)} = {place}"
            for field, place in zip(self.fields + self.keys, places, strict=True)
        ]
        assignments, conditions = pairs[: len(self.fields)], pairs[len(self.fields) :]
        sql = (
            f"UPDATE {self.table} "
            f"SET {', '.join(assignments + self.extra_assignments())} "
            f"WHERE {' AND '.join(conditions + self.extra_conditions())}"
        )
        with self.connection.cursor() as cursor:
            if len(parameters) == 1:
                cursor.execute(sql, parameters[0])
            else:
                cursor.executemany(sql, parameters)
            return int(cursor.rowcount)

    def extra_assignments(self) -> list[str]:
        """Return the assignments that are the same for all rows."""
        return [] if self.set_null is None else [f"{self.quote(self.set_null)} = NULL"]

    def extra_conditions(self, table: str = "") -> list[str]:
        """Return the conditions that are the same for all rows."""
        if self.only_null is None:
            return []
        return [f"{table}{self.quote(self.only_null)} IS NULL"]

    # Fields that want SQL of their own around a value

    @cached_property
    def is_placed(self) -> bool:
        """Whether a field wants more than a plain placeholder."""
        return any(hasattr(field, PLACE) for field in self.columns)

    def place_row(self, row: Row) -> tuple[list[str], list[Sequence[Any]]]:
        """Return the SQL and the parameters of each column, the keys first."""
        placed = [
            self._place(field, value)
            for field, value in zip(self.columns, row[0] + row[1], strict=True)
        ]
        return [sql for sql, _ in placed], [parameters for _, parameters in placed]

    def _place(self, field: AnyField, value: Any) -> tuple[str, Sequence[Any]]:
        place = getattr(field, PLACE, None)
        if place is None:
            return "%s", (value,)
        sql = place(value, self._compiler, self.connection)
        if django.VERSION >= (6, 1):
            return sql[0], sql[1]
        return sql, (value,)

    @cached_property
    def _compiler(self) -> Any:
        return UpdateQuery(self.model).get_compiler(connection=self.connection)

    # Names

    @property
    def table(self) -> str:
        """The quoted table."""
        return self.quote_name(self.model._meta.db_table)

    @cached_property
    def batch(self) -> str:
        """What the rows to be written are called in a statement."""
        name = "safefield_batch"
        # Without regard to case or to the schema that db_table may have.
        while name in self.model._meta.db_table.lower():
            name += "_"
        return name

    def quote_name(self, name: str) -> str:
        """Return `name` quoted for the database."""
        return self.connection.ops.quote_name(name)

    def quote(self, field: AnyField) -> str:
        """Return the quoted column of `field`."""
        return self.quote_name(field.column)
