"""PostgreSQL: rights, row security, partitions, and what needs the column."""

from __future__ import annotations

from safefield.backends.base.preflight import Preflight
from safefield.backends.base.sql import fetch_one, fetch_values
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.backends.postgresql.rights import PostgreSQLRights
from safefield.fields import AnyField
from safefield.progress import warn

#: Rows that an atomic migration fills in a second, about: the slowest of the
#: whole operations in benchmarks/. Only for the warning.
ROWS_PER_SECOND = 40_000

#: Seconds of locking from which an atomic migration warns.
WARNING_SECONDS = 1.0


class PostgreSQLPreflight(Preflight):
    """What may be in the way of one plan."""

    catalogue: PostgreSQLCatalogue

    def check_table(self) -> None:
        super().check_table()
        self.check_rights()
        self._check_partitions()
        self.check_rows()

    def check_rows(self) -> None:
        options = self.plan.new_model._meta
        tables = [options.db_table]
        tables += [parent._meta.db_table for parent in options.get_parent_list()]
        sql = "SELECT current_user::text WHERE row_security_active(%s::regclass)"
        for table in tables:
            quoted = self.connection.ops.quote_name(table)
            if row := fetch_one(self.connection, sql, [quoted]):
                raise self.plan.error(
                    f"{self.plan.title} cannot be filled: row security may hide rows "
                    f"of table {table} from role {row[0]}, and they would stay without "
                    f"a value. Run migrate as a role with BYPASSRLS, or as the owner "
                    f"of the table without FORCE ROW LEVEL SECURITY. Nothing was "
                    f"changed."
                )

    def _check_partitions(self) -> None:
        """Refuse a unique column that is not the whole partition key."""
        if not self.plan.final_field.unique or not self.catalogue.is_partitioned():
            return
        key, columns = fetch_one(
            self.connection,
            "SELECT pg_get_partkeydef(partrelid), ARRAY("
            "SELECT attname::text FROM pg_attribute "
            "WHERE attrelid = partrelid AND attnum = ANY (partattrs::int2[])) "
            "FROM pg_partitioned_table WHERE partrelid = %s::regclass",
            [self.catalogue.table],
        )
        if columns == [self.plan.field.column]:
            return
        raise self.plan.error(
            f"{self.plan.title} cannot be unique: table {self.plan.table} is "
            f"partitioned by {key}, and PostgreSQL has no unique constraint without "
            f"the columns of that key. Leave unique out of the field, and put a "
            f"UniqueConstraint over {self.plan.field_name} and those columns into the "
            f"model. Nothing was changed."
        )

    def check_rights(self, *, goes_back: bool = False) -> None:
        old, new = self.plan.old_field, self.plan.final_field
        if goes_back:
            old, new = new, old
        missing = PostgreSQLRights(self.connection).find_missing(
            self.plan.table,
            makes_index=self._has_index(new) and not self._has_index(old),
            refers_to=(
                None
                if new is None or _refers(old) or not _refers(new)
                else new.related_model._meta.db_table
            ),
        )
        if missing:
            raise self.plan.error(
                f"{self.plan.title} cannot be changed: {missing} Nothing was changed."
            )

    def _has_index(self, field: AnyField | None) -> bool:
        return field is not None and (
            field.unique or bool(self.editor._field_indexes_sql(self.plan.model, field))
        )

    def check_drop(self) -> None:
        # Django 5.2 drops columns with CASCADE, and what depends on them vanishes
        # without a word. Later versions stop at the DROP, when every row has been
        # reversed already.
        found = fetch_values(
            self.connection,
            "SELECT DISTINCT CASE WHEN r.oid IS NOT NULL "
            "THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0) "
            "ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END "
            "FROM pg_depend d JOIN pg_attribute a "
            "ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum "
            "LEFT JOIN pg_rewrite r "
            "ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid "
            "WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n' "
            "AND a.attrelid = %s::regclass AND a.attname = %s "
            # Constraints and indexes of the table go with the column.
            "AND NOT EXISTS (SELECT FROM pg_depend own "
            "WHERE own.classid = d.classid AND own.objid = d.objid "
            "AND own.refclassid = d.refclassid AND own.refobjid = d.refobjid "
            "AND own.deptype = 'a') ORDER BY 1",
            [self.catalogue.table, self.plan.field.column],
        )
        if not found:
            return
        needs, them = ("needs", "it") if len(found) == 1 else ("need", "them")
        raise self.plan.error(
            f"{self.plan.title} cannot be removed: {', '.join(found)} {needs} the "
            f"column. Drop {them}, then run migrate again. Nothing was changed."
        )

    def warn_of_locks(self) -> None:
        if not self.connection.in_atomic_block:
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


def _refers(field: AnyField | None) -> bool:
    """Return whether a field has a constraint to another table."""
    return field is not None and bool(getattr(field, "db_constraint", False))
