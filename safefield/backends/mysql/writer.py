"""MySQL and MariaDB: one UPDATE a batch, with all keys and values in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Field, QuerySet
from django.db.models.expressions import Col

from safefield.backends.base.sql import execute, fetch_all, fetch_one
from safefield.backends.base.writer import Row, Writer
from safefield.backends.mysql.sizes import measure, refuse_too_large

#: Bytes in columns of these types. In an UPDATE with a join, MariaDB stores of what is
#: longer only as many bytes as the length has above a multiple of 256 or 65,536.
COLUMN_BYTES = {
    "tinyblob": 2**8 - 1,
    "tinytext": 2**8 - 1,
    "blob": 2**16 - 1,
    "text": 2**16 - 1,
    "mediumblob": 2**24 - 1,
    "mediumtext": 2**24 - 1,
}

#: Bytes of a character at the most.
CHARACTER_BYTES = 4

#: Integers that JSON_TABLE gives back as they are. It clips others without an error.
JSON_INTEGERS = {
    "bigint": (-(2**63), 2**63 - 1),
    "bigint unsigned": (0, 2**64 - 1),
}

#: Texts, whose character set is else the database's: what that has not becomes "?".
#: No length: what is too long for the column is for the column to refuse.
JSON_TEXT = "longtext CHARACTER SET utf8mb4"


class ColumnType(NamedTuple):
    """What the server says of a column."""

    kind: str
    collation: str | None
    #: Whether an UPDATE that does not name it sets it to the time of day.
    changes: bool


class Settings(NamedTuple):
    """What the session says of statements."""

    max_bytes: int
    charset: str
    #: Whether an UPDATE of a range of keys waits for the row behind it if somebody else
    #: has locked that.
    waits_behind_ranges: bool


class MySQLWriter(Writer):
    """
    Write with one UPDATE, in the quickest of three ways that keeps the values.

    - Texts of integer keys without a gap: a key range, and the key says which of
      the texts it gets (ELT).
    - Other texts and numbers: joined with one JSON document (JSON_TABLE), if that
      gives them back unchanged.
    - Everything else: joined with SELECT … UNION ALL SELECT …. VALUES is spelled
      differently by the servers.

    The range is the quickest, because of a join the server keeps what is to be
    written in a table of its own first. What a join would change is written row by
    row.

    A column that is made ON UPDATE CURRENT_TIMESTAMP is set to itself, which keeps it
    where nothing is joined.
    """

    def _update(self, rows: QuerySet[Any, Any], value: Any) -> int:
        field = rows.model._meta.get_field(self.fields[0].name)
        values: list[tuple[Any, None, Any]] = [(field, None, value)]
        for name in self._kept_names:
            kept: Any = Field()
            kept.set_attributes_from_name(name)
            values.append((kept, None, Col(rows.model._meta.db_table, kept)))
        return int(rows._update(values))  # type: ignore[attr-defined]  # private, see test_django_contract.py

    def extra_assignments(self) -> list[str]:
        kept = map(self.quote_name, self._kept_names)
        return super().extra_assignments() + [f"{name} = {name}" for name in kept]

    def _write(self, rows: Sequence[Row]) -> int:
        columns = list(zip(*(key + values for key, values in rows), strict=True))
        kinds = [set(map(type, column)) for column in columns]
        size = measure(columns, kinds)
        if size > self._settings.max_bytes:
            middle = len(rows) // 2
            return self.write(rows[:middle]) + self.write(rows[middle:])
        if self._is_range(columns, kinds):
            return self._write_range(*columns)
        if not self._keeps(columns, kinds):
            return self._write_singly(rows)
        if not self.is_placed:
            json_types = [
                get_json_type(column, kind, self._settings.charset)
                for column, kind in zip(columns, kinds, strict=True)
            ]
            if None not in json_types:
                return self._write_json(rows, json_types)
        return self._write_union(rows)

    def _write_singly(self, rows: Sequence[Row]) -> int:
        for row in rows:
            refuse_too_large(row, self._settings.max_bytes)
        return super()._write_singly(rows)

    def _is_range(
        self, columns: Sequence[Sequence[Any]], kinds: Sequence[set[type]]
    ) -> bool:
        """Return whether the columns are a range of integers and a text for each."""
        if self.is_placed or kinds != [{int}, {str}]:
            return False
        keys = columns[0]
        if keys != tuple(range(keys[0], keys[0] + len(keys))):
            return False
        return not self._settings.waits_behind_ranges

    def _keeps(
        self, columns: Sequence[Sequence[Any]], kinds: Sequence[set[type]]
    ) -> bool:
        """Return whether a statement of many rows writes the values as they are."""
        if self._kept_names:
            # A time that a join sets to itself goes through the time zone of the
            # session. MySQL makes another of one that the clock there shows twice, and
            # a day 0 is refused.
            return False
        if any(len(of_column - {type(None)}) > 1 for of_column in kinds):
            # UNION would make one type of them.
            return False
        for field, values in zip(self.fields, columns[len(self.keys) :], strict=True):
            most = COLUMN_BYTES.get(self._types[field.column or ""].kind)
            if most and any(
                len(value) * CHARACTER_BYTES > most
                for value in values
                if isinstance(value, (str, bytes))
            ):
                return False
        return True

    def _write_range(self, keys: Sequence[int], texts: Sequence[str]) -> int:
        key, column = self.quote(self.keys[0]), self.quote(self.fields[0])
        assignments = [
            f"{column} = ELT({key} - %s + 1, {', '.join(['%s'] * len(texts))})",
            *self.extra_assignments(),
        ]
        conditions = [f"{key} BETWEEN %s AND %s", *self.extra_conditions()]
        return execute(
            self.connection,
            f"UPDATE {self.table} SET {', '.join(assignments)} "
            f"WHERE {' AND '.join(conditions)}",
            [keys[0], *texts, keys[0], keys[-1]],
        )

    def _write_json(self, rows: Sequence[Row], kinds: Sequence[str | None]) -> int:
        columns = ", ".join(
            f"{name} {kind} PATH '$[{position}]'"
            for position, (name, kind) in enumerate(
                zip(self._names, kinds, strict=True)
            )
        )
        document = json.dumps([key + values for key, values in rows])
        source = f"JSON_TABLE(%s, '$[*]' COLUMNS ({columns}))"
        return self._execute(source, [document])

    def _write_union(self, rows: Sequence[Row]) -> int:
        selects: list[str] = []
        parameters: list[Any] = []
        for row in rows:
            places, values = self.place_row(row)
            if not selects:
                places = [
                    f"{place} AS {name}"
                    for place, name in zip(places, self._names, strict=True)
                ]
            selects.append(f"SELECT {', '.join(places)}")
            parameters += [value for part in values for value in part]
        return self._execute(f"({' UNION ALL '.join(selects)})", parameters)

    def _execute(self, source: str, parameters: Sequence[Any]) -> int:
        count = len(self.keys)
        conditions = [
            f"{self.table}.{self.quote(field)} = {self._collate(field.column, name)}"
            for field, name in zip(self.keys, self._names[:count], strict=True)
        ] + self.extra_conditions(f"{self.table}.")
        assignments = [
            f"{self.table}.{self.quote(field)} = {self.batch}.{name}"
            for field, name in zip(self.fields, self._names[count:], strict=True)
        ] + [f"{self.table}.{assignment}" for assignment in self.extra_assignments()]
        # The batch drives, and each row is found by its key.
        sql = (
            f"UPDATE {source} AS {self.batch} STRAIGHT_JOIN {self.table} "
            f"ON {' AND '.join(conditions)} SET {', '.join(assignments)}"
        )
        return execute(self.connection, sql, parameters)

    @cached_property
    def _names(self) -> list[str]:
        """What the columns of the batch are called, the keys first."""
        keys = [f"key{position}" for position in range(len(self.keys))]
        return keys + [f"value{position}" for position in range(len(self.fields))]

    # What is live

    def _collate(self, column: str | None, name: str) -> str:
        """Return a key of the batch, compared as the table compares it."""
        collation = self._types[column or ""].collation
        if collation is None:
            return f"{self.batch}.{name}"
        # The batch has the collation of the connection, and the two do not mix.
        charset = collation.partition("_")[0]
        return f"CONVERT({self.batch}.{name} USING {charset}) COLLATE {collation}"

    @cached_property
    def _types(self) -> dict[str, ColumnType]:
        """What the server says of each column; also of a temporary table."""
        columns = fetch_all(self.connection, f"SHOW FULL COLUMNS FROM {self.table}")
        return {
            name: ColumnType(str(kind).lower(), collation, "on update" in extra.lower())
            for name, kind, collation, _, _, _, extra, *_ in columns
        }

    @cached_property
    def _kept_names(self) -> list[str]:
        """The columns, with %% for each %, that an UPDATE changes if it may."""
        written = [*self.fields, *([self.set_null] if self.set_null else [])]
        names = {field.column for field in written}
        return [
            name.replace("%", "%%")
            for name, column in self._types.items()
            if column.changes and name not in names
        ]

    # The session

    @cached_property
    def _settings(self) -> Settings:
        connection: Any = self.connection
        max_bytes, charset = fetch_one(
            connection, "SELECT @@max_allowed_packet, @@character_set_connection"
        )
        # UPDATE also looks at the row behind a range. In READ COMMITTED it waits for
        # nobody there, but for what MariaDB has ON by default from 11.6.2 on.
        waits = connection.isolation_level != "read committed"
        if not waits and connection.mysql_is_mariadb:
            sql = "SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"
            waits = any(value == "ON" for _, value in fetch_all(connection, sql))
        return Settings(max_bytes, charset, waits)


def get_json_type(values: Sequence[Any], kinds: set[type], charset: str) -> str | None:
    """Return the type in which JSON_TABLE gives `values` back as they are, if any."""
    if kinds == {str} and charset == "utf8mb4":
        return JSON_TEXT
    if kinds == {int}:
        least, most = min(values), max(values)
        for json_type, (lowest, highest) in JSON_INTEGERS.items():
            if lowest <= least and most <= highest:
                return json_type
    return None
