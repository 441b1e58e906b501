"""The text that SQLite keeps of a table, in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Definition", "checks_of", "name_of", "quote", "words"]

#: A name, a text, a comment, a word, blanks, or one other character.
TOKEN = re.compile(
    r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\'(?:[^\']|\'\')*\''
    r"|--[^\n]*|/\*.*?\*/|\w+|\s+|.",
    re.DOTALL,
)

#: Words that begin what is not a column; the name of a column is quoted then.
#: Source: https://www.sqlite.org/lang_createtable.html.
CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}


def quote(name: str) -> str:
    """Return a name quoted, whatever is in it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


class Definition(NamedTuple):
    """
    A CREATE TABLE.

    Args:
        head (str): Up to its first bracket.
        parts (tuple[str, ...]): Columns and constraints, as they were written.
        tail (str): From its last bracket on.
    """

    head: str
    parts: tuple[str, ...]
    tail: str

    @classmethod
    def parse(cls, sql: str) -> Definition:
        """Return the pieces of a CREATE TABLE that SQLite has taken."""
        bounds = []
        depth = 0
        for match in TOKEN.finditer(sql):
            depth += (match[0] == "(") - (match[0] == ")")
            if (match[0], depth) in {("(", 1), (",", 1), (")", 0)}:
                bounds.append(match.start())
            if match[0] == ")" and depth == 0:
                break
        parts = tuple(sql[start + 1 : end] for start, end in pairwise(bounds))
        return cls(sql[: bounds[0]], parts, sql[bounds[-1] :])

    @property
    def sql(self) -> str:
        """The whole text."""
        return f"{self.head}({','.join(self.parts)}{self.tail}"

    @property
    def has_rowid(self) -> bool:
        """Whether the rows have numbers of their own."""
        return "WITHOUT" not in words(self.tail)

    @property
    def is_strict(self) -> bool:
        """Whether the table takes only values of its columns' types."""
        return "STRICT" in words(self.tail)

    def rename(self, old: str, new: str) -> Definition:
        """Return the same of a table that has another name for a while."""
        # A check may name its own table, but need not.
        parts = tuple(_drop_qualifier(part, old) for part in self.parts)
        return Definition(f"CREATE TABLE {quote(new)} ", parts, self.tail)

    def find_checks(self, column: str) -> list[str]:
        """Return the checks in the definition of a column, with their names."""
        return [
            check
            for part in self.parts
            if name_of(part) == column.lower()
            for check in checks_of(part)
        ]

    def add(self, text: str) -> Definition:
        """Return the same with one more column, before the constraints."""
        parts = list(self.parts)
        last = max(place for place, part in enumerate(parts) if name_of(part))
        return self._replace(parts=(*parts[: last + 1], f" {text}", *parts[last + 1 :]))

    def change(self, column: str, text: str | None) -> Definition:
        """Return the same with another text for a column, or without it."""
        parts = []
        for part in self.parts:
            if name_of(part) != column.lower():
                parts.append(part)
            elif text is not None:
                parts.append(f" {text}")
        return self._replace(parts=tuple(parts))


def name_of(part: str) -> str | None:
    """Return the name of the column in lower case; None for a constraint."""
    for token in TOKEN.findall(part):
        if token.isspace() or token.startswith(("--", "/*")):
            continue
        return None if token.upper() in CONSTRAINTS else _unquote(token)
    return None


def checks_of(part: str) -> Iterator[str]:
    """Yield each CHECK (...) of a part, with the CONSTRAINT and the name before it."""
    tokens = [
        match
        for match in TOKEN.finditer(part)
        if not match[0].isspace() and not match[0].startswith(("--", "/*"))
    ]
    depth = 0
    start = None
    for place, token in enumerate(tokens):
        if depth == 0 and token[0].upper() == "CHECK":
            is_named = place > 1 and tokens[place - 2][0].upper() == "CONSTRAINT"
            start = tokens[place - 2 if is_named else place].start()
        depth += (token[0] == "(") - (token[0] == ")")
        if depth == 0 and token[0] == ")" and start is not None:
            yield part[start : token.end()]
            start = None


def _drop_qualifier(part: str, table: str) -> str:
    """Return a part without the name of the table before the names of columns."""
    tokens = TOKEN.findall(part)
    kept: list[str] = []
    for token in tokens:
        if token == "." and kept and _unquote(kept[-1]) == table.lower():
            kept.pop()
        else:
            kept.append(token)
    return "".join(kept)


def _unquote(token: str) -> str:
    """Return the name that a token stands for, in lower case."""
    if token[0] in "\"`['":
        token = token[1:-1].replace(token[0] * 2, token[0])
    return token.lower()


def words(text: str) -> set[str]:
    """Return the words of a text, in upper case."""
    return {token.upper() for token in TOKEN.findall(text)}
