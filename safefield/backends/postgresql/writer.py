"""PostgreSQL: one UPDATE a batch, joined with arrays of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from json import dumps
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.backends.base.sql import execute, fetch_all
from safefield.backends.base.writer import Row, Writer

#: Parameters in a statement at the most when they are bound by the server.
#: Source: the protocol's Bind message counts them in 16 bits.
MAX_PARAMETERS = 65_535

#: The types of a table's columns, spelled so that a cast cuts nothing: what does not
#: fit into the column is for the column to refuse. With NULL for -1, char(n) would be
#: `character`, which is char(1); and a cast to a domain has the domain's length. Only
#: an interval has its modifier: it says what a bare number is, and refuses nothing;
#: but that of an array does not say it.
COLUMN_TYPES = """
    WITH RECURSIVE typed(attname, attcollation, typid, modifier, depth) AS (
        SELECT attname, attcollation, atttypid, atttypmod, 0 FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT attname, attcollation,
            coalesce(nullif(own.typbasetype, 0), below.typarray),
            own.typtypmod, depth + 1
        FROM typed JOIN pg_type own ON own.oid = typid
        LEFT JOIN pg_type item ON item.oid = own.typelem AND item.typtype = 'd'
        LEFT JOIN pg_type below ON below.oid = item.typbasetype
        WHERE own.typtype = 'd' OR below.typarray <> 0
    )
    SELECT DISTINCT ON (attname) attname,
        format_type(
            typid, CASE typid WHEN 'interval'::regtype THEN modifier ELSE -1 END
        ),
        typcategory IN ('A', 'C') OR typid = 'interval'::regtype AND modifier <> -1,
        nullif(attcollation, 0)::regcollation::text
    FROM typed JOIN pg_type ON pg_type.oid = typid
    ORDER BY attname, depth DESC
    """


class ColumnType(NamedTuple):
    """What the catalogue says of a column."""

    #: Its type, or the one below a domain, without the length.
    kind: str
    #: Whether it cannot be in an array that unnest() takes apart.
    nests: bool
    #: Quoted; None if it is no text.
    collation: str | None


class PostgreSQLWriter(Writer):
    """Write with UPDATE … FROM unnest(…), or VALUES where that cannot be."""

    @classmethod
    def get_freezers(
        cls, connection: BaseDatabaseWrapper
    ) -> dict[type, Callable[[Any], Any]]:
        from django.db.backends.postgresql.psycopg_any import Jsonb

        freezers = super().get_freezers(connection)
        # Else psycopg would dump it when the batch is written.
        freezers[Jsonb] = dump_json
        if connection.settings_dict["OPTIONS"].get("server_side_binding"):
            return freezers
        # A literal -0.0 is a number, 0; in the array of a batch it would be a float.
        # Not so in a list, which is an array anyway.
        return {**freezers, float: lambda number: number or 0.0}

    def _write(self, rows: Sequence[Row]) -> int:
        if self.is_placed or any(column.nests for column in self._types):
            return self._write_values(rows)
        keys, values = zip(*rows, strict=True)
        arrays = [
            to_array(column)
            for columns in (zip(*keys, strict=True), zip(*values, strict=True))
            for column in columns
        ]
        if None in arrays:
            return self._write_values(rows)
        source = ", ".join(f"%s::{column.kind}[]" for column in self._types)
        return self._execute(f"unnest({source})", arrays, rows)

    def _write_values(self, rows: Sequence[Row]) -> int:
        """Write with VALUES, which takes each value by itself."""
        placed = [self.place_row(row) for row in rows]
        size = (MAX_PARAMETERS - 2) // max(
            sum(map(len, parameters)) for _, parameters in placed
        )
        count = 0
        for start in range(0, len(rows), size):
            part = placed[start : start + size]
            source = ", ".join(
                "(" + ", ".join(map(_cast, places, self._types)) + ")"
                for places, _ in part
            )
            count += self._execute(
                f"(VALUES {source})",
                [value for _, row in part for values in row for value in values],
                rows[start : start + size],
            )
        return count

    def _execute(
        self, source: str, parameters: Sequence[Any], rows: Sequence[Row]
    ) -> int:
        keys = [f"key{position}" for position in range(len(self.keys))]
        values = [f"value{position}" for position in range(len(self.fields))]
        assignments = [
            f"{self.quote(field)} = {self.batch}.{value}"
            for field, value in zip(self.fields, values, strict=True)
        ]
        conditions = [
            f"{self.table}.{self.quote(field)} = {self.batch}.{key}"
            for field, key in zip(self.keys, keys, strict=True)
        ]
        range_sql, limits = self._get_range(rows)
        conditions += [range_sql, *self.extra_conditions(f"{self.table}.")]
        sql = (
            f"WITH {self.batch}({', '.join(keys + values)}) AS MATERIALIZED "
            f"(SELECT * FROM {source} AS source) "
            f"UPDATE {self.table} "
            f"SET {', '.join(assignments + self.extra_assignments())} "
            f"FROM {self.batch} WHERE {' AND '.join(conditions)}"
        )
        return execute(self.connection, sql, [*parameters, *limits])

    def _get_range(self, rows: Sequence[Row]) -> tuple[str, list[Any]]:
        """
        Return the condition that keeps the planner to the keys of the batch.

        There are no statistics of a new column yet, so the planner expects few
        rows in which it is NULL and reads the whole table to find them.
        """
        column = f"{self.table}.{self.quote(self.keys[0])}"
        kind = self._types[0].kind
        keys = [key[0] for key, _ in rows]
        if set(map(type, keys)) in ({int}, {UUID}):
            # CAST, because in -2147483648::integer the minus comes last.
            limit = f"CAST(%s AS {kind})"
            return f"{column} BETWEEN {limit} AND {limit}", [min(keys), max(keys)]
        # Which text comes first is for the collation of the column to say.
        collation = self._types[0].collation
        key = f"key0 COLLATE {collation}" if collation else "key0"
        limits = [
            f"(SELECT key0 FROM {self.batch} ORDER BY {key} {order} LIMIT 1)"
            for order in ("ASC", "DESC")
        ]
        return f"{column} BETWEEN {limits[0]} AND {limits[1]}", []

    @cached_property
    def _types(self) -> list[ColumnType]:
        rows = fetch_all(self.connection, COLUMN_TYPES, [self.table])
        types = {name: ColumnType(*rest) for name, *rest in rows}
        return [types[field.column] for field in self.columns]


def dump_json(json: Any) -> str:
    """Return the text that psycopg would make of `json`, in its version 3 or 2."""
    if hasattr(json, "obj"):
        return str((json.dumps or dumps)(json.obj))
    return str(json.dumps(json.adapted))


def to_array(values: Sequence[Any]) -> Any:
    """
    Return a parameter that PostgreSQL reads as an array of `values`.

    Numbers and texts are spelled here, as the array's own literal: much faster
    than through the adapters of psycopg, element by element. All else is left to
    those, and None is returned where they would refuse: values of several types.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = "".join(values)
        if '"' in joined or "\\" in joined:
            values = [v.replace("\\", "\\\\").replace('"', '\\"') for v in values]
        return '{"' + '","'.join(values) + '"}'
    if kinds == {UUID}:
        return "{" + ",".join(map(str, values)) + "}"
    if all(issubclass(kind, int) for kind in kinds):
        # Also of the subclasses with which Django tells psycopg their size.
        return "{" + ",".join(map(int.__repr__, values)) + "}"
    return list(values) if len(kinds - {type(None)}) <= 1 else None


def _cast(place: str, column: ColumnType) -> str:
    return f"({place})::{column.kind}"
