"""A temporary table that stands for a table while a backfill is rehearsed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import AutoField, CheckConstraint

from safefield.attributes import has_own_attribute
from safefield.fields import AnyField
from safefield.plan import Plan

__all__ = ["SHADOW_TABLE", "Shadow"]

#: The name of the temporary table. No other session sees it.
SHADOW_TABLE = "safefield_rehearsal"


class Shadow:
    """
    The keys of a table, the column that is filled, and what its checks name.

    Args:
        connection (BaseDatabaseWrapper): Where the table is.
        plan (Plan): What the operation asks for, of the table itself.
        shadow_plan (Plan): The same of the temporary table.
    """

    #: How many times as long as its rehearsal a run of migrate takes: it commits
    #: each batch, and builds the index. Measured with the 36,273 films, numbered,
    #: on 2026-11-20: SQLite 0.9, PostgreSQL 1.6, MariaDB 1.9.
    slowdown = 1.0

    def __init__(self, connection: Any, plan: Plan, shadow_plan: Plan) -> None:
        self.connection = connection
        self.plan = plan
        self.shadow_plan = shadow_plan

    @contextmanager
    def open(
        self, *, has_column: bool, limit: int | None, may_write: bool
    ) -> Iterator[None]:
        """
        Provide the table in a transaction of which nothing stays.

        Args:
            has_column (bool): Whether the column is there, and maybe half filled.
            limit (int | None): Rows to copy, by primary key; None for all.
            may_write (bool): Whether the transaction lets other tables be
                written to, where the database can forbid it.
        """
        with transaction.atomic(using=self.connection.alias):
            self._create(has_column=has_column, limit=limit)
            if not may_write:
                self._forbid_writes()
            yield
            transaction.set_rollback(True, using=self.connection.alias)

    def is_refused_write(self, exc: DatabaseError) -> bool:
        """Return whether `exc` says that the transaction is only for reading."""
        return False

    def _forbid_writes(self) -> None:
        """Let the transaction write to temporary tables only."""

    def _create(self, *, has_column: bool, limit: int | None) -> None:
        quote = self.connection.ops.quote_name
        keys = list(self.shadow_plan.new_model._meta.pk_fields)
        field = self.shadow_plan.field
        others = self._checked_fields() + self._get_companions()
        copied = keys + [item for item in dict.fromkeys(others) if item not in keys]
        definitions = [
            f"{self._define(item)} {'NOT NULL' if item in keys else 'NULL'}"
            for item in [*copied, field]
        ]
        primary = ", ".join(quote(key.column) for key in keys)
        if has_column:
            copied.append(field)
        columns = ", ".join(quote(item.column) for item in copied)
        order = f" ORDER BY {primary} LIMIT {int(limit)}" if limit is not None else ""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE {quote(SHADOW_TABLE)} "
                f"({', '.join(definitions)}, PRIMARY KEY ({primary}))"
                f"{self._table_options()}"
            )
            cursor.execute(
                f"INSERT INTO {quote(SHADOW_TABLE)} ({columns}) "
                f"SELECT {columns} FROM {quote(self.plan.table)}{order}"
            )

    def _table_options(self) -> str:
        """Return what makes the table compare texts as the real one does."""
        return ""

    def _checked_fields(self) -> list[AnyField]:
        """Return the other fields in the check constraints that name the field."""
        model: Any = self.shadow_plan.new_model
        fields = []
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                names = {
                    reference[0]
                    for reference in model._get_expr_references(constraint.condition)
                }
                if self.plan.field_name in names:
                    fields += [
                        model._meta.get_field(name)
                        for name in sorted(names - {self.plan.field_name, "pk"})
                    ]
        return fields

    def _get_companions(self) -> list[AnyField]:
        """Return the other fields that assigning the field may set."""
        model, field = self.shadow_plan.new_model, self.shadow_plan.field
        if not has_own_attribute(model, field):
            return []
        return [
            other
            for other in model._meta.local_concrete_fields
            if other != field and not other.generated
        ]

    def _define(self, field: AnyField) -> str:
        """Return column and type, for a table that fills nothing by itself."""
        kind = (
            field.rel_db_type(self.connection)
            if isinstance(field, AutoField)
            else field.db_type(self.connection)
        )
        collation = field.db_parameters(self.connection).get("collation")
        quote = self.connection.ops.quote_name
        text = f"{quote(field.column)} {kind}"
        return f"{text} COLLATE {quote(collation)}" if collation else text
