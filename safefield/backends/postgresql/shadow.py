"""PostgreSQL: a temporary table that is made like the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import NotSupportedError, transaction

from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import Shadow
from safefield.backends.base.sql import fetch_all, fetch_one, fetch_values
from safefield.backends.postgresql.rights import PostgreSQLRights
from safefield.fields import AnyField, copy_field

#: Where the catalogue has what needs a column, and how the server says it.
DEPENDENTS = {
    "pg_rewrite": "used by a view or rule",
    "pg_trigger": "used in a trigger definition",
    "pg_policy": "used in a policy definition",
}


class PostgreSQLShadow(Shadow):
    """The temporary table on PostgreSQL."""

    rights_class = PostgreSQLRights

    slowdown = 1.6

    @contextmanager
    def watch(self, *, may_write: bool) -> Iterator[None]:
        # Only in a savepoint, at whose end the transaction may write again: one that
        # is read-only fills a temporary table, but creates neither it nor an index.
        with transaction.atomic(using=self.connection.alias):
            if not may_write:
                self._execute("SET TRANSACTION READ ONLY")
            yield

    def change_type(self, schema: Schema) -> None:
        old: AnyField = schema.plan.old_field
        if old.db_parameters(self.connection) != schema.plan.field.db_parameters(
            self.connection
        ):
            self._refuse_dependents(old.column)
        schema.change_type()

    def _refuse_dependents(self, column: str) -> None:
        """
        Refuse another type while something needs the column, as the server does.

        Nothing needs that of the temporary table. The text is the server's.
        """
        for catalogue, use in DEPENDENTS.items():
            row = fetch_one(
                self.connection,
                "SELECT pg_describe_object(classid, objid, objsubid) "
                "FROM pg_depend JOIN pg_attribute "
                "ON attrelid = refobjid AND attnum = refobjsubid "
                "WHERE refclassid = 'pg_class'::regclass "
                "AND classid = %s::regclass "
                "AND attrelid = %s::regclass AND attname = %s ORDER BY 1 LIMIT 1",
                [catalogue, self._quote(self.layout.table), column],
            )
            if row is not None:
                raise NotSupportedError(
                    f"cannot alter type of a column {use}\n"
                    f'DETAIL:  {row[0]} depends on column "{column}"'
                )

    def enforce(self, schema: Schema) -> None:
        # A temporary table cannot refer to another one. The keys are checked.
        final = copy_field(schema.plan.final_field)
        if hasattr(final, "db_constraint"):
            final.db_constraint = False
        schema.settle()
        schema.make_final(final)

    def find_triggers(self) -> list[str]:
        # 16 is the bit for UPDATE, and 2 the event of such a rule.
        return fetch_values(
            self.connection,
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass "
            "AND NOT tgisinternal AND tgtype & 16 <> 0 AND tgenabled <> 'D' "
            "UNION ALL SELECT rulename FROM pg_rewrite "
            "WHERE ev_class = %s::regclass AND ev_type = '2' ORDER BY 1",
            [self._quote(self.layout.table)] * 2,
        )

    def _make(self) -> list[str]:
        # With the real types and collations, and all that asks something of them.
        self._execute(
            f"CREATE TEMPORARY TABLE {self._table} (LIKE "
            f"{self._quote(self.layout.table)} INCLUDING CONSTRAINTS INCLUDING INDEXES "
            "INCLUDING GENERATED)"
        )
        live = self._live_columns()
        copied = {field.column for field in self.layout.copied}
        kept = self._needed() | copied
        generated = self._find_generated().keys() - copied
        if plain := self._find_generated().keys() & copied:
            # What they are made of goes.
            changes = ", ".join(
                f"ALTER {self._quote_column(name)} DROP EXPRESSION" for name in plain
            )
            self._execute(f"ALTER TABLE {self._table} {changes}")
        # What names one that goes, goes too.
        drops = [
            f"DROP IF EXISTS {self._quote_column(name)} CASCADE"
            for name in live
            if name not in kept
        ]
        if drops:
            self._execute(f"ALTER TABLE {self._table} {', '.join(drops)}")
        return [name for name in live if name in kept and name not in generated]

    def _find_rules(self) -> list[str]:
        return fetch_values(
            self.connection,
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype IN ('c', 'x') "
            "UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = %s::regclass AND indisunique AND NOT indisprimary",
            [self._quote(self.layout.table)] * 2,
        )

    def _find_generated(self) -> dict[str, str]:
        found = fetch_all(
            self.connection,
            "SELECT attname, attname || ' ' || pg_get_expr(adbin, adrelid) "
            "FROM pg_attribute JOIN pg_attrdef "
            "ON adrelid = attrelid AND adnum = attnum "
            "WHERE attrelid = %s::regclass AND attgenerated <> ''",
            [self._quote(self.layout.table)],
        )
        return dict(found)
