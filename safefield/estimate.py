"""How long migrate takes, from a rehearsal of some of the rows."""

from __future__ import annotations

from dataclasses import dataclass

from safefield.batches import BATCH_SECONDS, MAX_ROWS

__all__ = ["Batch", "Estimate", "estimate"]

#: Rows from which an estimate is not far off.
ENOUGH_ROWS = 10_000

#: How many times less, or more, it may be of fewer rows.
LATITUDE = 2.0


@dataclass(frozen=True)
class Batch:
    """
    One batch of a rehearsal.

    Args:
        rows (int): Rows in it.
        seconds (float): Seconds that it took.
        computing_seconds (float): Of these, the seconds in populate.
    """

    rows: int
    seconds: float
    computing_seconds: float


@dataclass(frozen=True)
class Estimate:
    """
    Seconds that migrate takes, about.

    Args:
        seconds (float): The likely figure.
        least (float): It may be as little as this.
        most (float): It may be as much as this.
    """

    seconds: float
    least: float
    most: float


def estimate(
    batches: list[Batch],
    rows: int,
    *,
    batch_rows: int | None,
    other_seconds: float,
    slowdown: float,
) -> Estimate:
    """
    Estimate the seconds that migrate takes.

    What a batch takes however few its rows are is told from what it takes for each
    row: the first batches are small, and all that there are of a few rows.

    Args:
        batches (list[Batch]): The batches of the rehearsal.
        rows (int): Rows that migrate is to fill.
        batch_rows (int | None): Rows in each of its batches; None: sized by time.
        other_seconds (float): Seconds of the rehearsal beside the batches.
        slowdown (float): How many times as long as its rehearsal a run takes.
    """
    tried = sum(batch.rows for batch in batches)
    total = sum(batch.seconds for batch in batches)
    if tried >= rows:
        seconds = total
    else:
        for_each_batch = min(
            (batch.seconds - batch.computing_seconds for batch in batches), default=0.0
        )
        for_each_row = max(total - for_each_batch * len(batches), 0.0) / max(tried, 1)
        fitting = BATCH_SECONDS / for_each_row if for_each_row else MAX_ROWS
        largest = max((batch.rows for batch in batches), default=1)
        size = batch_rows or max(largest, min(fitting, MAX_ROWS))
        # A few rows more or less are not another batch.
        seconds = rows * for_each_row + rows / size * for_each_batch
    seconds += other_seconds
    seconds *= slowdown
    is_sure = tried >= min(rows, ENOUGH_ROWS)
    latitude = 1.0 if is_sure else LATITUDE
    return Estimate(seconds, seconds / latitude, seconds * latitude)
