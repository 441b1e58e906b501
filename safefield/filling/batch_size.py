"""How many rows go into the next batch, and when a batch has to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Model

from safefield.filling.instances import get_values

#: Seconds that the rows of a batch should take where it is committed on its own,
#: beside the trips to the server that any batch takes. A row is locked for as long
#: as its batch, so both together, and one call of a slow populate, are what the
#: running application waits for at the most.
#: How long a busy site waits at this target is what benchmarks/busy_site.py measures.
BATCH_SECONDS = 0.03

#: Seconds that a batch should take where nobody waits for its rows: everything
#: is in one transaction. A few times BATCH_SECONDS, so that the cost of a query
#: is spread over more rows; MAX_ROWS and MAX_BYTES keep memory flat.
UNLOCKED_SECONDS = 0.1

#: Rows in the first batch: few, because nothing is known yet of how heavy the
#: rows are. Ten rows of 1 MB each are 10 MB.
FIRST_ROWS = 10

#: Rows in a batch at the most, so that memory stays flat.
MAX_ROWS = 10_000

#: Bytes of texts and binaries in a batch at the most, for the same reason: the
#: database driver holds them once more, and the writer may too.
MAX_BYTES = 16_000_000

#: How much larger a batch may be than the one before.
GROWTH = 2.0

#: A batch that takes more than this many times as long as it should, or that is
#: cut short, is followed by one that fits. Otherwise the sizes are smoothed.
OVERSHOOT = 1.5

#: Rows of a batch that are weighed.
WEIGHED_ROWS = 10


@dataclass(frozen=True)
class Timing:
    """
    How long a batch took.

    Args:
        computing_seconds (float): Of these, the seconds in the user's function.
    """

    rows: int
    seconds: float
    computing_seconds: float


class BatchSize:
    """
    Size batches by time.

    Args:
        fixed (int | None): Rows in every batch; None lets the size follow
            the time that batches take.
        max_rows (int): Rows in a batch at the most.
        target_seconds (float): Seconds that a batch should take.
    """

    def __init__(
        self,
        fixed: int | None = None,
        *,
        max_rows: int = MAX_ROWS,
        target_seconds: float = BATCH_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fixed = fixed
        self.target_seconds = target_seconds
        self.clock = clock
        self.rows = fixed or FIRST_ROWS
        self.max_rows = max_rows
        self._fitting_rows = max_rows
        self._started = clock()
        #: Seconds that populate took.
        self.computing_seconds = 0.0
        self._overhead_seconds = float("inf")

    def start(self) -> None:
        """Take note that a batch begins."""
        self._started = self.clock()
        self.computing_seconds = 0.0

    def take(self, rows: Sequence[Model]) -> Iterator[Model]:
        """
        Yield `rows` until the batch has had its time, at least one.

        However slow populate is for a row, no row is locked longer than the
        target, this one call, and reading and writing. The rest is for the next
        batch.
        """
        self._weigh(rows)
        clock = self.clock
        began = clock()
        end = began + (float("inf") if self.fixed else self.target_seconds)
        for row in rows:
            yield row
            if clock() >= end:
                break
        self.computing_seconds = clock() - began

    def record(self, rows: int) -> Timing:
        """Take note that a batch of `rows` rows has ended; return how long it took."""
        seconds = self.clock() - self._started
        if not self.fixed and rows:
            working = seconds - self._get_overhead(seconds)
            fitting = rows * self.target_seconds / max(working, 1e-6)
            if fitting >= self.rows * GROWTH:
                fitting = self.rows * GROWTH
            elif rows == self.rows and working <= self.target_seconds * OVERSHOOT:
                fitting = (fitting + self.rows) / 2
            self.rows = max(1, int(min(fitting, self._fitting_rows)))
        return Timing(rows, seconds, self.computing_seconds)

    def restart(self) -> None:
        """Take note that nobody knows how heavy the next rows are."""
        self.rows = self.fixed or FIRST_ROWS

    def _get_overhead(self, seconds: float) -> float:
        """
        Return the seconds that any batch takes, however few its rows are.

        The target is for what depends on the rows: several trips to a server that
        is far away may take longer than the target, and smaller batches would not
        make them shorter.
        """
        found = seconds - self.computing_seconds
        if self.rows > FIRST_ROWS:
            # Of more rows, reading and writing count.
            found = min(found, self._overhead_seconds)
        self._overhead_seconds = found
        return found

    def _weigh(self, rows: Sequence[Model]) -> None:
        """Look at a few rows of the page, so that few heavy ones make a batch."""
        sample = rows[:: max(1, len(rows) // WEIGHED_ROWS)]
        weight = sum(
            len(value)
            for row in sample
            for value in get_values(row).values()
            if isinstance(value, (str, bytes, memoryview))
        )
        fitting = MAX_BYTES * len(sample) // max(weight, 1)
        self._fitting_rows = max(1, min(self.max_rows, fitting))
