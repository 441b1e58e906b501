"""Fill what comes in meanwhile, until that is little or proves to have no end."""

from __future__ import annotations

import time
from collections.abc import Callable

from safefield.exceptions import BackfillError
from safefield.fields import is_stock_integer
from safefield.filling.table_walk import Walked
from safefield.plan import Plan

#: A sweep of so many seconds is short enough to be done once more by the last steps,
#: while rows without a value are refused.
SHORT_SECONDS = 0.5

#: Sweeps, one behind the other. As long as each has less to do than the one before,
#: these are enough for a table that gets half as many rows as are filled.
MAX_SWEEPS = 10

#: Sweeps in which more came than before, upon which waiting does not help.
HOPELESS_SWEEPS = 2


def pursue(
    plan: Plan, sweep: Callable[..., Walked], filled: Walked, seconds: float
) -> int:
    """
    Sweep behind a fill until there is little to do; return how many rows it was.

    Nothing was passed over in a whole page, and who inserts takes higher integers. So
    most tables are not read once more, only their end. What a long transaction
    inserted before is for enforce() to find, as what comes from now on.

    Args:
        sweep (Callable[..., Walked]): See Fill.sweep().
        filled (Walked): What the fill has done, in so many seconds.

    Raises:
        BackfillError: Rows come in faster than they are filled.
    """
    # Other keys than integers do not only grow.
    grows = is_stock_integer(plan.model._meta.pk)
    after = filled.whole_until if grows else None
    rows = hopeless = 0
    before = filled.filled
    for number in range(MAX_SWEEPS):
        begun = time.monotonic()
        swept = sweep(after, is_whole=not number or not grows)
        rows += swept.filled
        before_seconds, seconds = seconds, time.monotonic() - begun
        if not swept.filled or seconds < SHORT_SECONDS:
            break
        # Where all rows have to be read again, that says nothing.
        hopeless = hopeless + 1 if grows and swept.filled >= before else 0
        if hopeless == HOPELESS_SWEEPS:
            came = swept.filled / before_seconds
            raise make_hopeless_error(plan, came, swept.filled / seconds)
        before = swept.filled
        if grows:
            after = swept.end
    return rows


def make_hopeless_error(plan: Plan, came: float, filled: float) -> BackfillError:
    """Return what to say where more rows come in a second than are filled in one."""
    return plan.error(
        f"{plan.title}: rows come in faster than they are filled: about "
        f"{came:,.0f} a second came, and {filled:,.0f} a "
        f"second were filled. Slow down what inserts them, or wait for a quieter "
        f"hour. The rows that are filled stay. Run migrate again to resume."
    )
