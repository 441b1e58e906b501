"""Where the person who runs migrate looks: the lines below those of migrate."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Any, TextIO

from safefield.exceptions import escape

#: Characters of the bar: at the least, and at the most.
LEAST_BAR, LONGEST_BAR = 10, 40

#: To the beginning of the line, and clear it. Source: VT100.
_CLEAR = "\r\x1b[2K"

#: As deep as what migrate prints below "Running migrations:", and a little more.
INDENT = "    "


class Console:
    """
    Lines below the one that migrate is printing, "  Applying films.0002…".

    Migrate leaves its line open, for the " OK" at its end. Where that line goes to
    the same place, the first of ours ends it, and the last of ours is left open.

    Args:
        stream (TextIO): Where the lines go.
        stdout (TextIO | None): Where migrate prints; None if no line is open there.
        verbosity (int): As in `--verbosity`: with 0 there is nothing.
        is_lasting (bool): Whether there are lines that stay; else only the one of a
            terminal that is drawn again and again.
    """

    def __init__(
        self,
        stream: TextIO,
        stdout: TextIO | None = None,
        *,
        verbosity: int = 1,
        is_lasting: bool = True,
    ) -> None:
        self.stream = stream
        self.verbosity = verbosity
        self.is_lasting = is_lasting
        self.is_terminal = stream.isatty() and verbosity > 0
        self.is_shared = stdout is not None and is_same_file(stream, stdout)
        self._is_below = False
        self._is_drawn = False

    def go_below(self) -> None:
        """End the line of migrate, or clear the one that is drawn."""
        if self.is_shared and self.verbosity and not self._is_below:
            self._write("\n")
        elif self._is_drawn:
            self._write(_CLEAR)
        self._is_below, self._is_drawn = True, False

    def print(self, text: str, *, is_last: bool = False) -> None:
        """Print a line that stays; the last one has room for the OK of migrate."""
        if not (self.verbosity and self.is_lasting):
            return
        self.go_below()
        is_open = is_last and self.is_shared
        self._write(f"{INDENT}{escape(text)}" + ("" if is_open else "\n"))
        self._is_below = not is_open

    def draw(self, text: str) -> None:
        """Draw the line that is drawn again and again, if this is a terminal."""
        if not self.is_terminal:
            return
        if not self._is_drawn:
            self.go_below()
        self._write(f"{_CLEAR}{escape(text)[: get_columns()]}")
        self._is_drawn = True

    def close(self, *, has_failed: bool) -> None:
        """Clear what is drawn, and leave a new line to the text of an error."""
        if self._is_drawn or has_failed:
            self.go_below()

    def _write(self, text: str) -> None:
        # A terminal that went away, or a pipe that nobody reads, fails no migration.
        with suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


def is_same_file(stream: Any, other: Any) -> bool:
    """Return whether what is written to two streams comes to one place."""
    # Django wraps its own.
    stream, other = getattr(stream, "_out", stream), getattr(other, "_out", other)
    # Streams in memory have no number.
    with suppress(AttributeError, OSError, ValueError):
        return os.path.sameopenfile(stream.fileno(), other.fileno())
    return stream is other


def get_columns() -> int:
    """Return how many characters a line that is drawn again may have."""
    return shutil.get_terminal_size().columns - 1


def fit_bar(title: str, rows: int, total: int | None, rate: float, columns: int) -> str:
    """Return the line of a step that counts rows, as full as `columns` allow."""
    pace = f", {rate:,.0f} a second" if rows else ""
    if not total or rows > total:
        return fit(title, f": {rows:,} rows{pace}", columns)
    share = rows / total
    left = f", {spell_seconds((total - rows) / rate)} left" if rows and rate else ""
    count = f"{100 * share:3.0f}% {rows:,}/{total:,}"
    for rest in (f"{count}{pace}{left}", f"{count}{left}"):
        length = min(columns - len(f"{title} [] {rest}"), LONGEST_BAR)
        if length >= LEAST_BAR:
            full = int(length * share)
            return f"{title} [{'#' * full}{'.' * (length - full)}] {rest}"
    return fit(title, f" {count}{left}", columns)


def fit(title: str, rest: str, columns: int) -> str:
    """Return title and rest in so many columns: the title is what gives way."""
    room = max(columns - len(rest), 1)
    return f"{title if len(title) <= room else f'{title[: room - 1]}…'}{rest}"


def spell_seconds(seconds: float) -> str:
    """Return such as "3.2 s", "45 s", "12 min 5 s" or "3 h 12 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
