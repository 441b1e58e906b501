"""The keys on a column, of MySQL's and MariaDB's own catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from safefield.backends.base.keys import Key, Keys, Kind
from safefield.backends.base.sql import fetch_all

#: Column, name, whether it may hold a value twice, and method: ascending indexes of
#: whole values on one column alone. A spatial one is always of a part.
INDEXES = """
SELECT MAX(COLUMN_NAME), INDEX_NAME, MAX(NON_UNIQUE), MAX(INDEX_TYPE)
  FROM information_schema.STATISTICS
 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND INDEX_NAME <> 'PRIMARY'
 GROUP BY INDEX_NAME
HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = %s
   AND COALESCE(MAX(COLLATION), 'A') <> 'D'
   AND (MAX(SUB_PART) IS NULL OR MAX(INDEX_TYPE) = 'SPATIAL')
 ORDER BY 2
"""

FOREIGN_KEYS = """
SELECT MAX(COLUMN_NAME), CONSTRAINT_NAME,
       MAX(REFERENCED_TABLE_NAME), MAX(REFERENCED_COLUMN_NAME)
  FROM information_schema.KEY_COLUMN_USAGE
 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s
   AND REFERENCED_TABLE_SCHEMA = DATABASE()
 GROUP BY CONSTRAINT_NAME
HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = %s
 ORDER BY 2
"""

#: What an index does, by method, and by whether it may hold a value twice. A unique one
#: of long texts is a HASH on MariaDB.
KINDS = {
    ("BTREE", 1): Kind.INDEX,
    ("BTREE", 0): Kind.UNIQUE,
    ("HASH", 0): Kind.UNIQUE,
    ("SPATIAL", 1): Kind.SPATIAL,
}


def pick(rows: Iterable[Sequence[Any]], column: str) -> list[Sequence[Any]]:
    """
    Return the rows whose first value is the name of a column, in whatever case.

    MariaDB compares the names in information_schema without their accents: "e" finds
    "\u00e9", which is another column.
    """
    return [row for row in rows if row[0].lower() == column.lower()]


class MySQLKeys(Keys):
    """The keys on the column of a plan."""

    def find(self) -> list[Key]:
        column = self.plan.field.column
        where = [self.plan.table, column]
        indexes = fetch_all(self.connection, INDEXES, where)
        keys = [
            Key(name, KINDS[method, int(not_unique)])
            for _, name, not_unique, method in pick(indexes, column)
            if (method, int(not_unique)) in KINDS
        ]
        foreign_keys = fetch_all(self.connection, FOREIGN_KEYS, where)
        return keys + [
            Key(name, Kind.FOREIGN_KEY, target=(table, target))
            for _, name, table, target in pick(foreign_keys, column)
        ]
