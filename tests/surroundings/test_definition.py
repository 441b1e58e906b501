"""SQLite: the text of a table in pieces."""

from __future__ import annotations

import re

import pytest

from safefield.backends.sqlite.definition import Definition


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ('CREATE TABLE "a(b" (c)', ("c",)),
        (
            "CREATE TABLE a (b TEXT DEFAULT ('x,''('), c)",
            ("b TEXT DEFAULT ('x,''(')", "c"),
        ),
        ("CREATE TABLE a(`b,`,[c(],'d''')", ("`b,`", "[c(]", "'d'''")),
        (
            "CREATE TABLE a (b, -- (\n c /* ), */ AS (b+1))",
            ("b", "-- (\n c /* ), */ AS (b+1)"),
        ),
    ],
)
def test_pieces_of_a_definition(sql: str, parts: tuple[str, ...]) -> None:
    """Fails if a bracket or a comma in a name, a text or a comment counts."""
    definition = Definition.parse(sql)

    assert tuple(part.strip() for part in definition.parts) == parts
    assert re.sub(r"\s", "", definition.sql) == re.sub(r"\s", "", sql)
