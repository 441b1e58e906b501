"""Signals that end a run become exceptions, and the run puts away its things."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopped", "Terminated", "find_interrupt", "stoppable", "undisturbed"]


class Terminated(KeyboardInterrupt):
    """
    SIGTERM, which process managers and deploy tools send.

    A KeyboardInterrupt, so that drivers cancel the statement under way.
    """


class Stopped(SystemExit, KeyboardInterrupt):
    """
    The end of a run that was told to stop; what there is to say has been said.

    Python ends with its code and without a traceback. Who handles Ctrl-C finds it too.
    """


#: Whether a run is putting away its things, and SIGTERM has nothing to add.
_is_clearing_up = False


@contextmanager
def stoppable() -> Iterator[None]:
    """
    Let SIGTERM raise Terminated in the block.

    Only in the main thread, and not where somebody else handles it.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not is_ours:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> None:
    if not _is_clearing_up:
        # Once: a second one must not interrupt what the first one made begin.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no SIGTERM interrupt the block; the run ends without it."""
    global _is_clearing_up  # one process, one handler
    outer, _is_clearing_up = _is_clearing_up, True
    try:
        yield
    finally:
        _is_clearing_up = outer


def find_interrupt(exc: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt behind which `exc` was raised, if there is one."""
    while exc is not None and not isinstance(exc, KeyboardInterrupt):
        exc = exc.__context__
    return exc
