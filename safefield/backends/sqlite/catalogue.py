"""What SQLite knows of the column of a plan, by PRAGMAs and the text of its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.backends.utils import strip_quotes

from safefield.backends.base.catalogue import Catalogue, LiveColumn
from safefield.backends.base.sql import fetch_all, fetch_values
from safefield.backends.base.wanted import WantedName
from safefield.backends.sqlite.definition import Definition, fold
from safefield.backends.sqlite.keys import SQLiteKeys


class SQLiteCatalogue(Catalogue):
    """What is there of the column of one plan."""

    keys_class = SQLiteKeys

    def find_column(self) -> LiveColumn | None:
        rows = fetch_all(
            self.connection,
            f"PRAGMA table_info({self.connection.ops.quote_name(self.plan.table)})",
        )
        for _, name, kind, not_null, default, _ in rows:
            if fold(name) == fold(self.plan.field.column):
                definition = Definition.read(self.connection, self.plan.table)
                return LiveColumn(
                    not not_null,
                    default is not None,
                    kind.lower(),
                    collation=definition.find_collation(name),
                )
        return None

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        return str(self.plan.field.db_type(self.connection)).lower()

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterator[str]:
        table = fold(strip_quotes(self.plan.table))
        column = fold(self.plan.field.column)
        # The others have no names here.
        for name in [name for name, kind, _ in wanted if kind == "index"]:
            # One name space for the whole database.
            rows = fetch_all(
                self.connection,
                "SELECT type, tbl_name, ifnull(("
                "SELECT group_concat(ifnull(name, '?')) "
                "FROM pragma_index_info(master.name)), ''), sql "
                "FROM sqlite_master master WHERE name = %s COLLATE NOCASE "
                "AND type <> 'trigger'",
                [name],
            )
            for found, owner, columns, sql in rows:
                is_whole = " WHERE " not in (sql or "").upper()
                if (fold(owner), fold(columns)) == (table, column) and is_whole:
                    continue
                where = f" on table {owner}" if found == "index" else ""
                yield f"{name} ({found}{where})"

    def find_indexes(self) -> list[str]:
        """Return the names of indexes about the column, alone or among others."""
        return fetch_values(
            self.connection,
            "SELECT DISTINCT list.name FROM pragma_index_list(%s) list, "
            "pragma_index_info(list.name) info WHERE info.name = %s COLLATE NOCASE",
            [strip_quotes(self.plan.table), self.plan.field.column],
        )
