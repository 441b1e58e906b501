"""PostgreSQL: partitions, row security, and views and others that need a column."""

from __future__ import annotations

from typing import Any

from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.exceptions import BackfillError
from safefield.plan import Plan


def refuse_row_security(connection: Any, plan: Plan) -> None:
    """
    Refuse a table of which row security may hide rows from this role.

    Raises:
        BackfillError: It is active, for this table or that of a parent.
    """
    options = plan.new_model._meta
    tables = [options.db_table]
    tables += [parent._meta.db_table for parent in options.get_parent_list()]
    for table in tables:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_user::text WHERE row_security_active(%s::regclass)",
                [connection.ops.quote_name(table)],
            )
            row = cursor.fetchone()
        if row is not None:
            raise BackfillError(
                f"{plan.title} cannot be filled: row security may hide rows of table "
                f"{table} from role {row[0]}, and they would stay without a value. Run "
                f"migrate as a role with BYPASSRLS, or as the owner of the table "
                f"without FORCE ROW LEVEL SECURITY. Nothing was changed.",
                model=plan.label,
                field=plan.field_name,
            )


def refuse_unique_over_partitions(catalogue: PostgreSQLCatalogue) -> None:
    """
    Refuse a unique column that is not the whole partition key.

    Raises:
        BackfillError: PostgreSQL would refuse it too, when all is filled.
    """
    plan = catalogue.plan
    if not plan.final_field.unique or not catalogue.is_partitioned():
        return
    with catalogue.connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_partkeydef(partrelid), ARRAY("
            "SELECT attname::text FROM pg_attribute "
            "WHERE attrelid = partrelid AND attnum = ANY (partattrs::int2[])) "
            "FROM pg_partitioned_table WHERE partrelid = %s::regclass",
            [catalogue.table],
        )
        key, columns = cursor.fetchone()
    if columns == [plan.field.column]:
        return
    raise BackfillError(
        f"{plan.title} cannot be unique: table {plan.table} is partitioned by {key}, "
        f"and PostgreSQL has no unique constraint without the columns of that key. "
        f"Leave unique out of the field, and put a UniqueConstraint over "
        f"{plan.field_name} and those columns into the model. Nothing was changed.",
        model=plan.label,
        field=plan.field_name,
    )


def refuse_dependents(connection: Any, plan: Plan) -> None:
    """
    Refuse to drop a column that a view or another object needs.

    Django 5.2 drops columns with CASCADE, and what depends on them vanishes
    without a word. Later versions stop at the DROP, when every row has been
    reversed already.

    Raises:
        BackfillError: Something would be lost with the column.
    """
    with connection.cursor() as cursor:
        cursor.execute(
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
            [connection.ops.quote_name(plan.table), plan.field.column],
        )
        found = [description for (description,) in cursor.fetchall()]
    if not found:
        return
    needs, them = ("needs", "it") if len(found) == 1 else ("need", "them")
    raise BackfillError(
        f"{plan.title} cannot be removed: {', '.join(found)} {needs} the column. "
        f"Drop {them}, then run migrate again. Nothing was changed.",
        model=plan.label,
        field=plan.field_name,
    )
