"""The keys on a column, without indexes that SQLite alone can tell from Django's."""

from __future__ import annotations

from typing import Any

from safefield.backends.base.keys import Key, Keys

__all__ = ["SQLiteKeys"]


class SQLiteKeys(Keys):
    """The keys on the column of a plan."""

    def find(self) -> list[Key]:
        with self.connection.cursor() as cursor:
            others = set(self._find_others(cursor))
        return [key for key in super().find() if key.name not in others]

    def _find_others(self, cursor: Any) -> list[str]:
        """Return the indexes that are partial, descending, or sort in another way."""
        quote = self.connection.ops.quote_name
        table = quote(self.plan.table)
        cursor.execute(f"PRAGMA index_list({table})")
        indexes = cursor.fetchall()
        description = self.connection.introspection.get_table_description(
            cursor, self.plan.table
        )
        collations = {info.name: info.collation or "BINARY" for info in description}
        others = []
        for _, index, _, _, is_partial in indexes:
            cursor.execute(f"PRAGMA index_xinfo({quote(index)})")
            is_other = any(
                is_descending or collation.upper() != collations.get(name, "").upper()
                for _, _, name, is_descending, collation, is_key in cursor.fetchall()
                if is_key
            )
            if is_partial or is_other:
                others.append(index)
        return others
