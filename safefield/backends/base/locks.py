"""Take locks so that nobody has to wait for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.db import DatabaseError, Error

from safefield.backends.base.retries import (
    BATCH,
    LONG_WORK,
    STRONG_LOCK,
    Patience,
    pause_between,
    retry,
)
from safefield.backends.base.session import Session
from safefield.backends.base.sql import putting_away
from safefield.backends.base.waits import Wait
from safefield.exceptions import BackfillError
from safefield.plan import Plan

Result = TypeVar("Result")

#: How often a table is claimed, and the pause in between: the server takes a
#: moment to notice that a run of migrate was killed, and to end its session.
CLAIM_TRIES = 6
CLAIM_PAUSE_SECONDS = 0.2


class Locks:
    """The locks of one plan, on one database, where each statement commits."""

    session_class: type[Session] = Session

    #: Waits, in seconds; replaced in tests.
    sleep: Callable[[float], object] = staticmethod(time.sleep)
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, connection: Any, plan: Plan) -> None:
        self.connection = connection
        self.plan = plan
        self.session = self.session_class(connection)
        #: The guard that still refuses rows without a value after a run that failed.
        self.left_guard = ""

    @property
    def is_pooled(self) -> bool:
        """Whether the next statement may go over another connection to the server."""
        return False

    @contextmanager
    def claim_table(self) -> Iterator[None]:
        """Keep other runs of migrate away from the table, if none is at work on it."""
        self._claim_in_time()
        with putting_away(self.release), self.session.lifted(self.session.limits):
            yield

    def recover(self) -> None:
        """
        Begin another session in place of a lost one, to put away what it has left.

        Another run may be at work on the table by now, or the server be gone.
        """
        self._renew_session()
        self._claim_in_time()
        self.session.lift(self.session.limits)

    def _renew_session(self) -> None:
        # A server that was started again needs a moment.
        pauses = pause_between(STRONG_LOCK, sleep=self.sleep)
        retry(self.session.renew, lambda exc: True, pauses)

    def _claim_in_time(self) -> None:
        for _ in range(CLAIM_TRIES - 1):
            if self.claim():
                return
            self.sleep(CLAIM_PAUSE_SECONDS)
        if not self.claim():
            raise self.plan.error(
                f"{self.plan.title}: another migrate is running on table "
                f"{self.plan.table}{self._name_claimants()}. Wait for it to end, then "
                f"run migrate again."
            )

    def _name_claimants(self) -> str:
        # Who was killed may still be at work on the server, and wait for others.
        sessions: Sequence[str] = []
        with suppress(DatabaseError):
            sessions = self.find_claimants()
        return f": {', which waits for '.join(sessions)}" if sessions else ""

    def find_claimants(self) -> Sequence[str]:
        """Return the session that has the claim, and those that it waits for."""
        return []

    def claim(self) -> bool:
        """Return whether the table could be claimed; released with the session."""
        return True

    def release(self) -> None:
        """Give back what claim() took."""

    def is_passing(self, exc: DatabaseError) -> bool:
        """Return whether `exc` is about a lock, so that the next try may work."""
        return False

    def check_keys_at_once(self) -> None:
        """In a transaction, check foreign keys with each statement, not at its end."""

    def limit_wait(self) -> None:
        """In a transaction, give up soon on a lock that somebody else has."""

    def blockers(self, *, with_sql: bool = True) -> Sequence[str]:
        """
        Return who holds locks on the table, a clause for each session.

        And what they run if `with_sql`, where SHOW_VALUES allows it.
        """
        return []

    def change_table(self, function: Callable[[], Result]) -> Result:
        """Call `function` until it gets a strong lock; else name who holds locks."""
        return self._retry(function, STRONG_LOCK)

    def change_rows(self, function: Callable[[], Result]) -> Result:
        """Call `function`, the transaction of one batch, until it gets its rows."""
        return self._retry(function, BATCH)

    def work_long(self, function: Callable[[], Result]) -> Result:
        """Call `function`, which may take long, again where others were in its way."""
        return self._retry(function, LONG_WORK)

    def work_online(self, title: str, function: Callable[[], object]) -> None:
        """Call `function`, a long statement that keeps nobody waiting."""
        function()

    def name_limit(self, exc: Error) -> str | None:
        """Return the setting of the server that ended a statement; None if none did."""
        return None

    def pause_between(self, patience: Patience) -> Iterator[bool]:
        """Pause before each try but the first, and say who is waited for."""
        wait = Wait(self.plan, lambda: self.blockers(with_sql=False), self.clock)
        return pause_between(patience, sleep=self.sleep, on_refusal=wait.tell)

    def _retry(self, function: Callable[[], Result], patience: Patience) -> Result:
        try:
            return retry(function, self.is_passing, self.pause_between(patience))
        except DatabaseError as exc:
            if not self.is_passing(exc):
                raise
            raise self.make_error() from exc

    def make_error(self) -> BackfillError:
        """Return what to say where others held locks at each try, and who they are."""
        blockers = self.blockers()
        who = "".join(f"\n  {blocker}" for blocker in blockers)
        return self.plan.error(
            f"{self.plan.title}: could not lock table {self.plan.table}, because "
            f"other sessions held locks on it at each try."
            + (f" Sessions that hold locks on it:{who}\n" if blockers else " ")
            + "Wait for them or end them, then run migrate again to resume."
        )
