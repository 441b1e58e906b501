"""MySQL and MariaDB: values that JSON_TABLE gives back as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Integers that JSON_TABLE gives as they are. It clips others without an error.
JSON_INTEGERS = {
    "bigint": (-(2**63), 2**63 - 1),
    "bigint unsigned": (0, 2**64 - 1),
}

#: Texts, whose character set is else the database's: what that has not becomes "?".
#: No length: what is too long for the column is for the column to refuse.
JSON_TEXT = "longtext CHARACTER SET utf8mb4"


def get_json_types(
    columns: Sequence[Sequence[Any]], kinds: Sequence[set[type]], charset: str
) -> list[str] | None:
    """Return the type of each column; None where JSON has no type for one."""
    types: list[str] = []
    for column, of_column in zip(columns, kinds, strict=True):
        json_type = None
        if of_column == {int}:
            json_type = get_integer_type(column)
        elif of_column == {str} and charset == "utf8mb4":
            json_type = JSON_TEXT
        if json_type is None:
            return None
        types.append(json_type)
    return types


def get_integer_type(values: Sequence[int]) -> str | None:
    """Return the type in which JSON_TABLE gives back `values`, if there is one."""
    least, most = min(values), max(values)
    return next(
        (
            json_type
            for json_type, (lowest, highest) in JSON_INTEGERS.items()
            if lowest <= least and most <= highest
        ),
        None,
    )
