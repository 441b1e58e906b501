"""MySQL and MariaDB: a read-only transaction, which may write to temporary tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction

from safefield.backends.base.shadow import SHADOW_TABLE, Shadow

__all__ = ["MySQLShadow"]

#: ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION. Source: mysqld_error.h.
READ_ONLY_TRANSACTION = 1792


class MySQLShadow(Shadow):
    """The temporary table on MySQL and MariaDB, which no rollback removes."""

    slowdown = 1.9

    @contextmanager
    def open(
        self, *, has_column: bool, limit: int | None, may_write: bool
    ) -> Iterator[None]:
        quote = self.connection.ops.quote_name
        try:
            self._create(has_column=has_column, limit=limit)
            if not may_write:
                with self.connection.cursor() as cursor:
                    # Of the next transaction.
                    cursor.execute("SET TRANSACTION READ ONLY")
            with transaction.atomic(using=self.connection.alias):
                yield
                transaction.set_rollback(True, using=self.connection.alias)
        finally:
            with self.connection.cursor() as cursor:
                cursor.execute(f"DROP TEMPORARY TABLE IF EXISTS {quote(SHADOW_TABLE)}")

    def is_refused_write(self, exc: DatabaseError) -> bool:
        return bool(exc.args) and exc.args[0] == READ_ONLY_TRANSACTION

    def _table_options(self) -> str:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT TABLE_COLLATION FROM information_schema.TABLES "
                "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                [self.plan.table],
            )
            row = cursor.fetchone()
        return f" COLLATE {row[0]}" if row and row[0] else ""
