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
from django.db.models import NOT_PROVIDED

from safefield.backends.base.keys import Kind
from safefield.backends.base.schema import Schema
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.backends.postgresql.guard import NotNullCheck
from safefield.backends.postgresql.locks import PostgreSQLLocks
from safefield.backends.postgresql.names import get_inline_names
from safefield.backends.postgresql.session import LOCK_LIMITS
from safefield.interrupts import undisturbed
from safefield.progress import step, warn

#: The templates of the statements that are put together here.
TEMPLATES = ("sql_create_index", "sql_create_fk")


class OnlineSchema(Schema):
    """The column on PostgreSQL, and how it is made final while others work."""

    is_unique_first = True

    catalogue_class = PostgreSQLCatalogue
    catalogue: PostgreSQLCatalogue
    locks_class = PostgreSQLLocks
    locks: PostgreSQLLocks

    def enforce_online(self, sweep: Callable[[], None]) -> None:
        """Do what enforce() does, outside a transaction."""
        self._build_unique()
        self._build_indexes()
        self._add_foreign_key()
        self._set_default()
        self._set_not_null(sweep)
        self._drop_indexes()

    def _build_unique(self) -> None:
        final = self.plan.final_field
        if not final.unique or self._has_unique():
            return
        name = self._unique_name()
        index = self._sql_editor._create_index_sql(
            self.plan.model, fields=[final], name=name
        )
        index.template = index.template.replace("INDEX", "UNIQUE INDEX", 1)
        self._build_index(index)
        final_name = self._final_unique_name()
        self._alter(f"ADD CONSTRAINT {final_name} UNIQUE USING INDEX {name}")

    def _build_indexes(self) -> None:
        has_index = not self.editor.collect_sql and any(
            map(self.catalogue.keys.counts_as_index, self.catalogue.keys.find_own())
        )
        for statement in self._sql_editor._field_indexes_sql(
            self.plan.model, self.plan.final_field
        ):
            is_like = str(statement.parts["name"]).strip('"').endswith("_like")
            # That of a table or a column that was renamed has another name.
            if is_like or not (has_index and self.wanted.has_index()):
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

        self._work_long(f"Building index {name} of {self.plan.title}", build)

    def _is_built(self, quoted_name: str) -> bool:
        """Return whether an index is there, and drop one that is invalid."""
        if (found := self._find_index(quoted_name)) is None:
            return False
        is_valid, found_name = found
        if not is_valid:
            # What a failed CREATE INDEX CONCURRENTLY leaves behind.
            self.editor.execute(f"DROP INDEX CONCURRENTLY {found_name}", None)
        return is_valid

    def _find_index(self, quoted_name: str) -> tuple[bool, str] | None:
        if self.editor.collect_sql:
            return None
        return self.catalogue.find_index(quoted_name.strip('"'))

    def _add_foreign_key(self) -> None:
        if not self.wanted.has_foreign_key():
            return
        statement = self._sql_editor._create_fk_sql(
            self.plan.model,
            self.plan.final_field,
            "_fk_%(to_table)s_%(to_column)s",
        )
        name = self._find_foreign_key() or str(statement.parts["name"])
        if not self._has_constraint(name):
            # A partitioned table takes no NOT VALID before PostgreSQL 18.
            self._briefly(
                str(statement) if self._is_partitioned else f"{statement} NOT VALID"
            )
        self._validate(name)

    def _find_foreign_key(self) -> str | None:
        """Return the quoted name of the foreign key that is there, valid or not."""
        if self.editor.collect_sql:
            return None
        target = self.catalogue.keys.get_target(self.plan.field)
        names = [
            key.name for key in self.catalogue.keys.find_own() if key.target == target
        ]
        return self.quote_name(names[0]) if names else None

    def _set_default(self) -> None:
        final = self.plan.final_field
        column = None if self.editor.collect_sql else self.catalogue.find_column()
        has_default = column is not None and column.has_default
        if self.wanted.changes_default() or (
            self.has_default(final) and not has_default
        ):
            sql, params = self.editor._alter_column_database_default_sql(
                self.plan.model, None, final, drop=not self.has_default(final)
            )
            self._alter(sql, params)

    def _set_not_null(self, sweep: Callable[[], None]) -> None:
        if self.plan.final_field.null:
            return
        check = self.get_guard()
        if not self._is_not_null():
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
                self._alter(f"ALTER COLUMN {self.column} SET NOT NULL")
        check.drop()

    def _drop_indexes(self) -> None:
        names = [] if self.editor.collect_sql else self.find_leftover_indexes()
        for name in names:
            if (found := self._find_index(name)) is not None:
                how = "" if self._is_partitioned else "CONCURRENTLY "
                self.editor.execute(f"DROP INDEX {how}{found[1]}", None)

    def get_guard(self) -> NotNullCheck:
        return NotNullCheck(self.catalogue, self.locks, self._alter)

    # What is there

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

    @cached_property
    def _is_partitioned(self) -> bool:
        if self.editor.collect_sql:
            return False
        return self.catalogue.is_partitioned()

    @property
    def table(self) -> str:
        """The quoted table."""
        return self.quote_name(self.plan.table)

    @property
    def column(self) -> str:
        """The quoted column."""
        return self.quote_name(self.plan.field.column)

    def quote_name(self, name: str) -> str:
        """Return `name` quoted for the database."""
        return str(self.connection.ops.quote_name(name))

    def has_default(self, field: Any) -> bool:
        """Return whether the database has a default for `field`."""
        return field.db_default is not NOT_PROVIDED

    def _unique_name(self) -> str:
        return str(
            self.editor._unique_constraint_name(
                self.plan.table, [self.plan.field.column]
            )
        )

    def _final_unique_name(self) -> str:
        """Return the quoted name that Django's own operation leaves behind."""
        # AddField has it inline, without a name; another package's editor may not.
        if self.plan.old_field is not None or not self._has_plain_editor:
            return self._unique_name()
        table, column = self.plan.table.rpartition('"."')[2], self.plan.field.column
        return self.quote_name(
            next(
                name
                for name in get_inline_names(table.strip('"'), column)
                if self.editor.collect_sql or not self.catalogue.has_name(name)
            )
        )

    @property
    def _has_plain_editor(self) -> bool:
        # That of django-pg-zero-downtime-migrations sets timeouts of its own, and
        # what it does CONCURRENTLY cannot be in a transaction.
        return isinstance(self.editor.sql_create_index, str)

    def _has_unique(self) -> bool:
        return not self.editor.collect_sql and any(
            key.kind is Kind.UNIQUE and key.is_constraint
            for key in self.catalogue.keys.find_own()
        )

    def _is_not_null(self) -> bool:
        if self.editor.collect_sql:
            return False
        column = self.catalogue.find_column()
        return column is not None and not column.null

    def _has_constraint(self, quoted_name: str) -> bool:
        return not self.editor.collect_sql and self.catalogue.has_constraint(
            quoted_name.strip('"')
        )

    def _validate(self, name: str) -> None:
        sql = f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {name}"
        self._work_long(
            f"Checking constraint {name} of {self.plan.title}",
            lambda: self.editor.execute(sql, None),
        )

    def _work_long(self, title: str, function: Callable[[], object]) -> None:
        """Call `function`, which waits for others and keeps nobody waiting."""
        if self.editor.collect_sql:
            function()
            return
        with (
            step(title.replace('"', "")),
            self.locks.session.lifted(LOCK_LIMITS),
            self.locks.watched(),
        ):
            self.locks.work_long(function)

    def _alter(self, change: str, params: Any = None) -> None:
        self._briefly(f"ALTER TABLE {self.table} {change}", params)

    def _briefly(self, sql: str, params: Any = None) -> None:
        def execute() -> None:
            self.editor.execute(sql, params)

        if self.commits and not self.editor.collect_sql:
            self.locks.change_table(execute)
        else:
            execute()
