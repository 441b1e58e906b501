"""
PostgreSQL: the steps that make a column final and keep nobody waiting.

Each is a transaction of its own, or cannot be in one. Each looks at the
catalogue first, so that a run that was stopped is finished by the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from functools import cached_property
from typing import Any

from django.db import Error
from django.db.backends.ddl_references import Statement

from safefield.backends.base.keys import Kind
from safefield.backends.base.locks import Locks
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.backends.postgresql.guard import NotNullCheck
from safefield.interrupts import undisturbed
from safefield.progress import warn

#: The templates of the statements that are put together here.
TEMPLATES = ("sql_create_index", "sql_create_fk")


class OnlineSteps:
    """How the column of one plan is made final while others work."""

    def __init__(self, catalogue: PostgreSQLCatalogue, locks: Locks) -> None:
        self.editor = catalogue.editor
        self.plan = catalogue.plan
        self.field = self.plan.final_field
        self.catalogue = catalogue
        self.locks = locks
        self.wanted = catalogue.wanted

    def run(self, sweep: Callable[[], None]) -> None:
        """Take all steps; `sweep` fills the rows that have come meanwhile."""
        self._build_unique()
        self._build_indexes()
        self._add_foreign_key()
        self._set_default()
        if not self.field.null:
            self._set_not_null(sweep)
        self._drop_indexes()

    def _build_unique(self) -> None:
        if not self.field.unique or self.catalogue.has_unique_constraint():
            return
        name = self.catalogue.unique_name
        index = self._sql_editor._create_index_sql(
            self.plan.model, fields=[self.field], name=name
        )
        index.template = index.template.replace("INDEX", "UNIQUE INDEX", 1)
        self._build_index(index)
        final_name = self.catalogue.find_final_unique_name()
        self._alter(f"ADD CONSTRAINT {final_name} UNIQUE USING INDEX {name}")

    def _build_indexes(self) -> None:
        keys = self.catalogue.keys
        found = keys.find_own()
        has_index = self.wanted.has_index() and any(map(keys.counts_as_index, found))
        has_like = any(key.kind is Kind.LIKE for key in found)
        for statement in self._sql_editor._field_indexes_sql(
            self.plan.model, self.field
        ):
            is_like = str(statement.parts["name"]).strip('"').endswith("_like")
            # That of a table or a column that was renamed has another name.
            if not (has_like if is_like else has_index):
                self._build_index(statement)

    def _build_index(self, statement: Statement) -> None:
        name = str(statement.parts["name"])
        if self._is_built(name):
            return
        if self._is_partitioned:
            warn(
                "%s: PostgreSQL builds no index CONCURRENTLY on a partitioned table. "
                "Table %s is locked for writing while index %s is built.",
                self.plan.title,
                self.plan.table,
                name,
            )
        else:
            statement.template = statement.template.replace(
                "INDEX", "INDEX CONCURRENTLY", 1
            )

        def build() -> None:
            try:
                self.editor.execute(statement, None)
            except BaseException as exc:
                # Invalid as it is, it may go on refusing what others write. But the
                # connection may be what was lost.
                with undisturbed(exc), suppress(Error):
                    self._is_built(name)
                raise

        self._work_online(f"Building index {name}", build)

    def _is_built(self, quoted_name: str) -> bool:
        """Return whether an index is there, and drop one that is invalid."""
        if (found := self.catalogue.find_index(quoted_name)) is None:
            return False
        is_valid, found_name = found
        if not is_valid:
            # What a failed CREATE INDEX CONCURRENTLY leaves behind.
            self.editor.execute(f"DROP INDEX CONCURRENTLY {found_name}", None)
        return is_valid

    def _add_foreign_key(self) -> None:
        if not self.wanted.has_foreign_key():
            return
        if found := self.catalogue.keys.find_foreign_keys():
            # Valid or not.
            name = self.editor.quote_name(found[0].name)
        else:
            statement = self._sql_editor._create_fk_sql(
                self.plan.model, self.field, "_fk_%(to_table)s_%(to_column)s"
            )
            name = str(statement.parts["name"])
            # A partitioned table takes no NOT VALID before PostgreSQL 18.
            sql = str(statement) if self._is_partitioned else f"{statement} NOT VALID"
            self._execute_briefly(sql)
        self._validate(name)

    def _set_default(self) -> None:
        column = self.catalogue.find_column()
        has_one = column is not None and column.has_default
        if self.wanted.needs_default(has_one=has_one):
            sql, params = self.editor._alter_column_database_default_sql(
                self.plan.model, None, self.field, drop=not self.wanted.has_default()
            )
            self._alter(sql, params)

    def _set_not_null(self, sweep: Callable[[], None]) -> None:
        check = NotNullCheck(self.catalogue, self.locks)
        column = self.catalogue.find_column()
        if column is not None and not column.null:
            # That of a run that was stopped just before its end.
            check.drop()
            return
        # A row that has no value when the check is there cannot be updated
        # by code that knows nothing of the column: let it be few.
        sweep()
        # If this fails, code that knows nothing of the column goes on inserting.
        with check.watched():
            check.create()
            # From here on no row can be left without a value.
            sweep()
            self._validate(check.name)
            # With the valid check PostgreSQL need not scan the table again.
            self._alter(f"ALTER COLUMN {self.catalogue.column} SET NOT NULL")
        check.remove()

    def _drop_indexes(self) -> None:
        for name in self.catalogue.find_leftover_indexes():
            if (found := self.catalogue.find_index(name)) is not None:
                how = "" if self._is_partitioned else "CONCURRENTLY "
                self.editor.execute(f"DROP INDEX {how}{found[1]}", None)

    def _validate(self, name: str) -> None:
        sql = f"ALTER TABLE {self.catalogue.table} VALIDATE CONSTRAINT {name}"
        self._work_online(
            f"Checking constraint {name}", lambda: self.editor.execute(sql, None)
        )

    def _work_online(self, title: str, function: Callable[[], object]) -> None:
        title = f"{title} of {self.plan.title}".replace('"', "")
        self.locks.work_online(title, function)

    def _alter(self, change: str, params: Any = None) -> None:
        """Alter the table by a statement that has done its work in an instant."""
        self._execute_briefly(f"ALTER TABLE {self.catalogue.table} {change}", params)

    def _execute_briefly(self, sql: str, params: Any = None) -> None:
        self.locks.change_table(lambda: self.editor.execute(sql, params))

    @cached_property
    def _is_partitioned(self) -> bool:
        return self.catalogue.is_partitioned()

    @cached_property
    def _sql_editor(self) -> Any:
        """
        The schema editor, with Django's templates for what is put together here.

        The templates of django-pg-zero-downtime-migrations are several
        statements each, CONCURRENTLY and NOT VALID already.
        """
        # Here, because it imports psycopg, which not every project has.
        from django.db.backends.postgresql.schema import DatabaseSchemaEditor

        editor = copy(self.editor)
        for name in TEMPLATES:
            setattr(editor, name, getattr(DatabaseSchemaEditor, name))
        return editor
