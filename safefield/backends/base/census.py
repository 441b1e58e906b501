"""Count how many rows have a value, on a big table about."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Max, Min, QuerySet

from safefield.backends.base.schema import Schema
from safefield.backends.base.tally import Tally, extrapolate, round_about

#: Rows up to which every row is counted: a fraction of a second everywhere.
EXACT_ROWS = 100_000

#: Places of a bigger table at which rows are looked at, and rows at each. The
#: fill goes by primary key, so it is the number of places that makes the
#: share of the filled rows exact, here to one percent.
PLACES = 100
ROWS_AT_PLACE = 100


class Census:
    """Counts the rows of one plan's table."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.plan = schema.plan
        self.connection = schema.connection

    def count(self) -> Tally:
        """Return how many rows have a value; on a big table about."""
        tally = self.sample()
        # The few rows that have none are seldom in a sample.
        return self.count_all() if tally is None or tally.is_full else tally

    def count_all(self) -> Tally:
        """Return how many rows have a value by looking at each of them."""
        counts = self.rows().aggregate(
            rows=Count("*"), filled=Count(self.plan.field_name)
        )
        return Tally(counts["rows"], counts["filled"], is_exact=True)

    def sample(self) -> Tally | None:
        """Return the tally by looking at some rows; None of a table that is small."""
        rows = self.schema.catalogue.estimate_rows()
        if rows <= EXACT_ROWS:
            return None
        first, last = self._key_range()
        if not isinstance(first, int) or not isinstance(last, int):
            # Between two keys of another kind there is no place to look at.
            return Tally(round_about(rows), None, is_exact=False)
        seen = filled = 0
        for place in range(PLACES):
            key = first + (last - first) * place // PLACES
            page = self.rows().filter(pk__gte=key).order_by("pk")
            counts = page.values("pk", self.plan.field_name)[:ROWS_AT_PLACE].aggregate(
                rows=Count("pk"), filled=Count(self.plan.field_name)
            )
            seen += counts["rows"]
            filled += counts["filled"]
        return extrapolate(rows, seen, filled)

    def rows(self) -> QuerySet[Any, Any]:
        """Return the rows as they are after the operation."""
        return QuerySet(self.plan.new_model, using=self.connection.alias)

    def _key_range(self) -> tuple[Any, Any]:
        if len(self.plan.new_model._meta.pk_fields) > 1:
            return None, None
        keys = self.rows().aggregate(first=Min("pk"), last=Max("pk"))
        return keys["first"], keys["last"]
