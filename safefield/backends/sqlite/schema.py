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
from typing import Any

from django.db import DatabaseError, transaction

from safefield.backends.base.schema import Schema
from safefield.backends.base.sql import execute
from safefield.backends.sqlite.catalogue import SQLiteCatalogue
from safefield.backends.sqlite.preflight import SQLitePreflight
from safefield.backends.sqlite.remake import remake_from_definition
from safefield.backends.sqlite.surroundings import (
    keep_surroundings,
    refuse_broken_references,
    refuse_dangling_keys,
)
from safefield.plan import Plan


class SQLiteSchema(Schema):
    """The column on SQLite."""

    catalogue_class = SQLiteCatalogue
    preflight_class = SQLitePreflight
    catalogue: SQLiteCatalogue

    counts_distinct_quickly = False
    limits_texts = False

    def __init__(self, editor: Any, plan: Plan) -> None:
        super().__init__(editor, plan)
        #: All of it is one transaction.
        self.commits = False

    @contextmanager
    def in_transaction(self) -> Iterator[None]:
        with transaction.atomic(using=self.connection.alias):
            self._lock_database()
            with (
                keep_surroundings(self.connection, self.plan),
                remake_from_definition(self.editor, self.catalogue),
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
            raise self.plan.error(
                f"{self.plan.title} cannot be removed: table {self.plan.table} needs "
                f"the column ({exc}). Drop the index, the check or the generated "
                f"column that names it, then run migrate again. Nothing was changed."
            ) from exc

    def _drop(self) -> None:
        # What SQLite itself drops must have no index by hand.
        if not self.catalogue.find_indexes():
            super().drop()
        else:
            self.editor._remake_table(self.plan.new_model, delete_field=self.plan.field)

    def _lock_database(self) -> None:
        # SQLite waits for the writer who is there only as long as this
        # transaction has read nothing; later it gives up at once. So the first
        # statement is one that writes, no row though.
        quote = self.connection.ops.quote_name
        key = quote(self.plan.model._meta.pk_fields[0].column)
        execute(
            self.connection,
            f"UPDATE {quote(self.plan.table)} SET {key} = {key} WHERE 0",
        )
