"""Walk over a table: page by page, by key, each page a short transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from django.db.models import Model

from safefield.conf import get_configuration
from safefield.exceptions import BadRow
from safefield.filling.attempts import try_page
from safefield.filling.batch_size import BATCH_SECONDS, UNLOCKED_SECONDS, BatchSize
from safefield.filling.key_pages import Batch, Page, find_page
from safefield.filling.target import Target
from safefield.progress import track
from safefield.reports import MAX_BAD_ROWS

#: Gives as many of the rows of a page as the batch has time for.
Take = Callable[[Sequence[Model]], Iterator[Model]]

#: Works on a page, in the transaction of the batch: row by row with True, see
#: try_page().
Handle = Callable[[Page, Take, bool], Batch]


@dataclass(frozen=True)
class Walked:
    """
    What a walk has done.

    Args:
        filled (int): Rows that got a value, or were reversed.
        end (Any): The greatest key that was there when it began; None if no row was.
        is_whole (bool): Whether all pages so far had as many rows as they can have.
        whole_until (Any): The key behind which one had fewer.
    """

    filled: int = 0
    bad_rows: Sequence[BadRow] = ()
    end: Any = None
    is_whole: bool = True
    whole_until: Any = None

    def add(self, page: Page, batch: Batch) -> Walked:
        """Return what was done with one batch more."""
        found = replace(
            self,
            filled=self.filled + batch.filled,
            bad_rows=[*self.bad_rows, *batch.bad_rows],
        )
        if self.is_whole and batch.found < page.size:
            found = replace(found, is_whole=False, whole_until=page.after)
        return found


class Work(Protocol):
    """What is done page by page."""

    #: Rows in a batch at the most.
    max_rows: int

    def open(self, *, skips_locked: bool) -> AbstractContextManager[Handle]:
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
            total (int | None): How many rows the table has, if that is known.
        """
        size = self._make_size(work)
        with work.open(skips_locked=skips_locked) as handle:
            walked = Walked(end=self.find_end())
            if walked.end is None:
                return walked
            with track(title, self._get_estimate(total)) as progress:
                while len(walked.bad_rows) < MAX_BAD_ROWS:
                    # Outside the transaction of the batch, to keep its locks shorter.
                    find = partial(find_page, self.rows, after, size.rows, walked.end)
                    page = self.schema.change_rows(find)
                    size.start()
                    do = partial(handle, page, size.take)
                    batch = try_page(self.schema, do, skips_locked=skips_locked)
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

    def find_end(self) -> Any:
        """Return the greatest key: others, or the user's function, may insert more."""
        keys = self.rows.order_by("-pk").values_list("pk", flat=True)
        return self.schema.change_rows(lambda: next(iter(keys[:1]), None))

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
