"""
PostgreSQL: short locks where the migration is not atomic.

In an atomic migration everything is in the caller's transaction, and Django's
own statements do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, IntegrityError

from safefield.backends.base.names import WantedName
from safefield.backends.postgresql.index_rows import is_too_long
from safefield.backends.postgresql.online import OnlineSchema
from safefield.backends.postgresql.rights import PostgreSQLRights
from safefield.backends.postgresql.surroundings import (
    refuse_dependents,
    refuse_row_security,
    refuse_unique_over_partitions,
)
from safefield.fields import AnyField
from safefield.progress import warn

#: Rows that an atomic migration fills in a second, about: the slowest of the
#: whole operations in benchmarks/. Only for the warning.
ROWS_PER_SECOND = 40_000

#: Seconds of locking from which an atomic migration warns.
WARNING_SECONDS = 1.0


class PostgreSQLSchema(OnlineSchema):
    """The column on PostgreSQL."""

    def can_add_at_once(self) -> bool:
        if self.commits:
            # Whether the column is there the ALTER says, at no cost.
            return self.catalogue.is_empty()
        # An error would be the end of the caller's transaction.
        return self.catalogue.is_bare()

    def warn_of_locks(self) -> None:
        if self.commits:
            return
        rows = self.catalogue.estimate_rows()
        seconds = rows / ROWS_PER_SECOND
        if seconds >= WARNING_SECONDS:
            warn(
                "%s: this migration is atomic, so table %s (about %s rows) is locked "
                "for reading and writing until it ends, for about %s s or more. "
                "With atomic = False in the migration the site keeps running.",
                self.plan.title,
                self.plan.table,
                f"{rows:,}",
                f"{seconds:,.0f}",
            )

    def check_table(self) -> None:
        super().check_table()
        self.check_rights()
        refuse_unique_over_partitions(self.catalogue)
        self.check_rows()

    def check_rows(self) -> None:
        refuse_row_security(self.connection, self.plan)

    def too_long_for_index(self, exc: DatabaseError) -> Any:
        return is_too_long(self.table, self.plan.field.attname, exc)

    def check_rights(self, *, goes_back: bool = False) -> None:
        old, new = self.plan.old_field, self.plan.final_field
        if goes_back:
            old, new = new, old
        PostgreSQLRights(self.connection).refuse_change(
            self.plan,
            makes_index=self._has_index(new) and not self._has_index(old),
            refers_to=(
                None
                if new is None or _refers(old) or not _refers(new)
                else new.related_model._meta.db_table
            ),
        )

    def _has_index(self, field: AnyField | None) -> bool:
        return field is not None and (
            field.unique or bool(self.editor._field_indexes_sql(self.plan.model, field))
        )

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
            if self.catalogue.is_empty():
                raise
            return False
        return True

    def _add_together(self) -> None:
        """Add the final column, its comment and its indexes in one transaction."""
        if not self._takes_strings:
            self._change_table(super().add_final)
            return
        with self.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            editor.add_field(self.plan.model, self.plan.final_field)
        self.locks.execute_together(editor.collected_sql)

    def add(self) -> None:
        if self.commits and not self.editor.collect_sql:
            self.locks.change_table(super().add)
        else:
            super().add()

    def change_type(self, recheck: Callable[[], None] = lambda: None) -> None:
        if self.commits and not self.editor.collect_sql:
            self._change_type(super().change_type, recheck)
        else:
            super().change_type()

    def enforce(self, sweep: Callable[[], None], check: Callable[[], None]) -> None:
        if not self.commits:
            # Triggers that wait for the end of the transaction, such as those
            # of deferred foreign keys, would forbid ALTER TABLE.
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            super().enforce(sweep, check)
            self._rename_unique()
            self._defer()
            return
        self.enforce_online(sweep)

    def collect(self) -> None:
        if not self.commits or self.editor.atomic_migration:
            super().collect()
            self._rename_unique()
            return
        if self.plan.old_field is None:
            super().add()
        else:
            self.change_type()
        self.comment(f"Python: fill {self.plan.title} from {self.plan.source_name}")
        self.enforce_online(
            lambda: self.comment("Python: fill the rows inserted meanwhile")
        )

    def relax(self) -> None:
        column = self.catalogue.find_column()
        if column is None or column.null:
            return
        self.settle()
        self._alter(f"ALTER COLUMN {self.column} DROP NOT NULL")

    def drop(self) -> None:
        self.settle()
        if self.commits and not self.editor.collect_sql:
            self._change_table(super().drop)
        else:
            super().drop()

    def restore(self, recheck: Callable[[], None] = lambda: None) -> None:
        self.settle()
        # What a run that was stopped leaves behind.
        if not self.editor.collect_sql:
            self.get_guard().drop()
        wanted = [WantedName(self._unique_name().strip('"'), "unique constraint")]
        if (
            not self._has_unique()
            and (index := self._find_index(self._unique_name()))
            and not list(self.catalogue.find_taken_names(wanted))
        ):
            self._briefly(f"DROP INDEX {index[1]}")
        if self.commits and not self.editor.collect_sql:
            self._change_type(super().restore, recheck)
        else:
            super().restore()

    def settle(self) -> None:
        if not self.commits:
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            self._defer()

    def _defer(self) -> None:
        """Let constraints wait for the end of the transaction again, if they did."""
        self.editor.execute("SET CONSTRAINTS ALL DEFERRED", None)
        if not self.editor.collect_sql:
            names = self.catalogue.find_immediate_constraints()
            if names:
                self.editor.execute(f"SET CONSTRAINTS {names} IMMEDIATE", None)

    # Small things

    def _rename_unique(self) -> None:
        """Name what alter_field() has made as add_field() names it."""
        name, final_name = self._unique_name(), self._final_unique_name()
        if (
            self.plan.final_field.unique
            and name != final_name
            and (self.editor.collect_sql or self._has_constraint(name))
        ):
            self._alter(f"RENAME CONSTRAINT {name} TO {final_name}")

    def _change_table(self, function: Callable[[], object]) -> None:
        """Call `function`, which runs whatever Django's schema editor does."""
        if self._has_plain_editor:
            self.locks.change_table(function)
        else:
            function()

    def _change_type(
        self, function: Callable[[], object], recheck: Callable[[], None]
    ) -> None:
        """Call `function` behind `recheck`, and let nobody write in between."""

        def change() -> None:
            if self._has_plain_editor:
                self.keep_writers_away()
            recheck()
            function()

        self._change_table(change)

    def keep_writers_away(self) -> None:
        # At once the lock that ALTER TABLE takes: two that both have a weaker one, and
        # wait for the stronger, wait for each other.
        self.editor.execute(f"LOCK TABLE {self.table} IN ACCESS EXCLUSIVE MODE", None)

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


def _refers(field: AnyField | None) -> bool:
    """Return whether a field has a constraint to another table."""
    return field is not None and bool(getattr(field, "db_constraint", False))
