"""Fill a column from a query expression, inside the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Length
from django.db.models.sql import Query, UpdateQuery

from safefield.backfill import PREFLIGHT_ROWS, Backfill
from safefield.deduplicate import Deduplication
from safefield.exceptions import BackfillError, BadRow
from safefield.pages import Page
from safefield.reports import MAX_BAD_ROWS
from safefield.verify import Problem, empty_rows

__all__ = ["DeduplicatedExpression", "ExpressionBackfill"]

#: Rows in one UPDATE at the most: they take no memory here, so that only time
#: limits them.
MAX_UPDATED_ROWS = 1_000_000

#: Where values wait that only the table as a whole has.
VALUES_TABLE = "safefield_values"

#: Fields whose values are texts with a length.
TEXT_TYPES = {"CharField", "EmailField", "FileField", "SlugField", "URLField"}


class ExpressionBackfill(Backfill):
    """
    Fill the column of a plan whose populate is an expression.

    Steps:
        1. What UPDATE takes as it is runs as UPDATE by key range.
        2. Joins and aggregates are computed for each row by a subquery in that
           UPDATE, where the database lets one read the table that it updates.
        3. Windows, and whatever is left, are computed once over the whole
           table into a temporary table, from which UPDATE reads by key.

    Re-run: only rows that have no value yet are written. Windows are computed
    anew, over all rows.

    Locks held: as in the fill from Python, those of one batch.
    """

    max_rows = MAX_UPDATED_ROWS

    def preflight(self) -> None:
        """
        Compute the values of a few rows, changing nothing.

        Raises:
            BackfillError: The expression cannot be computed, or gives nothing.
        """
        queryset: QuerySet[Any] = QuerySet(self.model, using=self.alias)
        try:
            values = list(
                queryset.annotate(safefield_value=self.plan.populate)
                .order_by("pk")
                .values_list("pk", "safefield_value")[:PREFLIGHT_ROWS]
            )
        except (DatabaseError, FieldError, TypeError, ValueError) as exc:
            raise BackfillError(
                f"{self.plan.title}: {self.plan.source_name} cannot be computed: "
                f"{exc} Mend it and run migrate again. Nothing was changed.",
                model=self.plan.label,
                field=self.plan.field_name,
            ) from exc
        if values and not self.plan.field.null:
            bad = [pk for pk, value in values if value is None]
            if len(bad) == len(values):
                self.bad_rows = [self._null(pk) for pk in bad]
                self.raise_useless()

    def fill(self) -> None:
        """
        Fill every row that has no value yet.

        Raises:
            BackfillError: Some rows have no good value. The others are filled.
        """
        self._fill(f"Filling {self.plan.title}")

    def run_pages(self, title: str) -> None:
        """Update all rows, then look for those without a good value."""
        with self._updatable() as self._value:
            super().run_pages(title)
        if not self.bad_rows:
            self._note_bad_values()

    def all_rows(self) -> QuerySet[Any]:
        """Return the rows that are cut into pages: those that are updated."""
        return QuerySet(self.plan.new_model, using=self.alias)

    def _try_page(self, page: Page, *, savepoints: bool) -> tuple[int, Any, bool]:
        rows = page.bound(self.all_rows()).filter(self.wanted())
        with transaction.atomic(using=self.alias):
            if self.schema.commits:
                self.schema.locks.limit_wait()
            if savepoints:
                self._update_singly(rows)
            else:
                self._update(rows)
        self.size.taken = page.size
        if page.last is None:
            return 0, page.after, True
        return page.size, page.last, False

    def _update(self, rows: QuerySet[Any]) -> int:
        return rows.order_by().update(**{self.plan.field_name: self._value})

    def _update_singly(self, rows: QuerySet[Any]) -> None:
        """Update row by row, to find those whose values the database refuses."""
        for pk in list(rows.order_by("pk").values_list("pk", flat=True)):
            try:
                with transaction.atomic(using=self.alias):
                    self._update(rows.filter(pk=pk))
            except DatabaseError as exc:
                self.note_bad(self.plan.new_model(pk=pk), "the database", exc)

    # From the expression to one that UPDATE takes

    @contextmanager
    def _updatable(self) -> Iterator[Any]:
        """Yield what UPDATE is to set the column to."""
        if self._is_plain():
            yield self.plan.populate
        elif self.connection.features.update_can_self_select and not self._has_window():
            yield Subquery(
                QuerySet(self.model, using=self.alias)
                .filter(pk=OuterRef("pk"))
                .order_by()
                .annotate(safefield_value=self.plan.populate)
                .values("safefield_value"),
                output_field=self.plan.field,
            )
        else:
            with self._values_table() as value:
                yield value

    def _is_plain(self) -> bool:
        """Return whether UPDATE takes the expression as it is."""
        query = UpdateQuery(self.model)
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

    def _has_window(self) -> bool:
        resolved = self.plan.populate.resolve_expression(Query(self.model))
        return bool(resolved.contains_over_clause)

    @contextmanager
    def _values_table(self) -> Iterator[Any]:
        """Yield the expression that reads from a table of all values."""
        names = [f"key{position}" for position in range(len(self.writer.keys))]
        queryset: QuerySet[Any] = QuerySet(self.model, using=self.alias)
        queryset = queryset.order_by().annotate(
            **{
                f"safefield_{name}": F(field.name)
                for name, field in zip(names, self.writer.keys, strict=True)
            },
            safefield_value=self.plan.populate,
        )
        columns = [f"safefield_{name}" for name in names]
        select = queryset.values_list(*columns, "safefield_value").query
        sql, params = select.get_compiler(using=self.alias).as_sql()
        if hasattr(self.connection.ops, "compose_sql"):
            # Statements that define tables take no parameters from psycopg when
            # the server binds them.
            sql, params = self.connection.ops.compose_sql(sql, params), None
        drop = f"DROP TABLE IF EXISTS {VALUES_TABLE}"
        with self.connection.cursor() as cursor:
            cursor.execute(drop)
            cursor.execute(f"CREATE TEMPORARY TABLE {VALUES_TABLE} AS {sql}", params)
            cursor.execute(
                f"CREATE UNIQUE INDEX {VALUES_TABLE}_key ON {VALUES_TABLE} "
                f"({', '.join(columns)})"
            )
        conditions = " AND ".join(
            f"{VALUES_TABLE}.{column} = {self.writer.table}.{self.writer.quote(field)}"
            for column, field in zip(columns, self.writer.keys, strict=True)
        )
        try:
            yield RawSQL(
                f"SELECT safefield_value FROM {VALUES_TABLE} WHERE {conditions}",
                [],
                output_field=self.plan.field,
            )
        finally:
            if self.connection.is_usable():
                with self.connection.cursor() as cursor:
                    cursor.execute(drop)

    # What Field.clean() would have refused

    def _note_bad_values(self) -> None:
        """Take note of the rows that have no value, or one that the field refuses."""
        problems = [problem for problem in self._possible() if problem.rows.exists()]
        for problem in problems:
            self.bad_rows += problem.bad_rows()
        if self.schema.commits:
            # So that the next run fills them.
            empty_rows(self.plan, self.schema, problems)

    def _possible(self) -> Iterator[Problem]:
        field, name = self.plan.field, self.plan.field_name
        source = self.plan.source_name
        rows: QuerySet[Any] = QuerySet(self.plan.new_model, using=self.alias).order_by()
        if not field.null:
            keys = rows.filter(self.wanted()).values_list("pk", flat=True)
            self.bad_rows += [
                self._null(pk) for pk in keys.order_by("pk")[:MAX_BAD_ROWS]
            ]
        if field.max_length and field.get_internal_type() in TEXT_TYPES:
            # SQLite does not care.
            yield Problem(
                f"{source} gave a text of more than {field.max_length} characters",
                rows.annotate(safefield_length=Length(name)).filter(
                    safefield_length__gt=field.max_length
                ),
            )
        if field.choices:
            known = [value for value, _ in field.flatchoices]
            yield Problem(
                f"{source} gave a value that is not one of the choices",
                rows.filter(**{f"{name}__isnull": False}).exclude(
                    **{f"{name}__in": known}
                ),
            )

    def _null(self, pk: Any) -> BadRow:
        return BadRow(pk, f"{self.plan.source_name} gave no value (NULL)")


class DeduplicatedExpression(ExpressionBackfill, Deduplication):
    """Fill from an expression, then renumber the rows that collide."""


def has_subquery(expression: Any) -> bool:
    """Return whether a query is part of a resolved expression."""
    return bool(getattr(expression, "subquery", False)) or any(
        has_subquery(part)
        for part in expression.get_source_expressions()
        if part is not None
    )
