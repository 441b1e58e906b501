"""What SQLite knows of the column of a plan, by PRAGMAs and the text of its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.backends.utils import strip_quotes

from safefield.backends.base.catalogue import Catalogue
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.names import TakenName, WantedName
from safefield.backends.sqlite.definition import Definition
from safefield.backends.sqlite.keys import SQLiteKeys
from safefield.backends.sqlite.names import find_taken_names
from safefield.fields import AnyField


class SQLiteCatalogue(Catalogue):
    """What is there of the column of one plan."""

    keys_class = SQLiteKeys

    def find_column(self) -> LiveColumn | None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"PRAGMA table_info({self.connection.ops.quote_name(self.plan.table)})"
            )
            for _, name, kind, not_null, default, _ in cursor.fetchall():
                if name.lower() == self.plan.field.column.lower():
                    return LiveColumn(not not_null, default is not None, kind.lower())
        return None

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        return str(self.plan.field.db_type(self.connection)).lower()

    def find_texts(self, field: AnyField) -> tuple[str | None, str | None]:
        definition = Definition.read(self.connection, self.plan.table)
        return None, definition.find_collation(field.column)

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterable[TakenName]:
        return find_taken_names(self.connection, self.plan, wanted)

    def has_indexes(self) -> bool:
        """Return whether an index is about the column, alone or among others."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM pragma_index_list(%s) list, "
                "pragma_index_info(list.name) info "
                "WHERE info.name = %s COLLATE NOCASE)",
                [strip_quotes(self.plan.table), self.plan.field.column],
            )
            return bool(cursor.fetchone()[0])
