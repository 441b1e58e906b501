"""The keys on a column, by the PRAGMAs and the text of its table."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.utils import strip_quotes

from safefield.backends.base.keys import Key, Keys, Kind
from safefield.backends.base.sql import fetch_all
from safefield.backends.sqlite.definition import Definition, fold


class SQLiteKeys(Keys):
    """The keys on the column of a plan."""

    def find(self) -> list[Key]:
        # Not by Django's introspection, which divides the text of the table at each
        # comma and blank: CHECK (... IN (1, 2, 3)) is an IndexError.
        column = fold(self.plan.field.column)
        definition = Definition.read(self.connection, self.plan.table)
        with self.connection.cursor() as cursor:
            relations = self.connection.introspection.get_relations(
                cursor, strip_quotes(self.plan.table)
            )
        return [
            *(Key(name, Kind.UNIQUE) for name in definition.find_uniques(column)),
            *self._find_indexes(definition),
            *(
                Key(f"fk_{place}", Kind.FOREIGN_KEY, target=(table, target))
                for place, (name, (target, table, *_)) in enumerate(relations.items())
                if fold(name) == column
            ),
        ]

    def _find_indexes(self, definition: Definition) -> Iterator[Key]:
        """Yield the indexes that are not partial or descending, or sort otherwise."""
        quote = self.connection.ops.quote_name
        column = self.plan.field.column
        collation = definition.find_collation(column) or "BINARY"
        sql = f"PRAGMA index_list({quote(self.plan.table)})"
        for _, index, is_unique, origin, is_partial in fetch_all(self.connection, sql):
            if origin != "c" or is_partial:
                continue
            columns = fetch_all(self.connection, f"PRAGMA index_xinfo({quote(index)})")
            found = [
                # Without a name it is an expression.
                (fold(name or ""), is_descending, sorting.upper())
                for _, _, name, is_descending, sorting, is_key in columns
                if is_key
            ]
            if found == [(fold(column), 0, collation)]:
                yield Key(index, Kind.UNIQUE if is_unique else Kind.INDEX)
