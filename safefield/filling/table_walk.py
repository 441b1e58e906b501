"""Walk over a table: page by page, by key, each page a short transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from django.db.models import Model

from safefield.conf import get_configuration
from safefield.exceptions import BadRow
from safefield.filling.attempts import try_page
from safefield.filling.batch_size import (
    BATCH_SECONDS,
    UNLOCKED_SECONDS,
    BatchSize,
)
from safefield.filling.key_pages import Page, find_page
from safefield.filling.target import Target
from safefield.progress import track
from safefield.reports import MAX_BAD_ROWS

#: Gives as many of the rows of a page as the batch has time for.
Take = Callable[[Sequence[Model]], Iterator[Model]]


@dataclass(frozen=True)
class Batch:
    """
    What was done with a page, and is committed together.

    Args:
        found (int): Rows that were found in the page.
        rows (int): Rows that were worked on, also those that turned out bad.
        filled (int): Rows that got a value.
        bad_rows (Sequence[BadRow]): Rows that have no good value.
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


@dataclass(frozen=True)
class Walked:
    """
    What a walk has done.

    Args:
        rows (int): Rows that were worked on, also those that turned out bad.
        filled (int): Rows that got a value.
        bad_rows (Sequence[BadRow]): Rows that have no good value.
        end (Any): The greatest key that was there when it began, where others may
            insert meanwhile.
        is_whole (bool): Whether all pages so far had as many rows as they can have.
        whole_until (Any): The key behind which one had fewer.
    """

    rows: int = 0
    filled: int = 0
    bad_rows: Sequence[BadRow] = ()
    end: Any = None
    is_whole: bool = True
    whole_until: Any = None

    def add(self, page: Page, batch: Batch) -> Walked:
        """Return what was done with one batch more."""
        found = replace(
            self,
            rows=self.rows + batch.rows,
            filled=self.filled + batch.filled,
            bad_rows=[*self.bad_rows, *batch.bad_rows],
        )
        if self.is_whole and batch.found < page.size:
            found = replace(found, is_whole=False, whole_until=page.after)
        return found


@dataclass(frozen=True)
class PageWork:
    """
    What a walk does with each page.

    Args:
        handle (Callable[[Page, Take, bool], Batch]): Called in the transaction of the
            batch. If it raises what may be about a row, it is called again, with True:
            what is about one row alone is then to be kept from the others.
        bad_rows (Sequence[BadRow]): What was found before the first page.
        is_void (bool): Whether no page is to be handled, because of these.
    """

    handle: Callable[[Page, Take, bool], Batch]
    bad_rows: Sequence[BadRow] = ()
    is_void: bool = False


class Work(Protocol):
    """What is done page by page."""

    #: Rows in a batch at the most.
    max_rows: int

    def open(self, *, skips_locked: bool) -> AbstractContextManager[PageWork]:
        """
        Get ready for a walk, and clear up behind it.

        Args:
            skips_locked (bool): Whether rows that others have locked are passed over.
        """


class TableWalk:
    """
    A walk over the rows of a table, page by page, by primary key.

    Locks held: those of one batch.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.schema = target.schema
        #: The rows that are cut into pages.
        self.rows = target.read_rows() if target.paged is None else target.paged

    def run(
        self,
        title: str,
        work: Work,
        after: Any = None,
        *,
        skips_locked: bool = False,
        total: int | None = None,
    ) -> Walked:
        """
        Do `work` with the rows that are there when it begins.

        Args:
            after (Any): The key behind which the rows are; None for all rows.
            skips_locked (bool): Whether rows that others have locked are passed over.
            total (int | None): How many rows the table has, if that is known.
        """
        size = self._make_size(work)
        with work.open(skips_locked=skips_locked) as each:
            walked = Walked(bad_rows=each.bad_rows, end=self._find_end())
            if each.is_void or (self.schema.commits and walked.end is None):
                return walked
            with track(title, self._get_estimate(total)) as progress:
                while len(walked.bad_rows) < MAX_BAD_ROWS:
                    page = self._find_page(after, size.rows, walked.end)
                    size.start()
                    for attempt in try_page(self.schema, skips_locked=skips_locked):
                        with attempt, attempt.transaction():
                            batch = each.handle(page, size.take, attempt.is_singly)
                            if batch.found:
                                self.schema.settle()
                    walked = walked.add(page, batch)
                    passed = batch.count_passed(page)
                    progress.update(passed, batch.rows)
                    after = page.last if batch.stopped_at is None else batch.stopped_at
                    self._end_batch(size, passed, batch, is_last=after is None)
                    if after is None:
                        break
        return walked

    def _make_size(self, work: Work) -> BatchSize:
        commits = self.schema.commits
        clock = {} if self.target.clock is None else {"clock": self.target.clock}
        return BatchSize(
            self.schema.plan.batch_size,
            max_rows=work.max_rows,
            target_seconds=BATCH_SECONDS if commits else UNLOCKED_SECONDS,
            **clock,
        )

    def _get_estimate(self, total: int | None) -> Callable[[], int | None]:
        if total is not None:
            return lambda: total
        return self.target.estimate_rows or self.schema.catalogue.estimate_rows

    def _find_end(self) -> Any:
        """Return the greatest key, where others may insert meanwhile."""
        if not self.schema.commits:
            return None
        keys = self.rows.order_by("-pk").values_list("pk", flat=True)
        return self.schema.locks.change_rows(lambda: next(iter(keys[:1]), None))

    def _find_page(self, after: Any, size: int, end: Any) -> Page:
        # Outside the transaction of the batch, which keeps its locks shorter.
        if not self.schema.commits:
            return find_page(self.rows, after, size, end)
        return self.schema.locks.change_rows(
            lambda: find_page(self.rows, after, size, end)
        )

    def _end_batch(
        self, size: BatchSize, passed: int, batch: Batch, *, is_last: bool
    ) -> None:
        """Tell how long a batch took, and sleep behind it, as the settings say."""
        timing = size.record(passed)
        if batch.adds_columns:
            size.restart()
        if self.target.on_batch is not None and batch.rows:
            self.target.on_batch(replace(timing, rows=batch.rows))
        pause = timing.seconds * get_configuration().PAUSE_RATIO
        if pause and self.schema.commits and not is_last:
            self.schema.locks.sleep(pause)
