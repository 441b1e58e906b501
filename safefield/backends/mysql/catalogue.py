"""What the catalogue of MySQL and MariaDB says of the column of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from secrets import token_hex

from django.db import DatabaseError

from safefield.backends.base.catalogue import Catalogue, LiveColumn
from safefield.backends.base.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    putting_away,
)
from safefield.backends.base.wanted import WantedName
from safefield.backends.mysql.keys import MySQLKeys, pick
from safefield.backends.mysql.rights import MySQLRights
from safefield.backends.mysql.session import setting


class MySQLCatalogue(Catalogue):
    """What is there of the column of one plan."""

    keys_class = MySQLKeys

    def estimate_rows(self) -> int:
        fresh: AbstractContextManager[None] = nullcontext()
        if not self.connection.mysql_is_mariadb:
            # Seconds that a size is kept, a day by default.
            fresh = setting(self.connection, information_schema_stats_expiry=0)
        with fresh:
            rows = fetch_value(
                self.connection,
                "SELECT TABLE_ROWS FROM information_schema.TABLES "
                "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                [self.plan.table],
            )
            return int(rows or 0)

    def find_leftover_indexes(self) -> list[str]:
        if self.wanted.has_foreign_key() and not self.plan.final_field.unique:
            # A foreign key needs some index.
            return []
        return super().find_leftover_indexes()

    def find_column(self) -> LiveColumn | None:
        column = self.plan.field.column
        rows = fetch_all(
            self.connection,
            "SELECT COLUMN_NAME, "
            "IS_NULLABLE = 'YES', COLUMN_DEFAULT, COLUMN_TYPE, COLUMN_COMMENT, "
            # Not by a join, for which MariaDB looks at all tables of the server.
            "NULLIF(COLLATION_NAME, ("
            "SELECT TABLE_COLLATION FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s)) "
            "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
            "AND TABLE_NAME = %s AND COLUMN_NAME = %s",
            [self.plan.table, self.plan.table, column],
        )
        for _, null, default, *rest in pick(rows, column):
            # MariaDB spells the missing default of a nullable column 'NULL'.
            return LiveColumn(bool(null), default not in (None, "NULL"), *rest)
        return None

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        try:
            # It is seen by this session alone.
            return self.probe_type()
        except DatabaseError as exc:
            is_refusal = MySQLRights(self.connection).is_refusal(exc)
            if not is_refusal or not may_make_tables:
                raise
        # Who may not have it can make, as migrations do, one that all see.
        return self.probe_type("TABLE")

    def probe_type(self, kind: str = "TEMPORARY TABLE", index: str = "") -> str:
        """
        Return how the server spells the wanted type, which has many spellings.

        Args:
            kind (str): Of the table that is made to find out, and dropped.
            index (str): Definition of an index of its column c, after a comma.

        Raises:
            DatabaseError: The server refuses the table, the type or the index.
        """
        probe = self.connection.ops.quote_name(f"safefield_{token_hex(8)}")
        execute(
            self.connection,
            f"CREATE {kind} {probe} (safefield_key int PRIMARY KEY, "
            f"c {self.plan.field.db_type(self.connection)}{index})",
        )
        with putting_away(lambda: execute(self.connection, f"DROP {kind} {probe}")):
            sql = f"SHOW COLUMNS FROM {probe} LIKE 'c'"
            return str(fetch_one(self.connection, sql)[1])

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterator[str]:
        column = self.plan.field.column
        for name, kind, _ in wanted:
            if kind == "index":
                parts = fetch_all(
                    self.connection,
                    "SELECT COLUMN_NAME, INDEX_TYPE, SUB_PART "
                    "FROM information_schema.STATISTICS "
                    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s "
                    "AND INDEX_NAME = %s ORDER BY SEQ_IN_INDEX",
                    [self.plan.table, name],
                )
                if parts and parts != [(column, "BTREE", None)]:
                    columns = ", ".join(part[0] or "an expression" for part in parts)
                    yield f"{name} ({parts[0][1]} index of {columns})"
            elif kind == "foreign key":
                owners = fetch_all(
                    self.connection,
                    "SELECT TABLE_NAME, COLUMN_NAME "
                    "FROM information_schema.KEY_COLUMN_USAGE "
                    "WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = %s "
                    "AND REFERENCED_TABLE_NAME IS NOT NULL",
                    [name],
                )
                for table, other in owners:
                    if (table, other) != (self.plan.table, column):
                        yield f"{name} (foreign key of {table}.{other})"
