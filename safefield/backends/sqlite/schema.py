"""
SQLite: everything in one transaction.

A NOT NULL change remakes the table: create, copy, drop, rename. Killed
between the last two outside a transaction, the table would be gone under its
name, so the whole operation is one transaction also where the migration is
not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.db import DatabaseError, transaction
from django.db.backends.utils import strip_quotes

from safefield.backends.base.column import LiveColumn
from safefield.backends.base.names import TakenName, WantedName
from safefield.backends.base.schema import Schema
from safefield.backends.sqlite.definition import Definition
from safefield.backends.sqlite.keys import SQLiteKeys
from safefield.backends.sqlite.names import find_taken_names
from safefield.backends.sqlite.remake import remake_from_definition
from safefield.backends.sqlite.surroundings import (
    keep_surroundings,
    refuse_broken_references,
    refuse_dangling_keys,
)
from safefield.exceptions import BackfillError
from safefield.fields import AnyField

#: The types of a STRICT table. Source: https://www.sqlite.org/stricttables.html.
STRICT_TYPES = ("INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY")


class SQLiteSchema(Schema):
    """The column on SQLite."""

    keys_class = SQLiteKeys

    counts_distinct_quickly = False
    limits_texts = False

    @contextmanager
    def in_transaction(self) -> Iterator[None]:
        """Return a transaction, and check the foreign keys before it commits."""
        self.commits = False
        with transaction.atomic(using=self.connection.alias):
            self._lock_database()
            with (
                keep_surroundings(self.connection, self.plan),
                remake_from_definition(
                    self.editor, self.plan.table, self.leftover_indexes
                ),
            ):
                yield
                refuse_broken_references(self.connection, self.plan)
                # The schema editor checks them too, but only when it exits: after
                # this commit where the migration is not atomic.
                refuse_dangling_keys(self.connection, self.plan)

    def drop(self) -> None:
        try:
            self._drop()
        except DatabaseError as exc:
            raise BackfillError(
                f"{self.plan.title} cannot be removed: table {self.plan.table} needs "
                f"the column ({exc}). Drop the index, the check or the generated "
                f"column that names it, then run migrate again. Nothing was changed.",
                model=self.plan.label,
                field=self.plan.field_name,
            ) from exc

    def _drop(self) -> None:
        # What SQLite itself drops must have no index by hand.
        if self.editor.collect_sql or not self._indexes_of_column():
            super().drop()
        else:
            self.editor._remake_table(self.plan.new_model, delete_field=self.plan.field)

    def _indexes_of_column(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM pragma_index_list(%s) list, "
                "pragma_index_info(list.name) info "
                "WHERE info.name = %s COLLATE NOCASE)",
                [strip_quotes(self.plan.table), self.plan.field.column],
            )
            return bool(cursor.fetchone()[0])

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterable[TakenName]:
        return find_taken_names(self.connection, self.plan, wanted)

    def check_table(self) -> None:
        super().check_table()
        definition = Definition.read(self.connection, self.plan.table)
        kind = str(self.plan.field.db_type(self.connection))
        if definition.is_strict and kind.upper() not in STRICT_TYPES:
            raise BackfillError(
                f"{self.plan.title} cannot be added: table {self.plan.table} is "
                f"STRICT, and has no type {kind}. Use a field whose type is "
                f"{', '.join(STRICT_TYPES[:-1])} or {STRICT_TYPES[-1]}, such as "
                f"TextField. Nothing was changed.",
                model=self.plan.label,
                field=self.plan.field_name,
            )

    def _lock_database(self) -> None:
        # SQLite waits for the writer who is there only as long as this
        # transaction has read nothing; later it gives up at once. So the first
        # statement is one that writes, no row though.
        quote = self.connection.ops.quote_name
        key = quote(self.plan.model._meta.pk_fields[0].column)
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {quote(self.plan.table)} SET {key} = {key} WHERE 0")

    def live_column(self) -> LiveColumn | None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"PRAGMA table_info({self.connection.ops.quote_name(self.plan.table)})"
            )
            for _, name, kind, not_null, default, _ in cursor.fetchall():
                if name.lower() == self.plan.field.column.lower():
                    return LiveColumn(not not_null, default is not None, kind.lower())
        return None

    def live_texts(self, field: AnyField) -> tuple[str | None, str | None]:
        definition = Definition.read(self.connection, self.plan.table)
        return None, definition.find_collation(field.column)

    def expected_type(self) -> str | None:
        return str(self.plan.field.db_type(self.connection)).lower()
