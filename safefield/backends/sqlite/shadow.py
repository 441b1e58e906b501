"""SQLite: a temporary table, and what is written beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.utils import strip_quotes

from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import Shadow
from safefield.backends.base.sql import fetch_all, fetch_value, fetch_values
from safefield.backends.sqlite.definition import (
    Definition,
    checks_of,
    fold,
    name_of,
    words,
)
from safefield.fields import AnyField

WRITING = {sqlite3.SQLITE_DELETE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE}


class SQLiteShadow(Shadow):
    """The temporary table on SQLite, which has everything in one transaction."""

    slowdown = 0.9

    @contextmanager
    def watch(self, *, may_write: bool) -> Iterator[None]:
        def authorize(action: int, *names: Any) -> int:
            # Two names of what is written, and the name of its database.
            if action in WRITING and names[2] != "temp":
                self.is_written = True
            return sqlite3.SQLITE_OK

        self.connection.connection.set_authorizer(authorize)
        try:
            yield
        finally:
            # Not None, which Python 3.10 does not take.
            self.connection.connection.set_authorizer(lambda *args: sqlite3.SQLITE_OK)

    def change_type(self, schema: Schema) -> None:
        if check := schema.plan.field.db_check(self.connection):
            # A check comes with a column only. Where rows break it already, the
            # comparison with the new type names them.
            with (
                suppress(DatabaseError),
                transaction.atomic(using=self.connection.alias),
            ):
                name = self._quote(f"{self.layout.name}_{schema.plan.field.column}")
                self._execute(
                    f"ALTER TABLE {self._table} ADD COLUMN {name} integer "
                    f"CHECK ({check})"
                )

    def find_triggers(self) -> list[str]:
        return fetch_values(
            self.connection,
            "SELECT name FROM sqlite_master WHERE type = 'trigger' "
            "AND tbl_name = %s COLLATE NOCASE AND sql LIKE '%%UPDATE%%' ORDER BY 1",
            [strip_quotes(self.layout.table)],
        )

    def _make(self) -> list[str]:
        generated = self._generated()
        needed = self._needed(self._checks())
        fields = {field.column: field for field in self.layout.copied}
        for field in self.layout.model._meta.local_concrete_fields:
            if field.column in needed:
                fields[field.column] = field
        for column in generated:
            fields.pop(column, None)
        parts = [self._define_copied(field) for field in fields.values()]
        parts += generated.values()
        parts.append(f"PRIMARY KEY ({self._list(key.column for key in self.keys)})")
        parts += self._checks()
        self._execute(f"CREATE TEMPORARY TABLE {self._table} ({', '.join(parts)})")
        for number, rule in enumerate(self._rules()):
            name = self._quote(f"{self.layout.name}_{number}")
            self._execute(f"CREATE UNIQUE INDEX {name} ON {self._table} {rule}")
        return list(fields)

    def _checks(self) -> list[str]:
        """Return what is checked of the column, outside of its own definition."""
        return self._about(self._find_checks)

    def _find_rules(self) -> list[str]:
        table = self._quote(self.layout.table)
        rules = []
        indexes = fetch_all(self.connection, f"PRAGMA index_list({table})")
        for _, name, is_unique, origin, _ in indexes:
            if is_unique and origin == "c":
                sql = fetch_value(
                    self.connection,
                    "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s",
                    [name],
                )
                # Behind the names: columns or expressions, and the condition.
                rules.append(sql[sql.index("(", sql.upper().index(" ON ")) :])
            elif origin == "u":
                sql = f"PRAGMA index_info({self._quote(name)})"
                columns = [row[2] for row in fetch_all(self.connection, sql)]
                rules.append(f"({self._list(columns)})")
        return rules

    def _find_checks(self) -> list[str]:
        column = self.layout.column
        mine = None if column is None else fold(column.column)
        return [
            check
            for part in self._parse().parts
            if name_of(part) != mine
            for check in checks_of(part)
        ]

    def _find_generated(self) -> dict[str, str]:
        return {
            name: part
            for part in self._parse().parts
            if (name := name_of(part)) and "AS" in words(part)
        }

    def _define_copied(self, field: AnyField) -> str:
        """Return column and definition of a column that the real table has."""
        column = self.layout.column
        if column is not None and field.column == column.column:
            # With its own type, collation and checks. But a temporary table refers to
            # none.
            part = self._parse().find_part(field.column)
            if part and "REFERENCES" not in words(part):
                return part
        return f"{self._define(field)} {'NOT NULL' if field in self.keys else 'NULL'}"

    def _parse(self) -> Definition:
        return Definition.read(self.connection, self.layout.table)
