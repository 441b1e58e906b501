"""PostgreSQL: a read-only transaction, which may write to temporary tables."""

from __future__ import annotations

from django.db import DatabaseError

from safefield.backends.base.shadow import Shadow

__all__ = ["PostgreSQLShadow"]

#: SQLSTATE of a write in a read-only transaction. Source: appendix A of its manual.
READ_ONLY_TRANSACTION = "25006"


class PostgreSQLShadow(Shadow):
    """The temporary table on PostgreSQL."""

    slowdown = 1.6

    def _forbid_writes(self) -> None:
        with self.connection.cursor() as cursor:
            # Only now: a read-only transaction may fill a temporary table, but
            # not create one.
            cursor.execute("SET TRANSACTION READ ONLY")

    def is_refused_write(self, exc: DatabaseError) -> bool:
        cause = exc.__cause__
        # psycopg 3 has sqlstate, psycopg2 has pgcode.
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return state == READ_ONLY_TRANSACTION
