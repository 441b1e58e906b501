"""
Tell the person who runs migrate, and the log, what a backfill does.

Each line goes to the logger "safefield" (INFO). If no handler of the project's
LOGGING brings it to the terminal, it is printed on stderr as well: what migrate says
depends on `--verbosity` alone.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO

from safefield.console import Console, fit_bar, get_columns, spell_seconds
from safefield.exceptions import escape
from safefield.reports import count_rows

logger = logging.getLogger("safefield")

#: Seconds between two lines in a log.
LOG_SECONDS = 10.0

#: Seconds between two drawings of the bar.
DRAW_SECONDS = 0.1


#: Makes the console of the migrate that runs: a migration is not told what it was
#: asked for.
_make_console: Callable[[], Console] | None = None
_console: Console | None = None


def begin_command(
    verbosity: int,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    **_: Any,
) -> None:
    """Take note of what migrate was asked for: a receiver of pre_migrate."""
    global _make_console  # one migrate, one terminal
    _make_console = partial(
        Console, stderr or sys.stderr, stdout or sys.stdout, verbosity=verbosity
    )


def end_command(**_: Any) -> None:
    """Forget it: a receiver of post_migrate."""
    global _make_console
    _make_console = None


@contextmanager
def show_progress(verbosity: int | None = None) -> Iterator[None]:
    """
    Show progress until the end of the block, as migrate was asked to.

    Another command gives its verbosity, and leaves no lines. Where no command called,
    as in a test of the project, only the log is told.
    """
    global _console
    outer = _console
    if verbosity is not None:
        _console = Console(sys.stderr, verbosity=verbosity, is_lasting=False)
    elif _make_console is not None:
        _console = _make_console()
    has_failed = True
    try:
        yield
        has_failed = False
    finally:
        if _console is not None:
            _console.close(has_failed=has_failed)
        _console = outer


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say that a step without a count of rows begins, and how long it took."""
    started = time.monotonic()
    note("%s.", title, is_drawn=True)
    if _console is not None:
        _console.draw(title)
    yield
    note("%s: done in %s.", title, spell_seconds(time.monotonic() - started))


@contextmanager
def track(title: str, estimate: Callable[[], int | None]) -> Iterator[Counter]:
    """
    Yield what counts the rows of one pass over a table.

    `estimate` says how many there are, about; called only where somebody wants to know.
    """
    total = None
    # Never a failed run because counting failed.
    with suppress(Exception):
        total = estimate() if is_heard() else None
    counter = Counter(title, total)
    counter.begin()
    yield counter
    counter.finish()


def note(
    message: str, *args: object, is_drawn: bool = False, is_last: bool = False
) -> None:
    """
    Say one line that a person who watches migrate wants to know.

    `is_drawn`: a terminal shows it in another way. `is_last`: migrate prints its OK
    after it.
    """
    args = _escape_all(args)
    is_logged = _is_logged_to_terminal()
    if _console is not None and is_logged:
        _console.go_below()
    logger.info(message, *args)
    if _console is None or is_logged or (is_drawn and _console.is_terminal):
        return
    _console.print(message % args if args else message, is_last=is_last)


def finish(title: str, done: str, started: float) -> None:
    """
    Say the last line of an operation, after which migrate prints its OK.

    `started` is by time.monotonic().
    """
    seconds = spell_seconds(time.monotonic() - started)
    note("%s: done, %s in %s.", title, done, seconds, is_last=True)


def warn(message: str, *args: object) -> None:
    """Log a warning, on a line of its own."""
    if _console is not None:
        _console.go_below()
    logger.warning(message, *_escape_all(args))


def statement(sql: object) -> None:
    """Say a statement that changes the table, where that is wanted."""
    if _console is not None and shows_statements():
        _console.print(" ".join(str(sql).split()))


def shows_statements() -> bool:
    """Return whether statements are wanted."""
    return _console is not None and _console.verbosity > 1


@contextmanager
def show_statements(editor: Any) -> Iterator[None]:
    """Say each statement of a schema editor before it runs, where that is wanted."""
    execute = editor.execute

    def show_and_execute(sql: Any, params: Any = ()) -> Any:
        statement(sql)
        return execute(sql, params)

    editor.execute = show_and_execute
    try:
        yield
    finally:
        del editor.execute


def is_heard() -> bool:
    """Return whether anybody listens to what note() says."""
    is_shown = _console is not None and _console.verbosity > 0
    return is_shown or logger.isEnabledFor(logging.INFO)


def _escape_all(args: tuple[object, ...]) -> tuple[object, ...]:
    """Return what goes into a message, with nothing that a terminal would obey."""
    return tuple(escape(arg) if isinstance(arg, str) else arg for arg in args)


def _is_logged_to_terminal() -> bool:
    """Return whether the LOGGING of the project shows what is told."""
    if not logger.isEnabledFor(logging.INFO):
        return False
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            stream = getattr(handler, "stream", None)
            if (
                stream is not None
                and stream in (sys.stderr, sys.stdout)
                and handler.level <= logging.INFO
            ):
                return True
        current = current.parent if current.propagate else None
    return False


class Counter:
    """Counts the rows of a step, and shows them now and then."""

    def __init__(
        self,
        title: str,
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.total = total
        self.clock = clock
        self.rows = self.worked_on = 0
        self.started = self.told = self.drawn = clock()

    def begin(self) -> None:
        """Say that the step begins."""
        of_rows = "" if self.total is None else f": about {count_rows(self.total)}"
        note("%s%s.", self.title, of_rows, is_drawn=True)
        self._draw(0.0)

    def update(self, rows: int, worked_on: int | None = None) -> None:
        """
        Take note of more rows.

        Args:
            rows (int): Rows of the table that are behind.
            worked_on (int | None): Those of them that something was done with; None
                is all of them.
        """
        self.rows += rows
        self.worked_on += rows if worked_on is None else worked_on
        now = self.clock()
        if now - self.drawn >= DRAW_SECONDS:
            self.drawn = now
            self._draw(self.rows / (now - self.started))
        if now - self.told >= LOG_SECONDS:
            self.told = now
            self._tell(self.rows / (now - self.started))

    def finish(self) -> None:
        """Say what the step has done."""
        seconds = self.clock() - self.started
        rows = self.worked_on
        rate = f", {rows / seconds:,.0f} a second" if seconds and rows else ""
        note(
            "%s: done, %s in %s%s.",
            self.title,
            count_rows(rows),
            spell_seconds(seconds),
            rate,
        )

    def _draw(self, rate: float) -> None:
        if _console is not None:
            columns = get_columns()
            _console.draw(fit_bar(self.title, self.rows, self.total, rate, columns))

    def _tell(self, rate: float) -> None:
        of_total = left = ""
        if self.total and self.total > self.rows:
            of_total = f" of about {self.total:,}"
            left = f", about {spell_seconds((self.total - self.rows) / rate)} left"
        note(
            "%s: %s%s rows, %s a second%s.",
            self.title,
            f"{self.rows:,}",
            of_total,
            f"{rate:,.0f}",
            left,
            is_drawn=True,
        )
