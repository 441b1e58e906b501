"""How long migrate takes, from a rehearsal of some of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safefield.filling.batch_size import BATCH_SECONDS, MAX_ROWS, Timing

#: How many times less, or more, an estimate may be of less than so many rows.
LATITUDES = {1_000: 4.0, 10_000: 2.0}


@dataclass(frozen=True)
class Estimate:
    """Seconds that migrate takes, about."""

    #: The likely figure.
    seconds: float
    #: Between these it is likely to be.
    least: float
    most: float


def estimate(
    batches: Sequence[Timing],
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
        rows (int): Rows that migrate is to fill.
        batch_rows (int | None): Rows in each of its batches; None: sized by time.
        other_seconds (float): Seconds of the rehearsal beside the batches.
        slowdown (float): How many times as long as its rehearsal a run takes.
    """
    tried = sum(batch.rows for batch in batches)
    seconds = sum(batch.seconds for batch in batches)
    if tried < rows:
        seconds = _extrapolate(batches, rows, batch_rows)
    seconds += other_seconds
    seconds *= slowdown
    latitude = next(
        (each for limit, each in LATITUDES.items() if tried < min(rows, limit)), 1.0
    )
    return Estimate(seconds, seconds / latitude, seconds * latitude)


def _extrapolate(batches: Sequence[Timing], rows: int, batch_rows: int | None) -> float:
    """Return the seconds of so many rows, from those of some batches."""
    largest = max((batch.rows for batch in batches), default=1)
    # The first ones are small, and slow for other reasons too.
    settled = [batch for batch in batches if batch.rows * 2 >= largest]
    for_each_batch = min(
        (batch.seconds - batch.computing_seconds for batch in batches), default=0.0
    )
    # The quickest: few were tried, and something else may have held one up.
    for_each_row = min(
        (max(each.seconds - for_each_batch, 0.0) / each.rows for each in settled),
        default=0.0,
    )
    fitting = BATCH_SECONDS / for_each_row if for_each_row else MAX_ROWS
    size = batch_rows or max(largest, min(fitting, MAX_ROWS))
    # A few rows more or less are not another batch.
    return rows * for_each_row + rows / size * for_each_batch
