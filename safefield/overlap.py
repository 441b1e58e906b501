"""Let the database write one part of a batch while Python computes the next."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Overlap"]

#: Seconds that a thread may go on while another one is waiting. With Python's own
#: 0.005 each step of a statement waits for a part of the batch, and nothing is gained:
#: a row took 10.1 µs on PostgreSQL, without overlap 10.3, and 8.7 with 0.0002; shorter
#: still made no difference (2026-11-21).
SWITCH_SECONDS = 0.0001


class Overlap:
    """
    Statements that a thread sends while its caller goes on.

    They go over the caller's connection, in its transaction. Whatever the caller
    asks the database meanwhile waits until the statement under way is through; from
    then on the connection is the caller's own, and nothing overlaps any more.

    Args:
        connection (BaseDatabaseWrapper): Of the caller. Its driver must let another
            thread use it.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection: Any = connection
        #: Whether the caller has asked the database nothing in any block so far.
        self.is_quiet = True
        self._caller = 0
        self._pending: Future[None] | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """
        Let statements be started in the block; it ends when they are through.

        Raises:
            Exception: What a statement raised.
        """
        self._caller = threading.get_ident()
        self._pending = None
        self.connection.inc_thread_sharing()
        try:
            # Whatever happens, the pool waits for its thread.
            with (
                switch_often(),
                self.connection.execute_wrapper(self._give_way),
                ThreadPoolExecutor(1, "safefield") as self._pool,
            ):
                yield
                self._finish()
        finally:
            self.connection.dec_thread_sharing()

    def start(self, function: Callable[..., None], *arguments: Any) -> bool:
        """
        Call `function` in the thread, unless that is at work.

        Returns:
            bool: Whether it is called.

        Raises:
            Exception: What the statement before it raised.
        """
        is_busy = self._pending is not None and not self._pending.done()
        if is_busy or not self.is_quiet:
            return False
        self._finish()
        self._pending = self._pool.submit(function, *arguments)
        return True

    def settle(self) -> None:
        """Wait until nothing is under way, whatever came of it."""
        if self._pending is not None:
            self._pending.exception()

    def _finish(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _give_way(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        if threading.get_ident() == self._caller:
            self.is_quiet = False
            # What it raised is not for populate, which might not pass it on.
            self.settle()
        return execute(*arguments)


@contextmanager
def switch_often() -> Iterator[None]:
    """Let Python change between its threads more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
