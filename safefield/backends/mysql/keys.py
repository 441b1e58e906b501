"""The keys on a column, of MySQL's and MariaDB's own catalogue."""

from __future__ import annotations

from safefield.backends.base.keys import Key, Keys, Kind
from safefield.backends.base.sql import fetch_all

#: Name, whether it may hold a value twice, and method: ascending indexes of whole
#: values on one column alone. A spatial one is always of a part.
INDEXES = """
SELECT INDEX_NAME, MAX(NON_UNIQUE), MAX(INDEX_TYPE)
  FROM information_schema.STATISTICS
 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND INDEX_NAME <> 'PRIMARY'
 GROUP BY INDEX_NAME
HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = %s
   AND COALESCE(MAX(COLLATION), 'A') <> 'D'
   AND (MAX(SUB_PART) IS NULL OR MAX(INDEX_TYPE) = 'SPATIAL')
 ORDER BY 1
"""

FOREIGN_KEYS = """
SELECT CONSTRAINT_NAME, MAX(REFERENCED_TABLE_NAME), MAX(REFERENCED_COLUMN_NAME)
  FROM information_schema.KEY_COLUMN_USAGE
 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s
   AND REFERENCED_TABLE_SCHEMA = DATABASE()
 GROUP BY CONSTRAINT_NAME
HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = %s
 ORDER BY 1
"""

#: What an index does, by method, and by whether it may hold a value twice. A unique one
#: of long texts is a HASH on MariaDB.
KINDS = {
    ("BTREE", 1): Kind.INDEX,
    ("BTREE", 0): Kind.UNIQUE,
    ("HASH", 0): Kind.UNIQUE,
    ("SPATIAL", 1): Kind.SPATIAL,
}


class MySQLKeys(Keys):
    """The keys on the column of a plan."""

    def find(self) -> list[Key]:
        where = [self.plan.table, self.plan.field.column]
        keys = [
            Key(name, KINDS[method, int(not_unique)])
            for name, not_unique, method in fetch_all(self.connection, INDEXES, where)
            if (method, int(not_unique)) in KINDS
        ]
        foreign_keys = fetch_all(self.connection, FOREIGN_KEYS, where)
        return keys + [
            Key(name, Kind.FOREIGN_KEY, target=(table, column))
            for name, table, column in foreign_keys
        ]
