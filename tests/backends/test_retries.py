"""How often, and for how long, what others have locked is tried again."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from safefield.backends.base.retries import (
    BATCH,
    STRONG_LOCK,
    Patience,
    pause_between,
    retry,
)


class Busy:
    """
    A statement that others keep waiting.

    Args:
        times: How often it raises before it works.
        text: What it says then; "lock" passes.
    """

    def __init__(self, times: int, text: str = "lock") -> None:
        self.times = times
        self.text = text
        self.calls = 0
        self.pauses: list[float] = []

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise OperationalError(self.text)
        return "done"

    def run(self, patience: Patience) -> str:
        pauses = pause_between(patience, sleep=self.pauses.append)
        return retry(self, lambda exc: str(exc) == "lock", pauses)


def test_goes_on_until_it_works() -> None:
    busy = Busy(3)

    assert busy.run(Patience(9, 1.0, 9.0)) == "done"

    assert (busy.calls, len(busy.pauses)) == (4, 3)


def test_gives_up_at_the_end_of_its_patience() -> None:
    """Fails if there is one try more or less, or a pause with nothing behind it."""
    busy = Busy(9)

    with pytest.raises(OperationalError, match="^lock$"):
        busy.run(Patience(4, 1.0, 9.0))

    assert (busy.calls, len(busy.pauses)) == (4, 3)


def test_what_does_not_pass_is_not_tried_again() -> None:
    busy = Busy(9, "disk full")

    with pytest.raises(OperationalError, match="^disk full$"):
        busy.run(STRONG_LOCK)

    assert (busy.calls, busy.pauses) == (1, [])


def test_pauses_double_up_to_the_longest() -> None:
    """Fails if they stay short, or go on growing."""
    busy = Busy(8)

    busy.run(Patience(9, 1.0, 8.0))

    for pause, middle in zip(busy.pauses, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert 0.5 * middle <= pause <= 1.5 * middle


def test_two_sessions_do_not_pause_alike() -> None:
    one, other = Busy(8), Busy(8)

    one.run(STRONG_LOCK)
    other.run(STRONG_LOCK)

    assert one.pauses != other.pauses


@pytest.mark.parametrize(
    ("patience", "least", "most"), [(STRONG_LOCK, 45, 95), (BATCH, 4, 15)]
)
def test_how_long_patience_lasts(patience: Patience, least: int, most: int) -> None:
    """Fails if it is ten times as long or as short: about a minute, ten seconds."""
    busy = Busy(10**6)

    with pytest.raises(OperationalError):
        busy.run(patience)

    assert least < sum(busy.pauses) < most
