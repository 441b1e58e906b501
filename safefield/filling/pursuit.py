"""Fill what comes in meanwhile, until that is little or proves to have no end."""

from __future__ import annotations

import time
from typing import Any, Protocol

from safefield.exceptions import BackfillError
from safefield.fields import is_stock_integer
from safefield.plan import Plan

#: A sweep of so many seconds is short enough to be done once more by the last steps,
#: while rows without a value are refused.
SHORT_SECONDS = 0.5

#: Sweeps, one behind the other. As long as each has less to do than the one before,
#: these are enough for a table that gets half as many rows as are filled.
MAX_SWEEPS = 10

#: Sweeps in which more came than before, upon which waiting does not help.
HOPELESS_SWEEPS = 2


class Sweeper(Protocol):
    """What fills rows; see Backfill."""

    plan: Plan
    #: Rows that got a value in the last pass.
    count: int
    #: The greatest key that was there when it began.
    end: Any

    def sweep(self, after: Any = None, *, is_whole: bool = True) -> None:
        """Fill rows that have no value yet, if there are such behind a key."""


class Pursuit:
    """
    Sweeps behind a fill.

    Args:
        backfill (Sweeper): What fills rows.
        count (int): Rows that the fill has filled.
        seconds (float): How long it took.
    """

    def __init__(self, backfill: Sweeper, count: int, seconds: float) -> None:
        self.backfill = backfill
        self.count = count
        self.seconds = seconds

    def run(self, after: Any) -> None:
        """
        Sweep until there is little to do.

        Args:
            after (Any): The key behind which rows may have no value; None for all.

        Raises:
            BackfillError: Rows come in faster than they are filled.
        """
        backfill = self.backfill
        grows = is_stock_integer(backfill.plan.model._meta.pk)
        hopeless = 0
        for number in range(MAX_SWEEPS):
            begun = time.monotonic()
            backfill.sweep(after, is_whole=not number or not grows)
            seconds = time.monotonic() - begun
            if not backfill.count or seconds < SHORT_SECONDS:
                return
            # Where all rows have to be read again, that says nothing.
            hopeless = hopeless + 1 if grows and backfill.count >= self.count else 0
            if hopeless == HOPELESS_SWEEPS:
                raise self._make_error(backfill.count, seconds)
            self.count, self.seconds = backfill.count, seconds
            if grows:
                after = backfill.end

    def _make_error(self, count: int, seconds: float) -> BackfillError:
        plan = self.backfill.plan
        return BackfillError(
            f"{plan.title}: rows come in faster than they are filled: about "
            f"{count / self.seconds:,.0f} a second came, and {count / seconds:,.0f} a "
            f"second were filled. Slow down what inserts them, or wait for a quieter "
            f"hour. The rows that are filled stay. Run migrate again: it goes on from "
            f"here.",
            model=plan.label,
            field=plan.field_name,
        )
