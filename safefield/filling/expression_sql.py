"""From an expression to one that UPDATE takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import JSONField, OuterRef, QuerySet, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.fields import BooleanField
from django.db.models.lookups import IsNull
from django.db.models.sql import Query, UpdateQuery

from safefield.backends import get_backend
from safefield.backends.base.sql import putting_away
from safefield.backends.base.values_table import ValuesTable
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import AnyField
from safefield.filling.bad_rows import try_each
from safefield.filling.key_pages import cut
from safefield.filling.rows import key_names
from safefield.filling.target import Target
from safefield.filling.values import is_json
from safefield.filling.violations import is_about_values
from safefield.reports import MAX_BAD_ROWS

#: Rows of which the keys are read and sent back. Below the 32,766 parameters that
#: SQLite takes. Source: https://www.sqlite.org/limits.html.
MAX_KNOWN_ROWS = 10_000

#: What the value is called in a query: the hyphen keeps it from meeting a field.
VALUE = "safefield-value"


@dataclass(frozen=True)
class Updatable:
    """
    What UPDATE is to set the column to.

    Args:
        is_null (Any): The condition that it gives nothing.
        bad_rows (Sequence[BadRow]): Rows whose value could not be computed.
        is_void (bool): Whether that makes the values of other rows wrong.
    """

    value: Any
    is_null: Any
    bad_rows: Sequence[BadRow] = ()
    is_void: bool = False


class Saved:
    """An expression whose values are prepared for a column, as UPDATE has them."""

    def __init__(self, expression: Any, field: AnyField) -> None:
        self.expression = expression
        self.field = field

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: Any = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Any:
        """Return the expression as for an UPDATE, whatever the query is."""
        resolved = self.expression.resolve_expression(
            query, allow_joins, reuse, summarize, True
        )
        try:
            resolved.output_field  # noqa: B018  # a property that may raise
        except FieldError:
            # Of mixed types: an UPDATE takes it for what the column holds.
            resolved = resolved.copy()
            resolved.output_field = self.field
        return resolved


class ExpressionSQL:
    """Spell the expression of a plan so that UPDATE takes it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        self.connection = target.schema.connection

    @contextmanager
    def open(self) -> Iterator[Updatable]:
        """
        Yield what UPDATE is to set the column to.

        Raises:
            BackfillError: It takes a temporary table, which cannot be made.
        """
        # Of the rows that are read, once: the other table has not the columns.
        if self.target.is_beside or self.needs_table():
            with self._open_values_table() as found:
                yield found
            return
        value = self.plan.populate
        if not self._is_plain():
            value = Subquery(
                self.target.read_rows()
                .filter(
                    **{name: OuterRef(name) for name in key_names(self.schema.rows())}
                )
                .order_by()
                .annotate(**{VALUE: Saved(self.plan.populate, self.plan.field)})
                .values(VALUE),
                output_field=self.plan.field,
            )
        yield Updatable(value, self.is_nothing(value))

    def try_table(self) -> None:
        """Make the temporary table that it takes, if it takes one, and drop it."""
        if self.needs_table():
            with self._open_table():
                pass

    def is_nothing(self, value: Any) -> Any:
        """Return the condition that UPDATE stores NULL for an expression."""
        if isinstance(self.plan.field, JSONField) and is_json(value):
            # Of None in it, Django stores JSON null.
            value = Value("null")
        return IsNull(Saved(value, self.plan.field), True)

    def compute(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return keys and values."""
        value = {VALUE: Saved(self.plan.populate, self.plan.field)}
        computed: QuerySet[Any] = rows.order_by().annotate(**value)
        return computed.values_list(*key_names(rows), VALUE)

    def needs_table(self) -> bool:
        """Return whether no UPDATE computes the expression itself."""
        takes_subquery = self.connection.features.update_can_self_select
        return not self._is_plain() and (not takes_subquery or self.has_window())

    def has_window(self) -> bool:
        """Return whether a value depends on other rows, too."""
        resolved = self.plan.populate.resolve_expression(Query(self.plan.model))
        return bool(resolved.contains_over_clause)

    def _is_plain(self) -> bool:
        """Return whether UPDATE takes the expression as it is."""
        query = UpdateQuery(self.plan.model)
        try:
            resolved = self.plan.populate.resolve_expression(
                query, allow_joins=False, for_save=True
            )
        except FieldError:
            return False
        return not (
            resolved.contains_aggregate
            or resolved.contains_over_clause
            or (
                has_subquery(resolved)
                and not self.connection.features.update_can_self_select
            )
        )

    @contextmanager
    def _open_values_table(self) -> Iterator[Updatable]:
        """Yield expressions that read from a table of all values."""
        with self._open_table(self.plan.field) as table:
            bad_rows = self._insert(table)
            table.index()
            yield Updatable(
                RawSQL(table.value_sql, (), output_field=self.plan.field),
                RawSQL(table.is_null_sql, (), output_field=BooleanField()),
                bad_rows,
                # A window over other rows than all of them is another one.
                is_void=bool(bad_rows) and self.has_window(),
            )

    @contextmanager
    def _open_table(self, field: AnyField | None = None) -> Iterator[ValuesTable]:
        """Yield a temporary table, empty."""
        if self.schema.commits and self.schema.locks.is_pooled:
            raise self._cannot_have_table(
                "the connection is that of a pooler, which may hand out another one "
                "for the next statement. Connect to the database itself"
            )
        make_table = get_backend(self.connection).values_table
        table = make_table(self.connection, self.plan.new_model, field)
        try:
            with transaction.atomic(using=self.target.alias):
                table.create()
        except DatabaseError as exc:
            rights = get_backend(self.connection).rights(self.connection)
            raise self._cannot_have_table(
                f"the database refused it. {rights.describe_temporary(exc)}"
            ) from exc
        with putting_away(table.drop):
            yield table

    def _cannot_have_table(self, why: str) -> BackfillError:
        return self.plan.error(
            f"{self.plan.title}: {self.plan.source_name} needs a temporary table, and "
            f"{why}, or give a function of one row as populate, then run migrate "
            f"again."
        )

    def _insert(self, table: ValuesTable) -> list[BadRow]:
        """Insert all values that the database does not refuse; return the others."""
        rows = self.target.read_rows()

        def insert(some: QuerySet[Any]) -> None:
            with transaction.atomic(using=self.target.alias):
                table.insert(self.compute(some))

        try:
            insert(rows)
        except DatabaseError as exc:
            if not is_about_values(exc):
                raise
            bad_rows: list[BadRow] = []
            for page in cut(rows, MAX_KNOWN_ROWS):
                some = page.bound(rows)
                try:
                    insert(some)
                except DatabaseError:
                    keys = list(some.order_by("pk").values_list("pk", flat=True))
                    bad_rows += try_each(
                        self.schema, keys, lambda pk: insert(rows.filter(pk=pk))
                    )
                if len(bad_rows) >= MAX_BAD_ROWS:
                    break
            if not bad_rows:
                raise
            return bad_rows
        return []


def has_subquery(expression: Any) -> bool:
    """Return whether a query is part of a resolved expression."""
    return bool(getattr(expression, "subquery", False)) or any(
        has_subquery(part)
        for part in expression.get_source_expressions()
        if part is not None
    )
