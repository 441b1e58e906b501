"""Fill a column from a query expression, inside the database."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import F, JSONField, OuterRef, QuerySet, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.fields import BooleanField
from django.db.models.lookups import Exact, IsNull
from django.db.models.sql import Query, UpdateQuery

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.backends.base.values_table import ValuesTable
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import NULL, AnyField
from safefield.filling.backfill import PREFLIGHT_ROWS, Backfill
from safefield.filling.computed import ComputedValues
from safefield.filling.deduplicate import Deduplication
from safefield.filling.pages import Page, cut
from safefield.filling.rows import key_names, lock_rows, read_values
from safefield.filling.saved import Saved, has_subquery
from safefield.filling.unfilled import UNKEPT
from safefield.filling.values import is_json
from safefield.filling.verify import must_not_be_blank
from safefield.filling.violations import is_about_values
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS

#: Rows in one UPDATE at the most: they take no memory here, so that only time
#: limits them.
MAX_UPDATED_ROWS = 1_000_000

#: The same where their keys are read and sent back. Below the 32,766 parameters, and
#: the 1,000 levels of an OR of composite keys, that SQLite takes. Source:
#: https://www.sqlite.org/limits.html.
MAX_KNOWN_ROWS = 10_000
MAX_KNOWN_COMPOSITES = 500

#: What the value is called in a query: the hyphen keeps it from meeting a field.
VALUE = "safefield-value"


class ExpressionBackfill(Backfill):
    """
    Fill the column of a plan whose populate is an expression.

    Steps:
        1. What UPDATE takes as it is runs as UPDATE by key range.
        2. Joins and aggregates are computed for each row by a subquery in that
           UPDATE, where the database lets one read the table that it updates.
        3. Windows, and whatever is left, are computed once over the whole
           table into a temporary table, from which UPDATE reads by key.

    Each UPDATE is followed, in its transaction, by a look at what it has written.

    Re-run: only rows that have no value yet are written. Windows are computed
    anew, over all rows.

    Locks held: as in the fill from Python, those of one batch.
    """

    def __init__(self, plan: Plan, schema: Schema) -> None:
        super().__init__(plan, schema)
        #: Whether the rows of an UPDATE have to be known. Rows of a new column are
        #: all of this backfill, and an empty text in them is for verify() to find.
        self.needs_keys = plan.old_field is not None
        self.computed = ComputedValues(
            plan,
            schema,
            refuses_blank=self.needs_keys and must_not_be_blank(plan, schema),
        )
        self.max_rows = MAX_UPDATED_ROWS
        if self.needs_keys:
            is_composite = len(self.writer.keys) > 1
            self.max_rows = MAX_KNOWN_COMPOSITES if is_composite else MAX_KNOWN_ROWS

    def preflight(self) -> None:
        """
        Compute the values of a few rows, changing nothing.

        Raises:
            BackfillError: The expression cannot be computed, or gives nothing.
        """
        rows: QuerySet[Any] = QuerySet(self.model, using=self.alias).order_by("pk")
        keys = list(rows.values_list("pk", flat=True)[:PREFLIGHT_ROWS])
        try:
            self._note_nulls(rows, PREFLIGHT_ROWS)
            if self._needs_table():
                with self._open_table([]):
                    pass
        except DatabaseError as exc:
            if not is_about_values(exc):
                raise self._cannot_compute(exc) from exc
            # Of some rows, perhaps.
            self._try_singly(rows, keys, self._note_nulls)
        except BackfillError:
            raise
        except Exception as exc:
            # Whatever the parts of an expression raise while they become SQL.
            raise self._cannot_compute(exc) from exc
        bad_rows, self.bad_rows = self.bad_rows, []
        if len(bad_rows) == len(keys) > 0:
            self.bad_rows = bad_rows
            self.raise_useless()

    def _cannot_compute(self, exc: Exception) -> BackfillError:
        text = str(exc)
        if isinstance(exc, DatabaseError) and not get_configuration().SHOW_VALUES:
            # What it computed from may be in it.
            text = f"the database raised {type(exc).__name__}."
        elif not isinstance(exc, (DatabaseError, FieldError)):
            text = f"{type(exc).__name__}: {exc}"
        return BackfillError(
            f"{self.plan.title}: {self.plan.source_name} cannot be computed: {text} "
            f"Fix the expression and run migrate again. Nothing was changed.",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def _note_nulls(self, rows: QuerySet[Any], limit: int | None = None) -> None:
        """Take note of those of the first rows for which nothing is computed."""
        values = self._computed(rows)
        is_null = self._is_nothing(self.plan.populate)
        nulls = rows.annotate(**{VALUE: is_null})[:limit]
        with transaction.atomic(using=self.alias), warnings.catch_warnings():
            # A datetime without a time zone, of which Django only warns.
            warnings.filterwarnings("error", ".*received a naive datetime")
            # Of a value that is no column, IS NULL says nothing.
            values.query.get_compiler(using=self.alias).as_sql()
            for pk, is_nothing in read_values(nulls, VALUE):
                if is_nothing and not self.plan.field.null:
                    self._note_null(pk)

    def fill(self) -> None:
        """
        Fill every row that has no value yet.

        Raises:
            BackfillError: Some rows have no good value. The others are filled.
        """
        self._fill(f"Filling {self.plan.title}")

    def run_pages(self, title: str, after: Any = None) -> None:
        """Update all rows."""
        with self._updatable() as (self._value, self._is_null):
            # A window over other rows than all of them is another one.
            if not (self.bad_rows and self._has_window()):
                super().run_pages(title, after)

    def all_rows(self) -> QuerySet[Any]:
        """Return the rows that are cut into pages: those that are updated."""
        return QuerySet(self.plan.new_model, using=self.alias)

    def _try_page(self, page: Page, *, savepoints: bool) -> tuple[int, Any, bool]:
        rows = page.bound(self.all_rows())
        with transaction.atomic(using=self.alias):
            if self.schema.commits:
                self.schema.locks.limit_wait()
            self.check_keys(row_by_row=savepoints)
            if self.needs_keys:
                empty = lock_rows(rows.filter(self.wanted()).order_by("pk"))
                keys = list(empty.values_list("pk", flat=True))
                if self.plan.old_field is not None:
                    self.filled.update(keys)
                rows = self.all_rows().filter(pk__in=keys)
            if savepoints:
                empty = rows.filter(self.wanted()).order_by("pk")
                keys = list(empty.values_list("pk", flat=True))
                self._try_singly(rows, keys, self._update)
                count = len(keys)
            else:
                count = self._update(rows)
            self.schema.settle()
        self.handled_rows += count
        self.size.taken = page.size
        if page.last is None:
            return 0, page.after, True
        return page.size, page.last, False

    def _update(self, rows: QuerySet[Any], *, are_locked: bool = False) -> int:
        """Update the rows that have no value, and look at what they have then."""
        empty = rows.filter(self.wanted())
        count = self.writer.update(empty.order_by(), self._value)
        refused = self._refuse_values(rows)
        left = empty.order_by("pk")
        if self.plan.field.null:
            # MySQL takes the name of a temporary table once in a statement.
            left = left.filter(Exact(self._is_null, False)).annotate(
                **{VALUE: Value(False)}
            )
        else:
            left = left.annotate(**{VALUE: self._is_null})
        unkept = []
        for pk, is_nothing in read_values(left[:MAX_BAD_ROWS], VALUE):
            if is_nothing:
                self._note_null(pk)
            elif is_nothing is not None and pk not in refused:
                unkept.append(pk)
        if unkept and (are_locked or self.needs_keys):
            self.bad_rows += [BadRow(pk, UNKEPT) for pk in unkept]
        elif unkept:
            # They may have come only now.
            again = lock_rows(self.all_rows().filter(pk__in=unkept))
            keys = list(again.values_list("pk", flat=True))
            self._update(self.all_rows().filter(pk__in=keys), are_locked=True)
        return count

    def _try_singly(
        self,
        rows: QuerySet[Any],
        keys: Sequence[Any],
        function: Callable[[QuerySet[Any]], object],
    ) -> None:
        """Call `function` row by row, to find those that the database refuses."""
        for pk in keys:
            bad_before = len(self.bad_rows)
            try:
                with transaction.atomic(using=self.alias):
                    function(rows.filter(pk=pk))
            except DatabaseError as exc:
                del self.bad_rows[bad_before:]
                self.note_refused(pk, exc)

    # What Field.clean() would have refused

    def _refuse_values(self, rows: QuerySet[Any]) -> Collection[Any]:
        """Empty those of the rows just filled whose value the field refuses."""
        bad: list[BadRow] = []
        # What is no value of the field at all cannot be read through it.
        for find in (self.computed.find_misfits, self.computed.find_refused):
            found = list(find(rows))
            keys = [row.pk for row in found]
            for start in range(0, len(keys), MAX_KNOWN_COMPOSITES):
                some = keys[start : start + MAX_KNOWN_COMPOSITES]
                self.writer.update(self.all_rows().filter(pk__in=some), NULL)
            bad += found
        self.bad_rows += bad
        return {row.pk for row in bad}

    def _note_null(self, pk: Any) -> None:
        reason = f"{self.plan.source_name} gave no value (NULL)"
        self.bad_rows.append(BadRow(pk, reason))

    # From the expression to one that UPDATE takes

    @contextmanager
    def _updatable(self) -> Iterator[tuple[Any, Any]]:
        """Yield what UPDATE is to set the column to, and whether that is nothing."""
        if self._needs_table():
            with self._values_table() as found:
                yield found
            return
        value = self.plan.populate
        if not self._is_plain():
            names = key_names(self.all_rows())
            value = Subquery(
                QuerySet(self.model, using=self.alias)
                .filter(**{name: OuterRef(name) for name in names})
                .order_by()
                .annotate(**{VALUE: Saved(self.plan.populate)})
                .values(VALUE),
                output_field=self.plan.field,
            )
        yield value, self._is_nothing(value)

    def _is_nothing(self, value: Any) -> Any:
        """Return the condition that UPDATE stores NULL for an expression."""
        if isinstance(self.plan.field, JSONField) and is_json(value):
            # Of None in it, Django stores JSON null.
            value = Value("null")
        return IsNull(Saved(value), True)

    def _needs_table(self) -> bool:
        """Return whether no UPDATE computes the expression itself."""
        takes_subquery = self.connection.features.update_can_self_select
        return not self._is_plain() and (not takes_subquery or self._has_window())

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
    def _values_table(self) -> Iterator[tuple[Any, Any]]:
        """Yield the expressions that read from a table of all values."""
        with self._open_table([self.plan.field]) as table:
            self._insert(table)
            table.index()
            yield (
                RawSQL(table.value_sql, (), output_field=self.plan.field),
                RawSQL(table.is_null_sql, (), output_field=BooleanField()),
            )

    @contextmanager
    def _open_table(self, fields: Sequence[AnyField]) -> Iterator[ValuesTable]:
        """
        Yield a temporary table, empty.

        Raises:
            BackfillError: It cannot be made.
        """
        if self.schema.commits and self.schema.locks.is_pooled:
            raise self._cannot_have_table(
                "the connection is that of a pooler, which may hand out another one "
                "for the next statement. Connect to the database itself"
            )
        table = get_backend(self.connection).values_table(self.writer, fields)
        try:
            with transaction.atomic(using=self.alias):
                table.create()
        except DatabaseError as exc:
            rights = get_backend(self.connection).rights(self.connection)
            raise self._cannot_have_table(
                f"the database refused it. {rights.describe_temporary(exc)}"
            ) from exc
        try:
            yield table
        finally:
            if self.connection.is_usable():
                table.drop()

    def _cannot_have_table(self, why: str) -> BackfillError:
        return BackfillError(
            f"{self.plan.title}: {self.plan.source_name} needs a temporary table, and "
            f"{why}, or give a function of one row as populate, then run migrate "
            f"again.",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def _insert(self, table: ValuesTable) -> None:
        """Insert all values, or all that the database does not refuse."""
        rows: QuerySet[Any] = QuerySet(self.model, using=self.alias)

        def insert(some: QuerySet[Any]) -> None:
            with transaction.atomic(using=self.alias):
                table.insert(self._computed(some))

        try:
            insert(rows)
        except DatabaseError as exc:
            if not is_about_values(exc):
                raise
            for page in cut(rows, MAX_KNOWN_ROWS):
                some = page.bound(rows)
                try:
                    insert(some)
                except DatabaseError:
                    keys = list(some.order_by("pk").values_list("pk", flat=True))
                    self._try_singly(some, keys, insert)
                if len(self.bad_rows) >= MAX_BAD_ROWS:
                    break
            if not self.bad_rows:
                raise

    def _computed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return keys and values."""
        keys = {
            f"safefield-key{position}": F(name)
            for position, name in enumerate(key_names(rows))
        }
        computed: QuerySet[Any] = rows.order_by().annotate(
            **keys, **{VALUE: Saved(self.plan.populate)}
        )
        return computed.values_list(*keys, VALUE)


class DeduplicatedExpression(ExpressionBackfill, Deduplication):
    """Fill from an expression, then renumber the rows that collide."""
