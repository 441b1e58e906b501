"""Cut a table into pages by primary key, each of which is done in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from safefield.exceptions import BadRow


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

    def find_stop(self, found: int, done: int, last_key: Any) -> Any:
        """
        Return the key behind which rows of the page may be left; None if it is done.

        Of the rows found in it, so many are done; the last of these has `last_key`.
        """
        may_have_more = self.last is None and found == self.size
        return last_key if done < found or may_have_more else None


@dataclass(frozen=True)
class Batch:
    """
    What was done with a page, and is committed together.

    Args:
        rows (int): Rows that were worked on, also those that turned out bad.
        filled (int): Rows that got a value, or were reversed.
        stopped_at (Any): The last key that was worked on, where rows may be left
            behind it; None if the page is done.
        adds_columns (bool): Whether the next rows are read with more columns.
    """

    found: int = 0
    rows: int = 0
    filled: int = 0
    bad_rows: Sequence[BadRow] = ()
    stopped_at: Any = None
    adds_columns: bool = False

    def count_passed(self, page: Page) -> int:
        """Return how many rows of the table are behind, as far as is known."""
        if self.stopped_at is not None:
            return self.rows
        return self.found if page.last is None else page.size


def find_page(rows: QuerySet[Model], after: Any, size: int, end: Any = None) -> Page:
    """
    Return the page of `size` of all `rows`, behind the key `after`.

    A page is bounded by key alone: with the rows that are wanted as the only
    bound, each page would search through all pages before it.

    Args:
        end (Any): The last key to look at: others may insert rows as fast as pages
            are found. None for all keys.
    """
    behind = Page(after, None, size, end).bound(rows).order_by("pk")
    keys = behind.values_list("pk", flat=True)
    last = next(iter(keys[size - 1 : size]), None)
    return Page(after, last, size, end)


def cut(rows: QuerySet[Model], size: int) -> Iterator[Page]:
    """Yield the pages of `size` rows, one behind the other, until none are left."""
    page = find_page(rows, None, size)
    yield page
    while page.last is not None:
        page = find_page(rows, page.last, size)
        yield page
