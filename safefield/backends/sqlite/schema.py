"""
SQLite: everything in one transaction.

A NOT NULL change remakes the table: create, copy, drop, rename. Killed
between the last two outside a transaction, the table would be gone under its
name, so the whole operation is one transaction also where the migration is
not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction

from safefield.backends.base.schema import Schema
from safefield.backends.sqlite.catalogue import SQLiteCatalogue
from safefield.backends.sqlite.definition import Definition
from safefield.backends.sqlite.remake import remake_from_definition
from safefield.backends.sqlite.surroundings import (
    keep_surroundings,
    refuse_broken_references,
    refuse_dangling_keys,
)
from safefield.exceptions import BackfillError

#: The types of a STRICT table. Source: https://www.sqlite.org/stricttables.html.
STRICT_TYPES = ("INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY")


class SQLiteSchema(Schema):
    """The column on SQLite."""

    catalogue_class = SQLiteCatalogue
    catalogue: SQLiteCatalogue

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
                    self.editor, self.plan.table, self.find_leftover_indexes
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
        if self.editor.collect_sql or not self.catalogue.has_indexes():
            super().drop()
        else:
            self.editor._remake_table(self.plan.new_model, delete_field=self.plan.field)

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
