"""Time that passes only when somebody looks."""

from __future__ import annotations


class Clock:
    """A clock that moves seven seconds each time somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 7
        return self.seconds
