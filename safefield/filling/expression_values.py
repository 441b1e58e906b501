"""Values that the database computes from a query expression."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import QuerySet, Value
from django.db.models.lookups import Exact

from safefield.backends import get_backend
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import NULL
from safefield.filling.bad_rows import try_each
from safefield.filling.computed import ComputedValues
from safefield.filling.expression_sql import (
    MAX_KNOWN_ROWS,
    VALUE,
    ExpressionSQL,
    Updatable,
)
from safefield.filling.filled import FilledKeys
from safefield.filling.key_pages import Batch, Page
from safefield.filling.problems import must_not_be_blank
from safefield.filling.rows import lock_rows, read_values
from safefield.filling.table_walk import Handle, Take
from safefield.filling.target import PREFLIGHT_ROWS, Target, has_no_value
from safefield.filling.unfilled import UNKEPT
from safefield.filling.violations import is_about_values
from safefield.reports import MAX_BAD_ROWS

#: Rows in one UPDATE at the most: they take no memory here, so that only time
#: limits them.
MAX_UPDATED_ROWS = 1_000_000

#: Rows of which the composite keys are read and sent back. Below the 1,000 levels of
#: an OR that SQLite takes. Source: https://www.sqlite.org/limits.html.
MAX_KNOWN_COMPOSITES = 500


class ExpressionValues:
    """
    Fill a column with what an expression gives.

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

    #: No code of the user's raises anything.
    first_error: Exception | None = None

    def __init__(self, target: Target, filled: FilledKeys) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        self.filled = filled
        self.wanted = has_no_value(self.plan)
        connection = self.schema.connection
        self.writer = get_backend(connection).writer(
            connection, self.plan.new_model, [self.plan.field]
        )
        self.sql = ExpressionSQL(target)
        #: Whether the rows of an UPDATE have to be known. Rows of a new column are
        #: all of this backfill, and an empty text in them is for verify() to find.
        self.needs_keys = self.plan.old_field is not None
        self.computed = ComputedValues(
            self.plan,
            self.schema,
            refuses_blank=self.needs_keys and must_not_be_blank(self.schema),
        )
        self.max_rows = MAX_UPDATED_ROWS
        if self.needs_keys:
            is_composite = len(self.writer.keys) > 1
            self.max_rows = MAX_KNOWN_COMPOSITES if is_composite else MAX_KNOWN_ROWS

    def preflight(self) -> Sequence[BadRow]:
        """
        Compute the values of a few rows, changing nothing.

        Returns:
            Sequence[BadRow]: These rows, if none of them gets a value.

        Raises:
            BackfillError: The expression cannot be computed.
        """
        rows = self.target.read_rows().order_by("pk")
        keys = list(rows.values_list("pk", flat=True)[:PREFLIGHT_ROWS])
        try:
            bad_rows = self._find_nulls(rows, PREFLIGHT_ROWS)
            self.sql.try_table()
        except DatabaseError as exc:
            if not is_about_values(exc):
                raise self._cannot_compute(exc) from exc
            # Of some rows, perhaps.
            bad_rows = try_each(
                self.schema, keys, lambda pk: self._find_nulls(rows.filter(pk=pk))
            )
        except BackfillError:
            raise
        except Exception as exc:
            # Whatever the parts of an expression raise while they become SQL.
            raise self._cannot_compute(exc) from exc
        return bad_rows if len(bad_rows) == len(keys) else []

    def check(self) -> None:
        """Refuse an expression that cannot be computed."""
        self.preflight()

    def _cannot_compute(self, exc: Exception) -> BackfillError:
        text = str(exc).rstrip(".")
        if isinstance(exc, DatabaseError) and not get_configuration().SHOW_VALUES:
            # What it computed from may be in it.
            text = f"the database raised {type(exc).__name__}"
        elif not isinstance(exc, (DatabaseError, FieldError)):
            text = f"{type(exc).__name__}: {exc}"
        # The names of our own annotations are no choice for anybody.
        text = re.sub(r"\bsafefield-\w+, ", "", text)
        return self.plan.error(
            f"{self.plan.title}: {self.plan.source_name} cannot be computed: {text}. "
            f"Fix the expression, then run migrate again. Nothing was changed."
        )

    def _find_nulls(
        self, rows: QuerySet[Any], limit: int | None = None
    ) -> list[BadRow]:
        """Return those of the first rows for which nothing is computed."""
        values = self.sql.compute(rows)
        is_null = self.sql.is_nothing(self.plan.populate)
        nulls = rows.annotate(**{VALUE: is_null})[:limit]
        with transaction.atomic(using=self.target.alias), warnings.catch_warnings():
            # A datetime without a time zone, of which Django only warns.
            warnings.filterwarnings("error", ".*received a naive datetime")
            # Of a value that is no column, IS NULL says nothing.
            values.query.get_compiler(using=self.target.alias).as_sql()
            return [
                self._blame_null(pk)
                for pk, is_nothing in read_values(nulls, VALUE)
                if is_nothing and not self.plan.field.null
            ]

    @contextmanager
    def open(self, *, skips_locked: bool) -> Iterator[Handle]:
        """Get ready for a walk, see Work."""
        with self.sql.open() as updatable:
            yield partial(self._fill_page, updatable)

    def _fill_page(
        self, updatable: Updatable, page: Page, take: Take, is_singly: bool
    ) -> Batch:
        """Fill the rows of a page."""
        missing = updatable.bad_rows if page.after is None else ()
        if updatable.is_void:
            return Batch(bad_rows=missing)
        rows = page.bound(self.schema.rows())
        if self.needs_keys:
            keys = list(
                lock_rows(rows.filter(self.wanted).order_by("pk")).values_list(
                    "pk", flat=True
                )
            )
            self.filled.update(keys)
            rows = self.schema.rows().filter(pk__in=keys)
        if is_singly:
            empty = rows.filter(self.wanted).order_by("pk")
            keys = list(empty.values_list("pk", flat=True))
            bad_rows = try_each(
                self.schema,
                keys,
                lambda pk: self._update(updatable, rows.filter(pk=pk))[1],
            )
            count = len(keys)
        else:
            count, bad_rows = self._update(updatable, rows)
        bad_rows = [*missing, *bad_rows]
        return Batch(found=count, rows=count, filled=count, bad_rows=bad_rows)

    def _update(
        self, updatable: Updatable, rows: QuerySet[Any], *, are_locked: bool = False
    ) -> tuple[int, list[BadRow]]:
        """Update the rows that have no value; return how many, and the bad ones."""
        empty = rows.filter(self.wanted)
        count = self.writer.update(empty.order_by(), updatable.value)
        bad_rows = self._refuse_values(rows)
        refused = {row.pk for row in bad_rows}
        left = empty.order_by("pk")
        if self.plan.field.null:
            # MySQL takes the name of a temporary table once in a statement.
            left = left.filter(Exact(updatable.is_null, False)).annotate(
                **{VALUE: Value(False)}
            )
        else:
            left = left.annotate(**{VALUE: updatable.is_null})
        unkept = []
        for pk, is_nothing in read_values(left[:MAX_BAD_ROWS], VALUE):
            if is_nothing:
                bad_rows.append(self._blame_null(pk))
            elif is_nothing is not None and pk not in refused:
                unkept.append(pk)
        if unkept and (are_locked or self.needs_keys):
            bad_rows += [BadRow(pk, UNKEPT) for pk in unkept]
        elif unkept:
            # They may have come only now.
            all_rows = self.schema.rows()
            again = lock_rows(all_rows.filter(pk__in=unkept))
            keys = list(again.values_list("pk", flat=True))
            some = all_rows.filter(pk__in=keys)
            bad_rows += self._update(updatable, some, are_locked=True)[1]
        return count, bad_rows

    # What Field.clean() would have refused

    def _refuse_values(self, rows: QuerySet[Any]) -> list[BadRow]:
        """Empty those of the rows just filled whose value the field refuses."""
        bad_rows: list[BadRow] = []
        # What is no value of the field at all cannot be read through it.
        for find in (self.computed.find_misfits, self.computed.find_refused):
            found = list(find(rows))
            keys = [row.pk for row in found]
            for start in range(0, len(keys), MAX_KNOWN_COMPOSITES):
                some = keys[start : start + MAX_KNOWN_COMPOSITES]
                some_rows = self.schema.rows().filter(pk__in=some)
                self.writer.update(some_rows, NULL)
            bad_rows += found
        return bad_rows

    def _blame_null(self, pk: Any) -> BadRow:
        return BadRow(pk, f"{self.plan.source_name} gave no value (NULL)")
