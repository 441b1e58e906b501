"""
SQLite: remake a table from its own definition, with one column changed.

Django remakes a table from the model, and what the model does not know is lost:
columns, checks, collations, defaults and indexes that somebody made by hand, STRICT,
WITHOUT ROWID, triggers, the highest key that AUTOINCREMENT has given. Here the text
that SQLite keeps of the table is run again, and only what it says of the column is
another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import strip_quotes

from safefield.backends.base.sql import fetch_all
from safefield.backends.sqlite.catalogue import SQLiteCatalogue
from safefield.backends.sqlite.definition import (
    Definition,
    checks_of,
    name_of,
    quote,
    references_of,
)
from safefield.fields import AnyField, strip_default

#: Tables in which SQLite keeps what it knows of others, by the column with their
#: name. What it knows of a table is dropped with it.
NOTES = {"sqlite_sequence": "name", "sqlite_stat1": "tbl", "sqlite_stat4": "tbl"}

#: Names of the number of a row, of which a column may have taken one or two.
ROW_NUMBERS = ("rowid", "_rowid_", "oid")


@contextmanager
def remake_from_definition(editor: Any, catalogue: SQLiteCatalogue) -> Iterator[None]:
    """Let the schema editor remake a table as it is, not as its model is."""

    def remake(
        model: Any,
        create_field: AnyField | None = None,
        delete_field: AnyField | None = None,
        alter_fields: Sequence[tuple[AnyField, AnyField]] = (),
    ) -> None:
        remaking = _Remake(editor, model, catalogue)
        if create_field is not None:
            remaking.create(create_field)
        elif delete_field is not None:
            remaking.delete(delete_field)
        for old, new in alter_fields:
            remaking.alter(old, new)

    editor._remake_table = remake
    try:
        yield
    finally:
        del editor._remake_table


class _Remake:
    """One table that is remade."""

    def __init__(self, editor: Any, model: Any, catalogue: SQLiteCatalogue) -> None:
        self.editor = editor
        self.model = model
        self.catalogue = catalogue
        #: Indexes that go.
        self.leftover = set(catalogue.find_leftover_indexes())
        self.objects = self._objects(strip_quotes(model._meta.db_table))
        #: As it is spelled there, which may not be as the model has it.
        self.table = next(
            name for name in self.objects["table"] if not name.startswith("sqlite_")
        )
        self.definition = Definition.parse(self.objects["table"][self.table])

    def create(self, field: AnyField) -> None:
        """Add a column to a table without rows."""
        self._remake(self.definition.add(self._column_sql(field)))
        self._create_indexes(self._indexes(field))

    def alter(self, old: AnyField, new: AnyField) -> None:
        """Change the definition of a column, and its indexes."""
        checks = self._checks_by_hand(old)
        keys = self._keys_by_hand(old, new)
        text = " ".join([self._column_sql(new), *checks, *keys])
        had, has = self._indexes(old), self._indexes(new)
        self.leftover |= had.keys() - has.keys()
        self._remake(self.definition.change(new.column, text))
        # What it had stays, whatever its name: of a table that was renamed.
        self._create_indexes({name: has[name] for name in has.keys() - had.keys()})

    def delete(self, field: AnyField) -> None:
        """Remove a column, and the indexes that need it."""
        self.leftover.update(self.catalogue.find_indexes())
        self._remake(self.definition.change(field.column, None))

    def _remake(self, definition: Definition) -> None:
        notes = self._notes()
        new, table = self._free_name(), quote(self.table)
        self._execute(definition.rename(self.table, new).sql)
        columns = ", ".join(self._columns(new, definition))
        self._execute(
            f"INSERT INTO {quote(new)} ({columns}) SELECT {columns} FROM {table}"
        )
        self._execute(f"DROP TABLE {table}")
        self._execute(f"ALTER TABLE {quote(new)} RENAME TO {table}")
        self._restore_notes(notes)
        for name, sql in self.objects["index"].items():
            if name not in self.leftover:
                self._execute(sql)
        for sql in self.objects["trigger"].values():
            self._execute(sql)

    def _create_indexes(self, wanted: dict[str, str]) -> None:
        for name, sql in wanted.items():
            if name not in self.objects["index"]:
                self._execute(sql)

    # What is there

    def _objects(self, table: str) -> dict[str, dict[str, str]]:
        """Return the SQL of the table, its indexes and triggers, by kind and name."""
        rows = self._fetch(
            "SELECT type, name, sql, '' FROM sqlite_master "
            "WHERE tbl_name = %s COLLATE NOCASE OR name GLOB 'sqlite_*' "
            "UNION ALL SELECT type, name, sql, 'TEMP' FROM sqlite_temp_master "
            "WHERE tbl_name = %s COLLATE NOCASE",
            [table, table],
        )
        objects: dict[str, dict[str, str]] = defaultdict(dict)
        for kind, name, sql, how in rows:
            # What a constraint made has no text.
            if sql is not None:
                # That of a temporary trigger does not say that it is.
                objects[kind][name] = sql.replace("CREATE", f"CREATE {how}", 1)
        return objects

    def _columns(self, table: str, definition: Definition) -> list[str]:
        """Return the columns that are copied, quoted, with the number of the row."""
        rows = self._fetch(
            "SELECT new.name, upper(new.type), new.pk, new.hidden "
            "FROM pragma_table_xinfo(%s) new JOIN pragma_table_xinfo(%s) old "
            "ON old.name = new.name COLLATE NOCASE ORDER BY new.cid",
            [table, self.table],
        )
        was = {name_of(part) for part in self.definition.parts}
        # Those that are generated cannot be written.
        columns = [quote(name) for name, _, _, hidden in rows if not hidden]
        keys = [kind for _, kind, pk, _ in rows if pk]
        if definition.has_rowid and keys != ["INTEGER"]:
            columns += [name for name in ROW_NUMBERS if name not in was][:1]
        return columns

    def _notes(self) -> dict[str, list[Sequence[Any]]]:
        """Return what SQLite knows of the table, by where it is kept."""
        return {
            notes: self._fetch(
                f"SELECT * FROM {notes} WHERE {NOTES[notes]} = %s", [self.table]
            )
            for notes in NOTES.keys() & self.objects["table"].keys()
        }

    def _restore_notes(self, found: dict[str, list[Sequence[Any]]]) -> None:
        for notes, rows in found.items():
            self._execute(
                f"DELETE FROM {notes} WHERE {NOTES[notes]} = %s", [self.table]
            )
            for row in rows:
                places = ", ".join(["%s"] * len(row))
                self._execute(f"INSERT INTO {notes} VALUES ({places})", row)

    def _free_name(self) -> str:
        """Return a name that nothing has, for the new table while it is filled."""
        name = f"new__{self.table}"
        while self._fetch(
            "SELECT 1 FROM sqlite_master WHERE name = %s COLLATE NOCASE UNION ALL "
            "SELECT 1 FROM sqlite_temp_master WHERE name = %s COLLATE NOCASE",
            [name, name],
        ):
            name += "_"
        return name

    def _checks_by_hand(self, field: AnyField) -> list[str]:
        """Return the checks of a column that Django has not made."""
        djangos = list(checks_of(self._column_sql(field)))
        checks = checks_of(self.definition.find_part(field.column))
        return [check for check in checks if check not in djangos]

    def _keys_by_hand(self, old: AnyField, new: AnyField) -> list[str]:
        """Return the foreign keys of a column, if none of them is Django's."""
        if any(references_of(self._column_sql(field)) for field in (old, new)):
            return []
        return references_of(self.definition.find_part(old.column))

    # What Django makes

    def _column_sql(self, field: AnyField) -> str:
        """Return the column as Django's ADD COLUMN has it."""
        # Not that of SQLite, which remakes the table.
        editor: Any = self.editor.connection.schema_editor(collect_sql=True)
        editor.deferred_sql = []
        BaseDatabaseSchemaEditor.add_field(editor, self.model, strip_default(field))
        sql = editor.collected_sql[0].removesuffix(";")
        start = editor.sql_create_column % {
            "table": editor.quote_name(self.model._meta.db_table),
            "column": editor.quote_name(field.column),
            "definition": "",
        }
        return f"{quote(field.column)} {sql.removeprefix(start)}"

    def _indexes(self, field: AnyField) -> dict[str, str]:
        """Return the indexes that Django makes of a field, by name."""
        return {
            str(statement.parts["name"]).strip('"'): str(statement)
            for statement in self.editor._field_indexes_sql(self.model, field)
        }

    # The database

    def _fetch(self, sql: str, params: Any = None) -> list[Any]:
        return fetch_all(self.editor.connection, sql, params)

    def _execute(self, sql: str, params: Any = None) -> None:
        self.editor.execute(sql, params)
