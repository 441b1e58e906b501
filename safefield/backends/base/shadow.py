"""A temporary table that stands for a table while a backfill is rehearsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Model

from safefield.backends.base.rights import Rights
from safefield.backends.base.schema import Schema
from safefield.backends.base.sql import execute, find_column_names
from safefield.exceptions import SafefieldError
from safefield.fields import AnyField

#: How the name of the temporary table begins. No other session sees it, and what
#: comes after is new each time: it must not hide a table of this name.
SHADOW_TABLE = "safefield_rehearsal"


@dataclass(frozen=True)
class Layout:
    """What the temporary table is to be made of."""

    #: Unquoted name of the table it stands for.
    table: str
    #: Its own name.
    name: str
    #: A model of it, with the final columns.
    model: type[Model]
    #: Fields whose columns are copied from the table, the key among them.
    copied: Sequence[AnyField]
    #: Fields whose columns the table has not got.
    made: Sequence[AnyField]
    #: The column that is to be filled, where the table has it: rows without a value
    #: come first, and what the table asks of its values, it asks too.
    column: AnyField | None


class Shadow:
    """The rows of a table, as far as a rehearsal needs them."""

    rights_class: type[Rights] = Rights

    #: How many times as long as its rehearsal a run of migrate takes: it commits
    #: each batch, and builds the index.
    slowdown = 1.0

    def __init__(self, connection: Any, layout: Layout) -> None:
        self.connection = connection
        self.layout = layout
        self.keys: list[AnyField] = list(layout.model._meta.pk_fields)
        #: The columns that are copied.
        self.columns: list[str] = []
        #: Whether other tables were written to, as far as that is noticed by itself.
        self.is_written = False

    @contextmanager
    def open(
        self, *, limit: int | None, may_write: bool, prepare: Callable[[], None]
    ) -> Iterator[None]:
        """
        Provide the table in a transaction of which nothing stays.

        Args:
            limit (int | None): Rows to copy, by primary key; None for all.
            may_write (bool): Whether the transaction lets other tables be
                written to, where the database can forbid it.
            prepare (Callable[[], None]): Called when the table is there.
        """
        with transaction.atomic(using=self.connection.alias):
            self._create(limit)
            prepare()
            yield
            transaction.set_rollback(True, using=self.connection.alias)

    @contextmanager
    def watch(self, *, may_write: bool) -> Iterator[None]:
        """Notice what writes to other tables in the block, or forbid it."""
        yield

    @staticmethod
    def ends_transaction(sql: str) -> bool:
        """Return whether a statement commits what was done before it."""
        return False

    def add(self, field: AnyField) -> None:
        """Add a column, without values, that takes what migrate's own takes."""
        definition = self._define(field)
        if check := field.db_check(self.connection):
            definition += f" CHECK ({check})"
        self._execute(f"ALTER TABLE {self._table} ADD COLUMN {definition}")

    def change_type(self, schema: Schema) -> None:
        """Give an existing column its new type, as far as the database minds types."""

    def try_definition(self, schema: Schema) -> None:
        """Try what enforce() cannot, for want of a transaction to be rolled back."""

    def enforce(self, schema: Schema) -> None:
        """Give the filled column its final definition, which may be refused."""

    def find_triggers(self) -> list[str]:
        """Return the names of what the table does by itself when rows are updated."""
        return []

    def generates(self, column: str) -> bool:
        """Return whether the database itself makes what is in a column."""
        wanted = {field.column for field in self.layout.copied}
        return column in wanted.difference(self.columns)

    # Making it

    def _create(self, limit: int | None) -> None:
        try:
            copied = self._make()
        except DatabaseError as exc:
            raise SafefieldError(
                f"Table {self.layout.table} cannot be rehearsed: the database refused "
                f"a temporary table that is like it. "
                f"{self.rights_class(self.connection).describe_temporary(exc)}."
            ) from exc
        for field in self.layout.made:
            self.add(field)
        self.columns = copied
        columns = self._list(copied)
        order = ""
        if limit is not None:
            keys = [self._quote(key.column) for key in self.keys]
            if self.layout.column is not None:
                column = self._quote(self.layout.column.column)
                keys.insert(0, f"CASE WHEN {column} IS NULL THEN 0 ELSE 1 END")
            order = f" ORDER BY {', '.join(keys)} LIMIT {int(limit)}"
        self._execute(
            f"INSERT INTO {self._table} ({columns}) "
            f"SELECT {columns} FROM {self._quote(self.layout.table)}{order}"
        )

    def _make(self) -> list[str]:
        """Create the table with the columns that the real one has; return these."""
        raise SafefieldError(
            f"Table {self.layout.table} cannot be rehearsed on this database."
        )

    # What the real table asks of the values

    def _needed(self, more: Iterable[str] = ()) -> set[str]:
        """Return the columns that the rules name; others may be among them."""
        text = "\n".join([*self._rules(), *self._generated().values(), *more])
        # A quote within a name is there twice.
        text = text.replace('""', '"').replace("``", "`")
        return {name for name in self._live_columns() if name in text}

    def _rules(self) -> list[str]:
        """Return what is unique together with the column, as SQL."""
        return self._about(self._find_rules)

    def _about(self, find: Callable[[], Iterable[str]]) -> list[str]:
        """Return the texts of some that are about the column, or one made of it."""
        if self.layout.column is None:
            return []
        names = [self.layout.column.column, *self._generated()]
        return [text for text in find() if any(name in text for name in names)]

    def _generated(self) -> dict[str, str]:
        """Return the columns that the database makes of the column; their SQL."""
        if self.layout.column is None:
            return {}
        name = self.layout.column.column
        found = self._find_generated().items()
        return {column: text for column, text in found if name in text}

    def _find_generated(self) -> dict[str, str]:
        """Return the generated columns, as SQL by name."""
        return {}

    def _find_rules(self) -> Iterable[str]:
        """Return what is asked of the rows of the real table, as SQL."""
        return ()

    # Small things

    @property
    def _table(self) -> str:
        return self._quote(self.layout.name)

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    def _quote_column(self, name: str) -> str:
        """Return the name of a live column quoted, whatever is in it."""
        mark = self._quote("x")[0]
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def _list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._quote_column, names))

    def _execute(self, sql: str) -> None:
        execute(self.connection, sql)

    def _live_columns(self) -> list[str]:
        return find_column_names(self.connection, self.layout.table)

    def _define(self, field: AnyField) -> str:
        """Return column and type, for a table that fills nothing by itself."""
        # That of a key to the field: the type of an AutoField would count up.
        kind = field.rel_db_type(self.connection)
        collation = field.db_parameters(self.connection).get("collation")
        text = f"{self._quote(field.column)} {kind}"
        return f"{text} COLLATE {self._quote(collation)}" if collation else text
