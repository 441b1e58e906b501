"""The keys on a column, of PostgreSQL's own catalogue."""

from __future__ import annotations

from typing import Any

from safefield.backends.base.keys import DJANGOS_NAME, Key, Keys, Kind
from safefield.backends.base.sql import fetch_all, fetch_value
from safefield.fields import AnyField

#: Name, method, whether the operators are the type's own, whether it is unique, and
#: whether that is a constraint: valid indexes of all rows on one column alone.
INDEXES = """
SELECT x.relname, am.amname, o.opcdefault AND i.indoption[0] = 0,
       i.indisunique, c.oid IS NOT NULL
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am am ON am.oid = x.relam
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
  JOIN pg_opclass o ON o.oid = i.indclass[0]
  LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'u'
 WHERE i.indrelid = %s::regclass AND a.attname = %s AND i.indnatts = 1
   AND i.indpred IS NULL AND i.indexprs IS NULL
   AND i.indcollation[0] IN (0, a.attcollation)
   AND i.indisvalid AND i.indisready AND i.indimmediate AND NOT i.indisprimary
   AND pg_get_indexdef(i.indexrelid) !~ 'NULLS NOT DISTINCT'
 ORDER BY 1
"""

FOREIGN_KEYS = """
SELECT c.conname, c.confrelid, a.attname
  FROM pg_constraint c
  JOIN pg_attribute k ON k.attrelid = c.conrelid AND c.conkey = ARRAY[k.attnum]
  JOIN pg_attribute a ON a.attrelid = c.confrelid AND c.confkey = ARRAY[a.attnum]
 WHERE c.conrelid = %s::regclass AND k.attname = %s AND c.contype = 'f'
 ORDER BY 1
"""


class PostgreSQLKeys(Keys):
    """
    The keys on the column of a plan.

    Django's introspection says of an index neither of which rows it is, nor by
    which operators, and finds no table that has its schema in its name.
    """

    def find(self) -> list[Key]:
        where = [
            self.connection.ops.quote_name(self.plan.table),
            self.plan.field.column,
        ]
        keys: list[Key] = []
        if self.editor.collect_sql:
            # Nothing is there, see PostgreSQLCatalogue.
            return keys
        indexes = fetch_all(self.connection, INDEXES, where)
        for name, method, is_plain, is_unique, is_constraint in indexes:
            kind = self._get_kind(name, method, is_plain, is_unique)
            if kind is not None:
                keys.append(Key(name, kind, is_constraint))
        foreign_keys = fetch_all(self.connection, FOREIGN_KEYS, where)
        return keys + [
            Key(name, Kind.FOREIGN_KEY, target=(table, column))
            for name, table, column in foreign_keys
        ]

    def _get_kind(
        self, name: str, method: str, is_plain: bool, is_unique: bool
    ) -> Kind | None:
        if method == "gist" and hasattr(self.plan.field, "spatial_index"):
            return Kind.SPATIAL
        if method != "btree":
            return None
        if is_plain:
            return Kind.UNIQUE if is_unique else Kind.INDEX
        is_like = name.endswith("_like") and DJANGOS_NAME.search(name) is not None
        return Kind.LIKE if is_like and not is_unique else None

    def get_target(self, field: AnyField) -> tuple[Any, Any] | None:
        if field is None or field.remote_field is None:
            return None
        target = field.target_field
        table = self.connection.ops.quote_name(target.model._meta.db_table)
        oid = fetch_value(self.connection, "SELECT to_regclass(%s)::oid", [table])
        return oid, target.column

    def has_table(self, table: str) -> bool:
        name = self.connection.ops.quote_name(table)
        sql = "SELECT to_regclass(%s) IS NOT NULL"
        return bool(fetch_value(self.connection, sql, [name]))
