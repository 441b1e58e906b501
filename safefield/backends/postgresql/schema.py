"""
PostgreSQL: short locks where the migration is not atomic.

In an atomic migration everything is in the caller's transaction, and Django's
own statements do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError
from django.db.models import BooleanField, F, Func, IntegerField, Q
from django.db.models.expressions import RawSQL
from django.db.models.lookups import GreaterThan

from safefield.backends.base.locks import Result
from safefield.backends.base.schema import Schema
from safefield.backends.base.wanted import WantedName
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.backends.postgresql.guard import NotNullCheck
from safefield.backends.postgresql.locks import PostgreSQLLocks
from safefield.backends.postgresql.online import OnlineSteps
from safefield.backends.postgresql.preflight import PostgreSQLPreflight

#: Bytes of a value as it is stored, compressed, for which a B-tree has room: a third
#: of a page of 8 kB, less what is around it. Source: BTMaxItemSize in
#: src/include/access/nbtree.h.
MAX_BYTES = 2_692

#: Where the row is that an index refused: "Index row references tuple (0,7) in …".
PLACE = re.compile(r"\(\d+,\d+\)")


class PostgreSQLSchema(Schema):
    """The column on PostgreSQL."""

    is_unique_first = True

    catalogue_class = PostgreSQLCatalogue
    preflight_class = PostgreSQLPreflight
    locks_class = PostgreSQLLocks
    catalogue: PostgreSQLCatalogue

    def too_long_for_index(self, exc: DatabaseError) -> Any:
        size = Func(
            F(self.plan.field.attname),
            function="pg_column_size",
            output_field=IntegerField(),
        )
        condition = Q(GreaterThan(size, MAX_BYTES))
        detail = getattr(getattr(exc.__cause__, "diag", None), "message_detail", None)
        if place := PLACE.search(detail or ""):
            condition |= Q(
                RawSQL(
                    f"{self.catalogue.table.replace('%', '%%')}.ctid = %s::tid",
                    [place.group()],
                    output_field=BooleanField(),
                )
            )
        return condition

    # What is done

    def change(self, function: Callable[[], Result]) -> Result:
        if self.catalogue.has_plain_editor:
            return self.locks.change_table(function)
        # That of another package sees to its locks itself.
        return function()

    def change_alone(self, function: Callable[[], Result]) -> Result:
        def change() -> Result:
            if self.commits and self.catalogue.has_plain_editor:
                self.keep_writers_away()
            return function()

        return self.change(change)

    def keep_writers_away(self) -> None:
        # At once the lock that ALTER TABLE takes: two that both have a weaker one, and
        # wait for the stronger, wait for each other.
        self.editor.execute(
            f"LOCK TABLE {self.catalogue.table} IN ACCESS EXCLUSIVE MODE", None
        )

    def add_at_once(self) -> bool:
        # Without a transaction nobody can be kept away.
        can_wait = self.catalogue.has_plain_editor or not self.commits
        return can_wait and super().add_at_once()

    def add(self) -> None:
        # No schema editor does anything of this CONCURRENTLY.
        self.locks.change_table(
            lambda: self.editor.add_field(self.plan.model, self.plan.interim_field)
        )

    def enforce(self, sweep: Callable[[], None], check: Callable[[], None]) -> None:
        if self.commits:
            OnlineSteps(self.catalogue, self.locks).run(sweep)
            return
        # Triggers that wait for the end of the transaction, such as those
        # of deferred foreign keys, would forbid ALTER TABLE.
        self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
        super().enforce(sweep, check)
        renaming = self.catalogue.spell_unique_renaming()
        if renaming and self.catalogue.has_constraint(self.catalogue.unique_name):
            self.editor.execute(renaming, None)
        self._defer()

    def get_guard(self) -> NotNullCheck:
        return NotNullCheck(self.catalogue, self.locks)

    def drop_not_null(self) -> None:
        self.settle()
        # Django's alter_field() drops a foreign key with it, and adds it again.
        sql = (
            f"ALTER TABLE {self.catalogue.table} "
            f"ALTER COLUMN {self.catalogue.column} DROP NOT NULL"
        )
        self.locks.change_table(lambda: self.editor.execute(sql, None))

    def drop(self) -> None:
        self.settle()
        super().drop()

    def restore(self, recheck: Callable[[], None] = lambda: None) -> None:
        self.settle()
        # What a run that was stopped leaves behind.
        self.get_guard().drop()
        self._drop_unattached_index()
        super().restore(recheck)

    def _drop_unattached_index(self) -> None:
        """Drop the unique index, if it was built and is not yet a constraint."""
        name = self.catalogue.unique_name
        wanted = [WantedName(name.strip('"'), "unique constraint")]
        if (
            not self.catalogue.has_unique_constraint()
            and (index := self.catalogue.find_index(name))
            and not list(self.catalogue.find_taken_names(wanted))
        ):
            sql = f"DROP INDEX {index[1]}"
            self.locks.change_table(lambda: self.editor.execute(sql, None))

    def settle(self) -> None:
        if not self.commits:
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            self._defer()

    def _defer(self) -> None:
        """Let constraints wait for the end of the transaction again, if they did."""
        self.editor.execute("SET CONSTRAINTS ALL DEFERRED", None)
        if names := self.catalogue.find_immediate_constraints():
            self.editor.execute(f"SET CONSTRAINTS {names} IMMEDIATE", None)
