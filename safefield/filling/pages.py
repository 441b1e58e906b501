"""Cut a table into pages by primary key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from safefield.fields import is_stock_integer

#: Keys that are looked up at once: so many are read in a few milliseconds, and
#: with batches of about 1,500 rows most pages cost no query. For pages that are
#: nearly as large, the last key alone is looked up.
KEYS_AHEAD = 10_000


@dataclass(frozen=True)
class Page:
    """
    The rows behind one key, up to another one.

    Args:
        after (Any): The key behind which the page begins; None at the first row.
        last (Any): The last key of the page; None for all that is left, which were
            fewer than `size` rows when the page was made.
        size (int): Rows in the page, as far as is known.
        end (Any): A key behind which no page has rows; None if there is none such.
    """

    after: Any
    last: Any
    size: int
    end: Any = None

    def bound(self, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Return those rows of `queryset` that are in the page."""
        if self.after is not None:
            queryset = queryset.filter(pk__gt=self.after)
        last = self.end if self.last is None else self.last
        if last is not None:
            queryset = queryset.filter(pk__lte=last)
        return queryset


class Pages:
    """
    Find pages of any size, one behind the other.

    A page is bounded by key alone: with the rows that are wanted as the only
    bound, each page would search through all pages before it.

    Memory: KEYS_AHEAD keys.

    Args:
        rows (QuerySet): All rows of the table.
        end (Any): The last key to look at: others may insert rows as fast as pages
            are found. None for all keys.
    """

    def __init__(self, rows: QuerySet[Model], end: Any = None) -> None:
        self.end = end
        self.keys: QuerySet[Any, Any] = rows.order_by("pk").values_list("pk", flat=True)
        if end is not None:
            self.keys = self.keys.filter(pk__lte=end)
        self._ahead: Sequence[Any] = []
        #: How many of the keys ahead are behind already.
        self._place = 0
        self._has_integers = is_stock_integer(rows.model._meta.pk)
        #: Whether the last keys that were looked up were integers without a gap.
        self._is_dense = False

    def find(self, after: Any, size: int) -> Page:
        """Return the page of `size` rows behind the key `after`."""
        return Page(after, self._find_last(after, size), size, self.end)

    def _find_last(self, after: Any, size: int) -> Any:
        if size * 2 > KEYS_AHEAD:
            return next(iter(self._behind(after)[size - 1 : size]), None)
        if not self._has_ahead(after, size):
            self._ahead = self._look_ahead(after)
            self._place = 0
        last = self._place + size - 1
        return self._ahead[last] if last < len(self._ahead) else None

    def _has_ahead(self, after: Any, size: int) -> bool:
        """Move on to `after`; return whether `size` keys are known behind it."""
        try:
            # The end of a page, or somewhere in it where that was cut short.
            self._place = self._ahead.index(after, self._place) + 1
        except ValueError:
            return False
        return self._place + size <= len(self._ahead)

    def _look_ahead(self, after: Any) -> Sequence[Any]:
        """Return the keys behind `after`, KEYS_AHEAD or all that there are."""
        behind = self._behind(after)
        if self._is_dense and after is not None:
            # So many integers have no gap if the last is where it then has to be: the
            # database counts them and sends one.
            last = next(iter(behind[KEYS_AHEAD - 1 : KEYS_AHEAD]), None)
            if last == after + KEYS_AHEAD:
                return list(range(after + 1, last + 1))
        keys = list(behind[:KEYS_AHEAD])
        self._is_dense = (
            self._has_integers
            and len(keys) == KEYS_AHEAD
            and keys[-1] - keys[0] == KEYS_AHEAD - 1
        )
        return keys

    def _behind(self, after: Any) -> QuerySet[Any, Any]:
        return self.keys if after is None else self.keys.filter(pk__gt=after)
