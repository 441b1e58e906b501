"""Tell the person at the terminal, or the log, how far a backfill is."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from tqdm import tqdm

__all__ = ["Progress", "is_heard", "note", "show_progress", "step", "track", "warn"]

logger = logging.getLogger("safefield")

#: Seconds between two lines in a log.
LOG_SECONDS = 10.0

#: How `-v 0` may be spelled. A migration is not told of it.
SILENT = (("-v", "0"), ("--verbosity", "0"))

# Of VT100: move down and up again, so that there is a line below, keeping the
# column; save the position; and, at the end, clear the line and go back to it.
_GO_BELOW = "\x1bD\x1b[A\x1b7\n"
_CLEAR = "\r\x1b[2K"
_GO_BACK = "\x1b8"


class Progress(Protocol):
    """What the engine tells its progress to."""

    def update(self, rows: int) -> object:
        """Take note that `rows` more rows are done."""


class Terminal:
    """
    The line below the one that migrate is printing, "  Applying films.0002…".

    It is there only while there is something to show. Afterwards the cursor is
    where it was, for migrate to print its " OK".

    Args:
        stream (TextIO): The terminal.
        is_shared (bool): Whether what migrate prints is on it too.
    """

    def __init__(self, stream: TextIO, *, is_shared: bool) -> None:
        self.stream = stream
        self.is_shared = is_shared
        self.is_below = False
        self.warnings: list[tuple[str, tuple[object, ...]]] = []

    def go_below(self) -> None:
        """Go to the line below, if not there already."""
        if self.is_shared and not self.is_below:
            self._write(_GO_BELOW)
        self.is_below = True

    def go_back(self) -> None:
        """Clear the line and leave the cursor where it was in the beginning."""
        if self.is_below:
            self._write(_CLEAR + (_GO_BACK if self.is_shared else ""))
        self.is_below = False

    def show(self, text: str) -> None:
        """Show `text` on the line."""
        self.go_below()
        columns = shutil.get_terminal_size().columns - 1
        self._write(_CLEAR + text[:columns])

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


_terminal: Terminal | None = None


@contextmanager
def show_progress(
    stream: TextIO | None = None, stdout: TextIO | None = None
) -> Iterator[None]:
    """
    Show progress on the terminal, if there is one, until the end of the block.

    Args:
        stream (TextIO | None): Where to show it; None is sys.stderr.
        stdout (TextIO | None): What migrate prints on; None is sys.stdout.
    """
    global _terminal  # one migrate, one terminal
    outer = _terminal
    stream, stdout = stream or sys.stderr, stdout or sys.stdout
    if outer is None and is_watched(stream, sys.argv):
        stdout.flush()
        _terminal = Terminal(stream, is_shared=stdout.isatty())
    try:
        yield
    finally:
        if outer is None and _terminal is not None:
            _terminal.go_back()
            if _terminal.warnings and _terminal.is_shared:
                stream.write("\n")
            for message, args in _terminal.warnings:
                logger.warning(message, *args)
        _terminal = outer


def is_watched(stream: TextIO, arguments: list[str]) -> bool:
    """Return whether somebody sees what is written to `stream`, and wants to."""
    pairs = zip(arguments, arguments[1:], strict=False)
    is_silent = any(pair in SILENT for pair in pairs) or any(
        argument in {"-v0", "--verbosity=0"} for argument in arguments
    )
    return stream.isatty() and not is_silent


def step(title: str) -> None:
    """Say that a step without a count of rows begins, such as "Checking …"."""
    logger.info("%s.", title)
    if _terminal is not None:
        _terminal.show(f"{title} …")


@contextmanager
def track(title: str, estimate: Callable[[], int | None]) -> Iterator[Progress]:
    """
    Yield the progress of one pass over a table.

    Args:
        title (str): What is being done, such as "Filling films.Movie.slug".
        estimate (Callable[[], int | None]): Says how many rows there are, about;
            called only where somebody wants to know.
    """
    if _terminal is None:
        log = _Log(
            title, _get_total(estimate) if logger.isEnabledFor(logging.INFO) else None
        )
        yield log
        log.finish()
        return
    _terminal.go_below()
    with tqdm(
        desc=title,
        total=_get_total(estimate),
        unit=" rows",
        file=_terminal.stream,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        yield bar


def warn(message: str, *args: object) -> None:
    """Log a warning; where progress is shown, when it is over."""
    if _terminal is None:
        logger.warning(message, *args)
    else:
        _terminal.warnings.append((message, args))


def note(message: str, *args: object) -> None:
    """Log one line that a person who watches migrate wants to know."""
    logger.info(message, *args)


def is_heard() -> bool:
    """Return whether anybody listens to what note() says."""
    return logger.isEnabledFor(logging.INFO)


class _Log:
    """A line in the log now and then."""

    def __init__(
        self,
        title: str,
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.total = total
        self.clock = clock
        self.rows = 0
        self.started = self.told = clock()

    def update(self, rows: int) -> None:
        self.rows += rows
        now = self.clock()
        if now - self.told < LOG_SECONDS:
            return
        self.told = now
        rate = self.rows / (now - self.started)
        of_total = left = ""
        if self.total and self.total > self.rows:
            of_total = f" of about {self.total:,}"
            left = f", about {(self.total - self.rows) / rate:,.0f} s left"
        note(
            "%s: %s%s rows, %s a second%s.",
            self.title,
            f"{self.rows:,}",
            of_total,
            f"{rate:,.0f}",
            left,
        )

    def finish(self) -> None:
        seconds = self.clock() - self.started
        note("%s: %s rows in %.1f s.", self.title, f"{self.rows:,}", seconds)


def _get_total(estimate: Callable[[], int | None]) -> int | None:
    # Never a failed run because counting failed.
    with suppress(Exception):
        return estimate()
    return None
