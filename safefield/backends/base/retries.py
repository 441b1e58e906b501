"""Try again what the database refused only for a moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from django.db import DatabaseError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long to go on trying."""

    tries: int
    #: Each pause is twice the one before, and varied by half, so that two sessions do
    #: not meet again and again.
    first_pause_seconds: float
    last_pause_seconds: float


#: For a short statement that needs a strong lock: somebody's report may run
#: for a while, and each try costs the site no more than the lock timeout.
#: The pauses add up to a little over a minute.
STRONG_LOCK = Patience(tries=40, first_pause_seconds=0.05, last_pause_seconds=2.0)

#: For a batch, whose rows others lock for as long as a request takes. The
#: pauses add up to about ten seconds.
BATCH = Patience(tries=15, first_pause_seconds=0.02, last_pause_seconds=1.0)


#: For what may take minutes, of which a deadlock loses all: a few tries.
LONG_WORK = Patience(tries=5, first_pause_seconds=0.5, last_pause_seconds=4.0)


def pause_between(
    patience: Patience,
    *,
    sleep: Callable[[float], object] = time.sleep,
    on_refusal: Callable[[], object] = lambda: None,
) -> Iterator[bool]:
    """Pause before each try but the first: each time that True is asked for."""
    pause = patience.first_pause_seconds
    for _ in range(patience.tries - 1):
        on_refusal()
        sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, patience.last_pause_seconds)
        yield True


def retry(
    function: Callable[[], Result],
    is_passing: Callable[[DatabaseError], bool],
    pauses: Iterator[bool],
) -> Result:
    """
    Call `function` until it works or there are no more pauses.

    It must leave nothing behind when it raises.

    Raises:
        DatabaseError: The last error, or the first that does not pass.
    """
    while True:
        try:
            return function()
        except DatabaseError as exc:
            if not is_passing(exc) or not next(pauses, False):
                raise
