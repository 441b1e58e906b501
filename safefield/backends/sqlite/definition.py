"""The text that SQLite keeps of a table, in pieces."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.backends.utils import strip_quotes

from safefield.backends.base.sql import fetch_value

#: A name in quotes, and any name.
QUOTED = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]'
NAME = rf"(?:{QUOTED}|\w+)"

#: A name, a text, a comment, a word, blanks, or one other character.
TOKEN = re.compile(
    rf"{QUOTED}|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|\w+|\s+|.",
    re.DOTALL,
)

#: A foreign key, of tokens with a blank between them.
#: Source: https://www.sqlite.org/syntax/foreign-key-clause.html.
REFERENCES = re.compile(
    rf"(?:CONSTRAINT {NAME} )?REFERENCES {NAME}(?: \([^)]*\))?"
    r"(?: ON \w+ (?:SET \w+|NO ACTION|\w+)| MATCH \w+"
    r"|(?: NOT)? DEFERRABLE(?: INITIALLY \w+)?)*",
    re.IGNORECASE,
)

#: Words that begin what is not a column; the name of a column is quoted then.
#: Source: https://www.sqlite.org/lang_createtable.html.
CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}


#: What SQLite takes for the same: only those letters, whatever Python says.
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """Return a name as SQLite compares it with others."""
    return name.translate(LOWER)


def quote(name: str) -> str:
    """Return a name quoted, whatever is in it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


class Definition(NamedTuple):
    """A CREATE TABLE."""

    #: Up to its first bracket.
    head: str
    #: Columns and constraints, as they were written.
    parts: tuple[str, ...]
    #: From its last bracket on.
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

    @classmethod
    def read(cls, connection: Any, table: str) -> Definition:
        """Return the pieces of the text of a table that is there."""
        # A temporary table comes before another one of that name.
        sql = fetch_value(
            connection,
            "SELECT sql FROM sqlite_temp_master WHERE type = 'table' "
            "AND name = %s COLLATE NOCASE UNION ALL "
            "SELECT sql FROM sqlite_master WHERE type = 'table' "
            "AND name = %s COLLATE NOCASE",
            [strip_quotes(table)] * 2,
        )
        return cls.parse(sql)

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

    def find_collation(self, column: str) -> str | None:
        """
        Return the collation that a column has of its own.

        Django's introspection divides the text at each comma and blank, also in a
        CHECK (... IN (1, 2, 3)), and fails there.
        """
        depth = 0
        for token, following in pairwise(_meaningful(self.find_part(column))):
            depth += (token[0] == "(") - (token[0] == ")")
            if depth == 0 and token[0].upper() == "COLLATE":
                return _unquote(following[0]).upper()
        return None

    def find_uniques(self, column: str) -> Iterator[str]:
        """Yield the name, '' if there is none, of each UNIQUE on a column alone."""
        for part in self.parts:
            texts = [match[0] for match in _meaningful(part)]
            of_column = name_of(part) == fold(column)
            depth = 0
            for place, text in enumerate(texts):
                depth += (text == "(") - (text == ")")
                if depth or text.upper() != "UNIQUE":
                    continue
                # UNIQUE (column) after the columns.
                names = texts[place + 1 : place + 4]
                of_column_alone = (
                    name_of(part) is None
                    and names[::2] == ["(", ")"]
                    and _unquote(names[1]) == fold(column)
                )
                if of_column or of_column_alone:
                    is_named = place > 1 and texts[place - 2].upper() == "CONSTRAINT"
                    yield _spelled(texts[place - 1]) if is_named else ""

    def find_part(self, column: str) -> str:
        """Return the definition of a column; empty if there is none."""
        return next((part for part in self.parts if name_of(part) == fold(column)), "")

    def add(self, text: str) -> Definition:
        """Return the same with one more column, before the constraints."""
        parts = list(self.parts)
        last = max(place for place, part in enumerate(parts) if name_of(part))
        return self._replace(parts=(*parts[: last + 1], f" {text}", *parts[last + 1 :]))

    def change(self, column: str, text: str | None) -> Definition:
        """Return the same with another text for a column, or without it."""
        parts = []
        for part in self.parts:
            if name_of(part) != fold(column):
                parts.append(part)
            elif text is not None:
                parts.append(f" {text}")
        return self._replace(parts=tuple(parts))


def name_of(part: str) -> str | None:
    """Return the name of the column, folded; None for a constraint."""
    for match in _meaningful(part):
        return None if match[0].upper() in CONSTRAINTS else _unquote(match[0])
    return None


def checks_of(part: str) -> Iterator[str]:
    """Yield each CHECK (...) of a part, with the CONSTRAINT and the name before it."""
    tokens = _meaningful(part)
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


def references_of(part: str) -> list[str]:
    """Return each REFERENCES … of a part, with the CONSTRAINT before it."""
    return REFERENCES.findall(" ".join(token[0] for token in _meaningful(part)))


def _meaningful(part: str) -> list[re.Match[str]]:
    """Return the tokens of a part without blanks and comments."""
    return [
        match
        for match in TOKEN.finditer(part)
        if not match[0].isspace() and not match[0].startswith(("--", "/*"))
    ]


def _drop_qualifier(part: str, table: str) -> str:
    """Return a part without the name of the table before the names of columns."""
    tokens = TOKEN.findall(part)
    kept: list[str] = []
    for token in tokens:
        if token == "." and kept and _unquote(kept[-1]) == fold(table):
            kept.pop()
        else:
            kept.append(token)
    return "".join(kept)


def _unquote(token: str) -> str:
    """Return the name that a token stands for, folded."""
    return fold(_spelled(token))


def _spelled(token: str) -> str:
    """Return the name that a token stands for."""
    if token[0] == "[":
        return token[1:-1]
    if token[0] in "\"`'":
        return token[1:-1].replace(token[0] * 2, token[0])
    return token


def words(text: str) -> set[str]:
    """Return the words of a text, in upper case."""
    return {token.upper() for token in TOKEN.findall(text)}
