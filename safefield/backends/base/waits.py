"""Say whom a run waits for: soon, and then now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from django.db import DatabaseError

from safefield.console import spell_seconds
from safefield.plan import Plan
from safefield.progress import is_heard, note

#: Seconds after which a wait is told, and after which it is told again.
FIRST_SECONDS = 2.0
NEXT_SECONDS = 10.0

#: Sessions in one line.
SHOWN_SESSIONS = 3


class Wait:
    """
    One wait for others, which begins now.

    Args:
        find_blockers (Callable[[], Sequence[str]]): Says who is waited for, a clause
            for each session.
    """

    def __init__(
        self,
        plan: Plan,
        find_blockers: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.find_blockers = find_blockers
        self.clock = clock
        self.started = clock()
        self.due = self.started + FIRST_SECONDS

    def tell(self) -> None:
        """Say who is waited for, if it is time to."""
        now = self.clock()
        if now < self.due or not is_heard():
            return
        self.due = now + NEXT_SECONDS
        blockers: Sequence[str] = []
        # No run fails because it may not see who holds it up.
        with suppress(DatabaseError):
            blockers = self.find_blockers()
        note(
            "%s: waiting for others on table %s for %s%s.",
            self.plan.title,
            self.plan.table,
            spell_seconds(now - self.started),
            describe(blockers),
        )


def describe(blockers: Sequence[str]) -> str:
    """Return who is waited for, a clause after a sentence."""
    if not blockers:
        return "; who they are cannot be seen"
    shown = "; ".join(blockers[:SHOWN_SESSIONS])
    more = len(blockers) - SHOWN_SESSIONS
    return f": {shown}" + (f"; and {more} more" if more > 0 else "")
