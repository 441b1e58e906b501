"""Let the database write one part of a batch while Python computes the next."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from copy import copy
from functools import partial
from typing import Any

from safefield.backends.base.writer import Row, Writer

#: Seconds that a thread may go on while another one is waiting. With Python's own
#: 0.005 each step of a statement waits for a part of the batch, and nothing is gained.
SWITCH_SECONDS = 0.0001

#: What Django and its users get a cursor from.
CURSORS = ("cursor", "chunked_cursor")


class Overlap:
    """
    A thread that writes while its caller computes.

    It uses the caller's connection, in the caller's transaction. If the caller asks
    the database anything meanwhile, that waits until the statement under way is
    through; from then on the connection is the caller's own, and nothing overlaps.

    Args:
        writer (Writer): What the caller writes with.
    """

    def __init__(self, writer: Writer) -> None:
        self.connection: Any = writer.connection
        #: Whether the caller has asked the database nothing so far.
        self.is_quiet = True
        # Of the thread alone.
        self._writer: Any = copy(writer)
        self._pool: ThreadPoolExecutor | None = None
        self._pending: Future[int] | None = None
        self._count = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """
        Let parts be written in the block; it ends when they are.

        Raises:
            Exception: What a statement raised.
        """
        if not (self._writer.overlaps and self.is_quiet and self._is_plain()):
            yield
            return
        self._writer.connection = self._get_twin()
        self._count = 0
        pool = ThreadPoolExecutor(1, "safefield")
        try:
            # Whatever happens, the pool waits for its thread.
            with switch_often(), self._watched(), pool as self._pool:
                try:
                    yield
                    self.finish()
                except KeyboardInterrupt:
                    self._cancel()
                    raise
        finally:
            self._pool = self._pending = None

    def start(self, rows: Sequence[Row]) -> bool:
        """
        Write `rows`, unless the thread is still writing others.

        Returns:
            bool: Whether they are being written.

        Raises:
            Exception: What the statement before it raised.
        """
        is_busy = self._pending is not None and not self._pending.done()
        if self._pool is None or is_busy or not self.is_quiet:
            return False
        self.finish()
        # In the caller's context, for what looks there, such as a tenant's name.
        run = copy_context().run
        self._pending = self._pool.submit(run, self._writer.write, rows)
        return True

    def finish(self) -> None:
        """
        Wait until nothing is under way.

        Raises:
            Exception: What the statement raised, or that populate broke the
                transaction, of which the thread knows nothing.
        """
        if self._pending is not None:
            self._count += self._pending.result()
            self._pending = None
            self.connection.validate_no_broken_transaction()

    def take_count(self) -> int:
        """Return how many rows the parts have changed since it was asked last."""
        count, self._count = self._count, 0
        return count

    def _is_plain(self) -> bool:
        """Return whether nobody but Django does something around the statements."""
        # Such as add what they keep for the thread they were called in.
        return (
            type(self.connection).__module__.startswith("django.")
            and not self.connection.execute_wrappers
            and not any(name in vars(self.connection) for name in CURSORS)
        )

    def _get_twin(self) -> Any:
        """Return the connection as the thread may use it: the same, unwatched."""
        twin = copy(self.connection)
        twin.inc_thread_sharing()
        # One that populate adds is for what populate asks.
        twin.execute_wrappers = []
        return twin

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Notice when the caller is about to ask the database something."""
        caller = threading.get_ident()

        def watch(
            name: str, original: Callable[..., Any], *args: Any, **kw: Any
        ) -> Any:
            if threading.get_ident() != caller:
                # What belongs to the connection, such as its operations, knows
                # nothing of the twin.
                return getattr(self._writer.connection, name)(*args, **kw)
            self._give_way()
            return original(*args, **kw)

        def watch_older_cursors(execute: Callable[..., Any], *args: Any) -> Any:
            self._give_way()
            return execute(*args)

        for name in CURSORS:
            original = getattr(self.connection, name)
            setattr(self.connection, name, partial(watch, name, original))
        try:
            with self.connection.execute_wrapper(watch_older_cursors):
                yield
        finally:
            for name in CURSORS:
                delattr(self.connection, name)

    def _give_way(self) -> None:
        """Leave the connection to the caller from now on."""
        self.is_quiet = False
        if self._pending is not None:
            # What it raised is not for populate, which might not pass it on.
            self._pending.exception()

    def _cancel(self) -> None:
        """Cut short what may be waiting for somebody, where the driver can."""
        cancel = getattr(self.connection.connection, "cancel", None)
        if cancel and self._pending is not None and not self._pending.done():
            # It asks the server over a connection of its own, which it may not get.
            with suppress(Exception):
                cancel()


@contextmanager
def switch_often() -> Iterator[None]:
    """Let Python change between its threads more often."""
    before = sys.getswitchinterval()
    if before <= SWITCH_SECONDS:
        yield
        return
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
