"""What the demo writes, and how it looks."""

from __future__ import annotations

import difflib
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.core.management.color import Style

#: Columns at the most: longer lines are tiring on a wide terminal.
MAX_COLUMNS = 88

#: Unchanged lines shown around a change.
CONTEXT_LINES = 2

#: Columns that a column of a table keeps however narrow the terminal is.
MIN_WIDTH = 8


class Screen:
    """
    Writes the parts of the story.

    Args:
        stdout (OutputWrapper): The command's own.
        style (Style): The command's own: it knows whether colours are wanted.
    """

    def __init__(self, stdout: OutputWrapper, style: Style) -> None:
        self.stdout = stdout
        self.style = style
        self.columns = min(shutil.get_terminal_size().columns, MAX_COLUMNS)
        # A title with an accent must not end the demo where output is ASCII.
        reconfigure = getattr(stdout._out, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

    @property
    def is_colored(self) -> bool:
        """Whether text is written in colour."""
        return self.style.SUCCESS("") != ""

    def write(self, text: str = "") -> None:
        """Write a line, at once: commands write to the same terminal."""
        self.stdout.write(text)
        self.stdout.flush()

    def say(self, text: str) -> None:
        """Write a paragraph."""
        self.write(
            textwrap.fill(
                " ".join(text.split()),
                self.columns,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    def begin_step(self, number: int, title: str) -> None:
        """Write the headline of a step."""
        self.write()
        headline = f"{number}. {title}"
        self.write(self.style.MIGRATE_HEADING(headline))
        self.write(self.style.MIGRATE_HEADING("-" * min(len(headline), self.columns)))

    def show_command(self, command: str) -> None:
        """Write a command as it is typed."""
        self.write()
        self.write(self.style.HTTP_INFO(f"$ {command}"))

    def show_output(self, text: str) -> None:
        """Write what a command wrote."""
        for line in text.strip("\n").splitlines():
            self.write(line)

    def show_file(self, path: str, text: str) -> None:
        """Write a file, with a bar at its left."""
        self.write()
        self.write(self.style.MIGRATE_LABEL(path))
        for line in text.splitlines():
            self.write(f"  | {line}".rstrip())

    def show_difference(self, path: str, old: str, new: str) -> None:
        """Write what changed in a file."""
        self.write()
        self.write(self.style.MIGRATE_LABEL(path))
        paint = {"+": self.style.SUCCESS, "-": self.style.ERROR}
        for position, place in enumerate(find_changed_places(old, new)):
            if position > 0:
                self.write("  ...")
            for line in place:
                self.write(paint.get(line[:1], str)(f"  {line}".rstrip()))

    def show_table(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table, its widest columns cut until it fits the terminal."""
        cells = [[str(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
        while sum(widths) + 2 * len(widths) > self.columns and max(widths) > MIN_WIDTH:
            widths[widths.index(max(widths))] -= 1
        numeric = [isinstance(value, (int, float)) for value in rows[0]]
        self.write()
        for position, row in enumerate(
            [list(names), ["-" * w for w in widths], *cells]
        ):
            line = "  " + "  ".join(
                shorten(cell, width).rjust(width)
                if is_numeric
                else shorten(cell, width).ljust(width)
                for cell, width, is_numeric in zip(row, widths, numeric, strict=True)
            )
            line = line.rstrip()
            self.write(self.style.MIGRATE_LABEL(line) if position == 0 else line)

    def confirm(self, claim: str, found: object, expected: object) -> None:
        """
        Write a claim that holds.

        Raises:
            CommandError: It does not hold.
        """
        if found != expected:
            raise CommandError(
                f"This should be so, and is not: {claim}. Found {found!r}, expected "
                f"{expected!r}."
            )
        self.write(f"  {self.style.SUCCESS('OK')}  {claim}")


def find_changed_places(old: str, new: str) -> list[list[str]]:
    """Return the changed places with the lines around them, marked +, - or a space."""
    old_lines, new_lines = old.splitlines(), new.splitlines()
    matcher = difflib.SequenceMatcher(None, old_lines, new_lines, autojunk=False)
    places = []
    for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
        place = []
        for kind, start, end, new_start, new_end in group:
            if kind == "equal":
                place += [f"  {line}" for line in old_lines[start:end]]
                continue
            place += [f"- {line}" for line in old_lines[start:end]]
            place += [f"+ {line}" for line in new_lines[new_start:new_end]]
        while not place[0].strip():
            del place[0]
        while not place[-1].strip():
            del place[-1]
        places.append(place)
    return places


def shorten(text: str, width: int) -> str:
    """Return `text`, cut if it is wider."""
    return text if len(text) <= width else text[: width - 3] + "..."
