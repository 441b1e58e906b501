"""Signals that end a run become exceptions, and the run puts away its things."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What process managers and deploy tools send, and what comes when a terminal goes
#: away with the connection to its machine. Windows has no SIGHUP.
SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Terminated(KeyboardInterrupt):
    """
    One of SIGNALS, whose number is the argument.

    A KeyboardInterrupt, so that drivers cancel the statement under way.
    """


class Stopped(SystemExit, KeyboardInterrupt):
    """
    The end of a run that was told to stop; what there is to say has been said.

    Python ends with its code and without a traceback. Who handles Ctrl-C finds it too.
    """


#: What a run fails of while it puts away its things; a signal has nothing to add.
_cause: BaseException | None = None


@contextmanager
def stoppable() -> Iterator[None]:
    """
    Let SIGNALS raise Terminated in the block.

    Only in the main thread, and not those that somebody else handles, or ignores as
    nohup does.
    """
    is_main = threading.current_thread() is threading.main_thread()
    ours = [
        number
        for number in SIGNALS
        if is_main and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> None:
    if _cause is not None:
        return
    # Once: a second one must not interrupt what the first one made begin.
    for each in SIGNALS:
        if signal.getsignal(each) is _terminate:
            signal.signal(each, signal.SIG_IGN)
    raise Terminated(number)


@contextmanager
def undisturbed(cause: BaseException) -> Iterator[None]:
    """Let none of SIGNALS interrupt the block; the run fails of `cause` anyway."""
    global _cause  # one process, one handler
    outer, _cause = _cause, cause
    try:
        yield
    finally:
        _cause = outer


def find_interrupt(exc: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt after which `exc` was raised, if there is one."""
    # What is raised while a run clears up has the cause of that behind it, too.
    while exc is not _cause and exc is not None:
        if isinstance(exc, KeyboardInterrupt):
            return exc
        exc = exc.__context__
    return None
