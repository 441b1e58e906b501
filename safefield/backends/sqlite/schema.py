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

from django.db import transaction

from safefield.backends.base.column import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.backends.sqlite.surroundings import keep_surroundings

__all__ = ["SQLiteSchema"]


class SQLiteSchema(Schema):
    """The column on SQLite."""

    counts_distinct_quickly = False
    limits_texts = False

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Return a transaction, and check the foreign keys before it commits."""
        self.commits = False
        with transaction.atomic(using=self.connection.alias):
            self._lock_database()
            with keep_surroundings(self.connection, self.plan):
                yield
                # The schema editor checks them too, but only when it exits: after
                # this commit where the migration is not atomic.
                self.connection.check_constraints(table_names=[self.plan.table])

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

    def expected_type(self) -> str | None:
        return str(self.plan.field.db_type(self.connection)).lower()
