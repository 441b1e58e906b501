"""
MySQL and MariaDB: one online ALTER with the full column definition.

Django's own takes one statement, and often one copy of the table, for each change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from django.db import DatabaseError, Error

from safefield.backends.base.keys import Kind
from safefield.backends.base.locks import Result
from safefield.backends.base.schema import Schema
from safefield.backends.mysql.catalogue import MySQLCatalogue
from safefield.backends.mysql.definition import Spelling, take_keys
from safefield.backends.mysql.guard import NullGuard
from safefield.backends.mysql.locks import MySQLLocks
from safefield.backends.mysql.online import beside_writers
from safefield.backends.mysql.preflight import MySQLPreflight
from safefield.backends.mysql.rights import MySQLRights
from safefield.backends.mysql.session import strict_mode, without_foreign_key_checks
from safefield.fields import copy_field
from safefield.plan import Plan

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
    preflight_class = MySQLPreflight
    locks_class = MySQLLocks
    locks: MySQLLocks

    def __init__(self, editor: Any, plan: Plan) -> None:
        super().__init__(editor, plan)
        self.spelling = Spelling(editor, plan)

    @contextmanager
    def claim_table(self) -> Iterator[None]:
        # And refuse what the server would change.
        with super().claim_table(), strict_mode(self.connection):
            yield

    def get_guard(self) -> NullGuard:
        return NullGuard(self.editor, self.plan, self.locks)

    # What is done

    def change(self, function: Callable[[], Result]) -> Result:
        with beside_writers(self.editor, self.plan):
            return self.locks.change_table(function)

    def change_alone(self, function: Callable[[], Result]) -> Result:
        """Do the same while nobody reads the table, nor one that it is to refer to."""
        if not self.commits:
            # Django's schema editor refuses, before LOCK TABLES commits what the
            # caller has in its transaction.
            return function()
        tables = [self.plan.table]
        if self.wanted.has_foreign_key():
            tables.append(self.plan.field.related_model._meta.db_table)

        def change() -> Result:
            with self.locks.whole_tables(dict.fromkeys(tables)):
                return function()

        return self.locks.change_table(change)

    def add_at_once(self) -> bool:
        try:
            return super().add_at_once()
        except DatabaseError as exc:
            if not MySQLRights(self.connection).is_refusal(exc):
                raise
            # Without the right to LOCK TABLES, by the steps of a table with rows.
            return False

    def add(self) -> None:
        super().add()
        if self.wanted.has_foreign_key():
            # A column that is all NULL has nothing to be checked. In a statement of
            # its own, because the column alone comes in an instant.
            self.change(self._add_key)

    def _add_key(self) -> None:
        """Let each value be checked from now on, beside writers; not those there."""
        with without_foreign_key_checks(self.connection):
            self.editor.execute(self.spelling.create_key())

    def change_type(self, recheck: object = None) -> None:
        # Not rechecked: LOCK TABLES would keep readers away as well, for as long as
        # all rows take.
        model = self.plan.model
        old, interim = self.plan.old_field, self.plan.interim_field
        definition = self.spelling.modify(interim)

        def change() -> None:
            # Django does the keys, and one statement the rest.
            self.alter_field(model, old, take_keys(old, interim))
            if definition != self.spelling.modify(old):
                self._alter([definition, *self.spelling.change_check(old, interim)])

        self.change(change)

    def enforce(self, sweep: Callable[[], None], check: Callable[[], None]) -> None:
        guard = self.get_guard()
        # Before the guard, which would refuse what has no value.
        self._set_default()
        # If this fails, code that knows nothing of the column goes on inserting.
        with guard.watched():
            self._set_key(check)
            self._enforce(sweep, check, guard)
        guard.drop()

    def _set_default(self) -> None:
        """Let the database fill in for code that knows nothing of the column."""
        final = self.plan.final_field
        column = self.catalogue.find_column()
        if final.null or not self.wanted.has_default() or column is None:
            return
        if column.null and not column.has_default:
            nullable = copy_field(final)
            nullable.null = True
            change = [self.spelling.modify(nullable)]
            self.change(lambda: self._alter(change))

    def _set_key(self, check: Callable[[], None]) -> None:
        """Set a foreign key that the column has not yet."""
        keys = self.catalogue.keys
        if not self.wanted.has_foreign_key() or keys.find_foreign_keys():
            return
        before = {key.name for key in keys.find()}
        self.change(self._add_key)
        try:
            # Again, now that no value can come that leads nowhere.
            check()
        except BaseException:
            # The connection may be what was lost.
            with suppress(Error):
                self.change(lambda: self._drop_keys_but(before))
            raise

    def _drop_keys_but(self, kept: Collection[str]) -> None:
        drops = {Kind.FOREIGN_KEY: "DROP FOREIGN KEY", Kind.INDEX: "DROP INDEX"}
        self._alter(
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
                    self.change(self._make_final)
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
        raise self.plan.error(
            f"{self.plan.title}: rows without a value came faster than they could be "
            f"filled, {ENFORCE_TRIES} times. Stop what writes them, or let this user "
            f"create triggers ({grant}), then run migrate again to resume."
        )

    def _make_final(self) -> None:
        column = self.catalogue.find_column()
        assert column is not None
        live = self.catalogue.get_field(column)
        final = self.plan.final_field
        changes: list[str] = []
        needs_default = self.wanted.needs_default(has_one=column.has_default)
        if column.null != final.null or needs_default:
            changes.append(self.spelling.modify(final))
        if final.unique and not live.unique:
            changes.append(self.spelling.add_unique())
        changes += map(self.spelling.drop_index, self.catalogue.find_leftover_indexes())
        if changes:
            with self._keeping_its_key():
                self._alter(changes)
        if (self.wanted.has_index() and not live.db_index) or (
            # Only now: none can be on a column that takes NULL.
            self.wanted.has_spatial_index() and not live.spatial_index
        ):
            self.editor.execute(self.spelling.create_index())

    def _keeping_its_key(self) -> AbstractContextManager[None]:
        """
        Let MySQL change whether the column of a foreign key takes NULL.

        In a table that no ALTER changes in place, such as one with a FULLTEXT index, it
        refuses that while it checks keys. The values stay, so there is none to check.
        """
        if self.wanted.has_foreign_key() and not self.connection.mysql_is_mariadb:
            return without_foreign_key_checks(self.connection)
        return nullcontext()

    def drop_not_null(self) -> None:
        changes = [
            *self._drop_spatial_index(),
            self.spelling.modify(self.plan.interim_field),
        ]
        self.change(lambda: self._alter(changes))

    def drop(self) -> None:
        # Of a run that was stopped: without the column it would fail.
        self.get_guard().drop()
        field = copy_field(self.plan.field)
        if hasattr(field, "spatial_index"):
            # It goes with the column, and may be gone already.
            field.spatial_index = False
        self.change(lambda: self.editor.remove_field(self.plan.new_model, field))

    def restore(self, recheck: object = None) -> None:
        self.get_guard().drop()
        model, old = self.plan.new_model, self.plan.old_field
        assert old is not None
        definition = self.spelling.modify(old)
        has_index = getattr(old, "spatial_index", False) and not old.null

        def change() -> None:
            altered = self.catalogue.get_altered()
            self.alter_field(model, altered, take_keys(altered, old))
            drops = [] if has_index else self._drop_spatial_index()
            checks = self.spelling.change_check(altered, old)
            self._alter([*drops, definition, *checks])

        self.change(change)

    def _drop_spatial_index(self) -> list[str]:
        """Return what has to come before a MODIFY that lets the column take NULL."""
        return [
            self.spelling.drop_index(key.name)
            for key in self.catalogue.keys.find()
            if key.kind is Kind.SPATIAL
        ]

    def _alter(self, changes: Sequence[str]) -> None:
        self.editor.execute(self.spelling.alter(changes), None)
