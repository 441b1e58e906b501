"""
PostgreSQL: short locks where the migration is not atomic.

In an atomic migration everything is in the caller's transaction, and Django's
own statements do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from functools import cached_property
from typing import Any

from django.db import Error, IntegrityError, transaction
from django.db.backends.ddl_references import Statement
from django.db.models import NOT_PROVIDED

from safefield.backends.base.schema import LiveColumn, Schema
from safefield.backends.postgresql import catalogue
from safefield.backends.postgresql.locks import PostgreSQLLocks
from safefield.backends.postgresql.surroundings import (
    is_partitioned,
    refuse_dependents,
    refuse_unique_over_partitions,
)
from safefield.progress import step

__all__ = ["PostgreSQLSchema"]

logger = logging.getLogger("safefield")

#: Rows that an atomic migration fills in a second, about: the slowest of the
#: whole operations in benchmarks/. Only for the warning.
ROWS_PER_SECOND = 40_000

#: Seconds of locking from which an atomic migration warns.
WARNING_SECONDS = 1.0

#: The templates of the statements that are put together here.
TEMPLATES = ("sql_create_index", "sql_create_fk")


class PostgreSQLSchema(Schema):
    """The column on PostgreSQL."""

    locks_class = PostgreSQLLocks
    locks: PostgreSQLLocks

    def can_add_at_once(self) -> bool:
        # Partitions go the long way, on which check_table() comes first.
        return catalogue.is_bare(self.connection, self.table, self.plan.field.column)

    def live_column(self) -> LiveColumn | None:
        return catalogue.find_column(
            self.connection, self.table, self.plan.field.column
        )

    def expected_type(self) -> str | None:
        db_type = self.plan.field.db_type(self.connection)
        with (
            transaction.atomic(using=self.connection.alias),
            self.connection.cursor() as cursor,
        ):
            # Types have many spellings; the server itself says what the wanted
            # one comes to.
            cursor.execute(
                f"CREATE TEMPORARY TABLE safefield_probe (c {db_type}) ON COMMIT DROP"
            )
            cursor.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = 'pg_temp.safefield_probe'::regclass "
                "AND attname = 'c'"
            )
            kind = cursor.fetchone()[0]
            cursor.execute("DROP TABLE pg_temp.safefield_probe")
        return str(kind)

    def estimated_rows(self) -> int:
        rows = catalogue.estimate_rows(self.connection, self.table)
        return rows if rows >= 0 else super().estimated_rows()

    def warn_of_locks(self) -> None:
        if self.commits:
            return
        rows = self.estimated_rows()
        seconds = rows / ROWS_PER_SECOND
        if seconds >= WARNING_SECONDS:
            logger.warning(
                "%s: this migration is atomic, so table %s (about %s rows) is locked "
                "for reading and writing until it ends, for about %s s or more. "
                "With atomic = False in the migration the site keeps running.",
                self.plan.title,
                self.plan.table,
                f"{rows:,}",
                f"{seconds:,.0f}",
            )

    def check_table(self) -> None:
        refuse_unique_over_partitions(self.connection, self.plan)

    def check_drop(self) -> None:
        refuse_dependents(self.connection, self.plan)

    # What is done

    def add_final(self) -> bool:
        if not self.commits:
            return super().add_final()
        try:
            self._add_together()
        except IntegrityError:
            # A new row has no value for the new column.
            if self.is_empty():
                raise
            return False
        return True

    def _add_together(self) -> None:
        """Add the final column, its comment and its indexes in one transaction."""
        if not self._takes_strings:
            self._change_table(super().add_final)
            return
        with self.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            editor.add_field(self.plan.model, self.plan.strict_field)
        self.locks.execute_together(editor.collected_sql)

    def add(self) -> None:
        if self.commits and not self.editor.collect_sql:
            self.locks.change_table(super().add)
        else:
            super().add()

    def widen(self) -> None:
        if self.commits and not self.editor.collect_sql:
            self._change_table(super().widen)
        else:
            super().widen()

    def enforce(self, sweep: Callable[[], None]) -> None:
        if not self.commits:
            # Triggers that wait for the end of the transaction, such as those
            # of deferred foreign keys, would forbid ALTER TABLE.
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            super().enforce(sweep)
            self.editor.execute("SET CONSTRAINTS ALL DEFERRED", None)
            return
        self._build_unique()
        self._build_indexes()
        self._add_foreign_key()
        self._set_default()
        self._set_not_null(sweep)
        self._drop_indexes()

    def collect(self) -> None:
        if not self.commits or self.editor.atomic_migration:
            super().collect()
            return
        if self.plan.old_field is None:
            super().add()
        else:
            self.widen()
        self.comment(f"Python: fill {self.plan.title} from {self.plan.source_name}")
        self.enforce(lambda: self.comment("Python: fill the rows inserted meanwhile"))

    def relax(self) -> None:
        column = self.live_column()
        if column is None or column.null:
            return
        self._settle()
        self._alter(f"ALTER COLUMN {self.column} DROP NOT NULL")

    def drop(self) -> None:
        self._settle()
        if self.commits and not self.editor.collect_sql:
            self._change_table(super().drop)
        else:
            super().drop()

    def is_restored(self, column: LiveColumn) -> bool:
        return super().is_restored(column) and not self._has_constraint(
            self._not_null_name()
        )

    def restore(self) -> None:
        self._settle()
        # What a run that was stopped leaves behind.
        if self._has_constraint(name := self._not_null_name()):
            self._alter(f"DROP CONSTRAINT {name}")
        if not self._has_unique() and (index := self._find_index(self._unique_name())):
            self._briefly(f"DROP INDEX {index[1]}")
        if self.commits and not self.editor.collect_sql:
            self._change_table(super().restore)
        else:
            super().restore()

    def _settle(self) -> None:
        """Fire the triggers that wait for the end of the transaction."""
        if not self.commits:
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            self.editor.execute("SET CONSTRAINTS ALL DEFERRED", None)

    # The steps of enforce(), none of which keeps writers waiting

    def _build_unique(self) -> None:
        strict = self.plan.strict_field
        if not strict.unique or self._has_unique():
            return
        name = self._unique_name()
        index = self._sql_editor._create_index_sql(
            self.plan.model, fields=[strict], name=name
        )
        index.template = index.template.replace("INDEX", "UNIQUE INDEX", 1)
        self._build_index(index)
        self._alter(f"ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")

    def _build_indexes(self) -> None:
        for statement in self._sql_editor._field_indexes_sql(
            self.plan.model, self.plan.strict_field
        ):
            self._build_index(statement)

    def _build_index(self, statement: Statement) -> None:
        name = str(statement.parts["name"])
        if (found := self._find_index(name)) is not None:
            is_valid, found_name = found
            if is_valid:
                return
            # What a failed CREATE INDEX CONCURRENTLY leaves behind.
            self.editor.execute(f"DROP INDEX CONCURRENTLY {found_name}", None)
        if self._is_partitioned:
            logger.warning(
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
        if not self.editor.collect_sql:
            step(f"Building index {name} of {self.plan.title}")
        self.editor.execute(statement, None)

    def _find_index(self, quoted_name: str) -> tuple[bool, str] | None:
        if self.editor.collect_sql:
            return None
        return catalogue.find_index(self.connection, self.table, quoted_name.strip('"'))

    def _add_foreign_key(self) -> None:
        if not self.wants_foreign_key():
            return
        statement = self._sql_editor._create_fk_sql(
            self.plan.model,
            self.plan.strict_field,
            "_fk_%(to_table)s_%(to_column)s",
        )
        name = str(statement.parts["name"])
        if not self._has_constraint(name):
            # A partitioned table takes no NOT VALID before PostgreSQL 18.
            self._briefly(
                str(statement) if self._is_partitioned else f"{statement} NOT VALID"
            )
        self._validate(name)

    def _set_default(self) -> None:
        strict = self.plan.strict_field
        column = None if self.editor.collect_sql else self.live_column()
        has_default = column is not None and column.has_default
        if self.default_changes() or (self.has_default(strict) and not has_default):
            sql, params = self.editor._alter_column_database_default_sql(
                self.plan.model, None, strict, drop=not self.has_default(strict)
            )
            self._alter(sql, params)

    def _set_not_null(self, sweep: Callable[[], None]) -> None:
        if self.plan.strict_field.null:
            return
        name = self._not_null_name()
        if not self._is_not_null():
            # A row that has no value when the check is there cannot be updated
            # by code that knows nothing of the column: let it be few.
            sweep()
            if not self._has_constraint(name):
                self._alter(
                    f"ADD CONSTRAINT {name} CHECK ({self.column} IS NOT NULL) NOT VALID"
                )
            try:
                # From here on no row can be left without a value.
                sweep()
                self._validate(name)
            except BaseException:
                # Code that knows nothing of the column must go on inserting. But
                # the connection may be what was lost.
                with suppress(Error):
                    self._alter(f"DROP CONSTRAINT {name}")
                raise
            # With the valid check PostgreSQL need not scan the table again.
            self._alter(f"ALTER COLUMN {self.column} SET NOT NULL")
        if self.editor.collect_sql or self._has_constraint(name):
            self._alter(f"DROP CONSTRAINT {name}")

    def _drop_indexes(self) -> None:
        names = [] if self.editor.collect_sql else self.leftover_indexes()
        for name in names:
            if (found := self._find_index(name)) is not None:
                how = "" if self._is_partitioned else "CONCURRENTLY "
                self.editor.execute(f"DROP INDEX {how}{found[1]}", None)

    # Small things

    def _change_table(self, function: Callable[[], object]) -> None:
        """Call `function`, which runs whatever Django's schema editor does."""
        if self._has_plain_editor:
            self.locks.change_table(function)
        else:
            function()

    @property
    def _has_plain_editor(self) -> bool:
        # That of django-pg-zero-downtime-migrations sets timeouts of its own, and
        # what it does CONCURRENTLY cannot be in a transaction.
        return isinstance(self.editor.sql_create_index, str)

    @property
    def _takes_strings(self) -> bool:
        """Whether several statements can go to the server as one string."""
        # Here, because it imports psycopg, which not every project has.
        from django.db.backends.postgresql.schema import DatabaseSchemaEditor

        return (
            self._has_plain_editor
            # django-multitenant's cuts strings up: Citus takes one statement each.
            and type(self.editor).execute is DatabaseSchemaEditor.execute
            # With 0 psycopg prepares each string, and only one statement can be.
            and getattr(self.connection.connection, "prepare_threshold", None) != 0
        )

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
        return is_partitioned(self.connection, self.table)

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

    def _not_null_name(self) -> str:
        """Return the quoted name of the check that stands before NOT NULL."""
        return self.quote_name(
            self.editor._create_index_name(
                self.plan.table, [self.plan.field.column], suffix="_notnull"
            )
        )

    def _unique_name(self) -> str:
        return str(
            self.editor._unique_constraint_name(
                self.plan.table, [self.plan.field.column]
            )
        )

    def _has_unique(self) -> bool:
        return not self.editor.collect_sql and catalogue.has_unique(
            self.connection, self.table, self.plan.field.column
        )

    def _is_not_null(self) -> bool:
        if self.editor.collect_sql:
            return False
        column = self.live_column()
        return column is not None and not column.null

    def _has_constraint(self, quoted_name: str) -> bool:
        return not self.editor.collect_sql and catalogue.has_constraint(
            self.connection, self.table, quoted_name.strip('"')
        )

    def _validate(self, name: str) -> None:
        self.editor.execute(
            f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {name}", None
        )

    def _alter(self, change: str, params: Any = None) -> None:
        self._briefly(f"ALTER TABLE {self.table} {change}", params)

    def _briefly(self, sql: str, params: Any = None) -> None:
        def execute() -> None:
            self.editor.execute(sql, params)

        if self.commits and not self.editor.collect_sql:
            self.locks.change_table(execute)
        else:
            execute()
