"""
MySQL and MariaDB: one online ALTER with the full column definition.

Django's own MODIFY from NULL to NOT NULL loses the collation and the comment,
and takes one statement, and often one copy of the table, for each change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from secrets import token_hex

from django.db import DatabaseError, Error

from safefield.backends.base.keys import Kind
from safefield.backends.base.schema import Schema
from safefield.backends.mysql.catalogue import MySQLCatalogue
from safefield.backends.mysql.checks import (
    find_check_by_hand,
    get_check,
    spell_check_changes,
)
from safefield.backends.mysql.definition import refuse_too_long
from safefield.backends.mysql.guard import NullGuard
from safefield.backends.mysql.locks import MySQLLocks
from safefield.backends.mysql.online import beside_writers
from safefield.backends.mysql.referring import Referring
from safefield.backends.mysql.rights import MySQLRights
from safefield.backends.mysql.session import strict_mode, without_foreign_key_checks
from safefield.exceptions import BackfillError
from safefield.fields import AnyField, copy_field

#: How often enforce() is tried when the application inserts rows between the
#: sweep and the ALTER. From the second on they cannot come, but NULLs of updates.
ENFORCE_TRIES = 5

#: Error numbers of an ALTER that met a NULL: "Data truncated for column" and
#: "Invalid use of NULL value". Source: mysqld_error.h, WARN_DATA_TRUNCATED
#: and ER_INVALID_USE_OF_NULL.
NULL_ERRORS = {1265, 1138}

#: Seconds that the ALTER that rebuilds the table waits for its lock, more than
#: LOCK_WAIT_SECONDS: it needs the lock once more at the end, and would lose all
#: its work for a report of a few seconds.
REBUILD_LOCK_WAIT_SECONDS = 5


class MySQLSchema(Schema):
    """The column on MySQL and MariaDB."""

    #: In one statement with NOT NULL.
    is_unique_first = True

    #: MySQL takes the name of a temporary table once in a statement, and both are
    #: slower with IN.
    counts_in_windows = True

    catalogue_class = MySQLCatalogue
    locks_class = MySQLLocks
    locks: MySQLLocks

    def find_leftover_indexes(self) -> list[str]:
        if self.wanted.has_foreign_key() and not self.plan.final_field.unique:
            # A foreign key needs some index.
            return []
        return super().find_leftover_indexes()

    def is_empty(self) -> bool:
        # As exists() asks, less the time in which it is put together: every test run
        # of every project asks twice for each field.
        table = self.connection.ops.quote_name(self.plan.table)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
            return cursor.fetchone() is None

    def can_add_at_once(self) -> bool:
        # One ALTER adds all of the column, and fails if it is there.
        return self.is_empty()

    @contextmanager
    def claim_table(self) -> Iterator[None]:
        """Keep other runs of migrate away, and refuse what the server would change."""
        with super().claim_table(), strict_mode(self.connection):
            yield

    def add_final(self) -> bool:
        if not self.commits:
            # Django's schema editor refuses, before LOCK TABLES commits what the
            # caller has in its transaction.
            return super().add_final()
        # ADD COLUMN … NOT NULL gives a row that has come meanwhile '' or 0
        # without a word.
        tables = [self.plan.table]
        if self.wanted.has_foreign_key():
            tables.append(self.plan.field.related_model._meta.db_table)
        added = False

        def add_final() -> None:
            nonlocal added
            with self.locks.whole_tables(dict.fromkeys(tables)):
                added = self.is_empty() and super(MySQLSchema, self).add_final()

        try:
            self.locks.change_table(add_final)
        except DatabaseError as exc:
            if not MySQLRights(self.connection).is_refusal(exc):
                raise
            # Without the right to LOCK TABLES, by the steps of a table with rows.
            return False
        return added

    def add(self) -> None:
        self._change_table(super().add)
        if self.wanted.has_foreign_key():
            # A column that is all NULL has nothing to be checked. In a statement of
            # its own, because the column alone comes in an instant.
            self._change_table(self._add_key)

    def _change_table(self, function: Callable[[], object]) -> None:
        with beside_writers(self.editor, self.plan):
            self.locks.change_table(function)

    def _add_key(self) -> None:
        """Let each value be checked from now on, beside writers; not those there."""
        with without_foreign_key_checks(self.editor):
            self.editor.execute(
                self.editor._create_fk_sql(
                    self.plan.model,
                    self.plan.final_field,
                    "_fk_%(to_table)s_%(to_column)s",
                )
            )

    def check_table(self) -> None:
        super().check_table()
        refuse_too_long(
            self.connection,
            self.plan,
            table=f"safefield_{token_hex(8)}",
            has_index=self.wanted.has_index(),
        )
        if self.plan.old_field is not None:
            self._refer_to(
                self.plan.old_field, self.plan.interim_field
            ).refuse_strangers()

    def change_type(self, recheck: object = None) -> None:
        # Not rechecked: LOCK TABLES would keep readers away as well, for as long as
        # all rows take.
        assert self.plan.old_field is not None
        self._widen(self._refer_to(self.plan.old_field, self.plan.interim_field))

    def change_temporary_type(self) -> None:
        self._widen(None)

    def _widen(self, referring: Referring | None) -> None:
        old, interim = self.plan.old_field, self.plan.interim_field
        assert old is not None
        free = copy_field(old)
        self._take_constraints(free, interim)
        # The rest in one statement: Django's MODIFY loses the collation and the
        # comment, and adds a check that the definition has already.
        definition = self._definition(interim)

        def widen() -> None:
            self._alter_field(self.plan.model, old, free)
            checks = spell_check_changes(self.editor, self.plan.model, old, interim)
            if definition != self._definition(old):
                with nullcontext() if referring is None else referring.following():
                    self._execute_alter([f"MODIFY {definition}", *checks])

        self._change_table(widen)

    def _refer_to(self, old: AnyField, new: AnyField) -> Referring:
        return Referring(self.editor, self.plan, self.locks, old, new)

    def enforce(self, sweep: Callable[[], None], check: Callable[[], None]) -> None:
        guard = self.get_guard()
        # Before the guard, which would refuse what has no value.
        self._set_default()
        # If this fails, code that knows nothing of the column goes on inserting.
        with guard.watched():
            self._set_key(check)
            self._enforce(sweep, check, guard)
        guard.drop()

    def get_guard(self) -> NullGuard:
        return NullGuard(self.editor, self.plan, self.locks)

    def _set_default(self) -> None:
        """Let the database fill in for code that knows nothing of the column."""
        final = self.plan.final_field
        column = self.catalogue.find_column()
        if final.null or not self.has_default(final) or column is None:
            return
        if column.null and not column.has_default:
            nullable = copy_field(final)
            nullable.null = True
            change = [f"MODIFY {self._definition(nullable)}"]
            self._change_table(lambda: self._execute_alter(change))

    def _set_key(self, check: Callable[[], None]) -> None:
        """Set a foreign key that the column has not yet."""
        if not self.wanted.has_foreign_key():
            return
        column = self.catalogue.find_column()
        assert column is not None
        if getattr(self.catalogue.get_field(column), "db_constraint", False):
            return
        before = {key.name for key in self.catalogue.keys.find()}
        self._change_table(self._add_key)
        try:
            # Again, now that no value can come that leads nowhere.
            check()
        except BaseException:
            # The connection may be what was lost.
            with suppress(Error):
                self._change_table(lambda: self._drop_keys_but(before))
            raise

    def _drop_keys_but(self, kept: Collection[str]) -> None:
        drops = {Kind.FOREIGN_KEY: "DROP FOREIGN KEY", Kind.INDEX: "DROP INDEX"}
        self._execute_alter(
            [
                f"{drops[key.kind]} {self.connection.ops.quote_name(key.name)}"
                for key in reversed(self.catalogue.keys.find())
                if key.name not in kept and key.kind in drops
            ]
        )

    def _enforce(
        self, sweep: Callable[[], None], check: Callable[[], None], guard: NullGuard
    ) -> None:
        for number in range(ENFORCE_TRIES):
            try:
                with self.locks.waiting(REBUILD_LOCK_WAIT_SECONDS):
                    self._change_table(self._alter)
            except DatabaseError as exc:
                if exc.args[0] not in NULL_ERRORS:
                    raise
                if number == 0:
                    # Before writers are kept away for the time of another try.
                    check()
                guard.create()
                sweep()
            else:
                return
        grant = MySQLRights(self.connection).spell_grant("TRIGGER")
        raise BackfillError(
            f"{self.plan.title}: rows without a value came faster than they could be "
            f"filled, {ENFORCE_TRIES} times. Stop what writes them, or let this user "
            f"create triggers ({grant}), then run migrate again: it goes on from here.",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def _alter(self) -> None:
        column = self.catalogue.find_column()
        assert column is not None
        live = self.catalogue.get_field(column)
        final = self.plan.final_field
        changes: list[str] = []
        if (
            column.null != final.null
            or self.wanted.changes_default()
            or (self.has_default(final) and not column.has_default)
        ):
            changes.append(f"MODIFY {self._definition(final)}")
        if final.unique and not live.unique:
            changes.append(self._spell_unique())
        changes += [
            f"DROP INDEX {self.connection.ops.quote_name(name)}"
            for name in self.find_leftover_indexes()
        ]
        if changes:
            with self._keeping_its_key():
                self._execute_alter(changes)
        if self.wanted.has_index() and not live.db_index:
            self.editor.execute(
                self.editor._create_index_sql(self.plan.model, fields=[final])
            )
        if self.wanted.has_spatial_index() and not live.spatial_index:
            # Only now: none can be on a column that takes NULL.
            self._create_spatial_index()

    def _spell_unique(self) -> str:
        """Return what adds the unique index under the name that Django gives it."""
        field = self.plan.final_field
        name = ""
        # Without a name it is that of the column, as of the inline UNIQUE of AddField.
        if self.plan.old_field is not None:
            name = str(
                self.editor._unique_constraint_name(self.plan.table, [field.column])
            )
            name = f"CONSTRAINT {name} "
        return f"ADD {name}UNIQUE ({self._column(field)})"

    def _keeping_its_key(self) -> AbstractContextManager[None]:
        """
        Let MySQL change whether the column of a foreign key takes NULL.

        In a table that no ALTER changes in place, such as one with a FULLTEXT index, it
        refuses that while it checks keys. The values stay, so there is none to check.
        """
        if self.wanted.has_foreign_key() and not self.connection.mysql_is_mariadb:
            return without_foreign_key_checks(self.editor)
        return nullcontext()

    def spell_final(self) -> list[str]:
        """Return what ALTER TABLE has to do for the final column and its index."""
        final = self.plan.final_field
        changes = [f"MODIFY {self._definition(final)}"]
        if final.unique:
            changes.append(self._spell_unique())
        elif self.wanted.has_index():
            changes.append(f"ADD INDEX ({self._column(final)})")
        return changes

    def collect(self) -> None:
        super_add = self.add if self.plan.old_field is None else self.change_type
        super_add()
        self.comment(f"Python: fill {self.plan.title} from {self.plan.source_name}")
        final = self.plan.final_field
        changes = [f"MODIFY {self._definition(final)}"]
        if final.unique and not self.plan.interim_field.unique:
            changes.append(self._spell_unique())
        self._execute_alter(changes)
        if self.wanted.has_index():
            self.editor.execute(
                self.editor._create_index_sql(self.plan.model, fields=[final])
            )
        if self.wanted.has_spatial_index():
            self._create_spatial_index()

    def _create_spatial_index(self) -> None:
        for sql in self.editor._field_indexes_sql(
            self.plan.model, self.plan.final_field
        ):
            self.editor.execute(sql)

    def _drop_spatial_index(self) -> list[str]:
        """Return what has to come before a MODIFY that lets the column take NULL."""
        return [
            f"DROP INDEX {self.connection.ops.quote_name(key.name)}"
            for key in self.catalogue.keys.find()
            if key.kind is Kind.SPATIAL
        ]

    def relax(self) -> None:
        column = self.catalogue.find_column()
        if column is not None and not column.null:
            interim = self.plan.interim_field
            alter = [*self._drop_spatial_index(), f"MODIFY {self._definition(interim)}"]
            self._change_table(lambda: self._execute_alter(alter))

    def drop(self) -> None:
        if not self.editor.collect_sql:
            # Of a run that was stopped: without the column it would fail.
            self.get_guard().drop()
        field = self.plan.field
        if hasattr(field, "spatial_index"):
            # It goes with the column, and may be gone already.
            field = copy_field(field)
            field.spatial_index = False
        self._change_table(lambda: self.editor.remove_field(self.plan.new_model, field))

    def restore(self, recheck: object = None) -> None:
        if not self.editor.collect_sql:
            self.get_guard().drop()
        old = self.plan.old_field
        assert old is not None
        definition = [f"MODIFY {self._definition(old)}"]
        referring = self._refer_to(self.plan.field, old)
        if not self.editor.collect_sql:
            referring.refuse_strangers()

        def restore() -> None:
            altered = self._altered_field()
            free = copy_field(altered)
            self._take_constraints(free, old)
            self._alter_field(self.plan.new_model, altered, free)
            drop = [] if self.editor.collect_sql else self._drop_spatial_index()
            has_index = getattr(old, "spatial_index", False) and not old.null
            checks = spell_check_changes(self.editor, self.plan.new_model, altered, old)
            changes = [*definition, *checks]
            with referring.following():
                self._execute_alter(changes if has_index else [*drop, *changes])

        self._change_table(restore)

    def _take_constraints(self, field: AnyField, source: AnyField) -> None:
        """Give `field` the keys of `source`, which no MODIFY changes."""
        field._unique = source.unique
        field.db_index = source.db_index
        if field.remote_field is not None:
            field.db_constraint = getattr(source, "db_constraint", False)

    def has_default(self, field: AnyField) -> bool:
        """Return whether the database has a default for `field`."""
        return field.has_db_default() if hasattr(field, "has_db_default") else False

    def _column(self, field: AnyField) -> str:
        return str(self.connection.ops.quote_name(field.column))

    def _definition(self, field: AnyField) -> str:
        """Return column and definition as Django's ADD COLUMN has them."""
        plain = field
        if field.unique:
            # The unique index is added by name of the column, once.
            plain = copy_field(field)
            plain._unique = False
        definition, params = self.editor.column_sql(
            self.plan.model, plain, include_default=False
        )
        assert definition is not None
        # To MySQL it is one of the table, which MODIFY would add once more.
        is_of_column = self.connection.mysql_is_mariadb
        check = get_check(self.connection, field) if is_of_column else None
        if check:
            definition += f" CHECK ({check})"
        if params:
            definition %= tuple(self.editor.quote_value(value) for value in params)
        if by_hand := self._check_by_hand:
            if check:
                raise self._cannot_keep(by_hand)
            definition += f" CHECK ({by_hand})"
        return f"{self._column(field)} {definition}"

    @cached_property
    def _check_by_hand(self) -> str | None:
        """The check of an altered column that is not Django's, but somebody else's."""
        if self.editor.collect_sql:
            return None
        return find_check_by_hand(self.connection, self.plan)

    def _cannot_keep(self, check: str) -> BackfillError:
        """Return what to say of a check by hand in the place of Django's."""
        return BackfillError(
            f"{self.plan.title} cannot be altered: its column has a check that "
            f"somebody made by hand, {check}, and gets one of Django's. MariaDB has "
            f"one for each column. Make it a check of the table, then run migrate "
            f"again. Nothing was changed.",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def _execute_alter(self, changes: list[str]) -> None:
        table = self.connection.ops.quote_name(self.plan.table)
        self.editor.execute(f"ALTER TABLE {table} {', '.join(changes)}", None)
