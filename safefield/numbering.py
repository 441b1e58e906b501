"""A ready function for deduplicate."""

from __future__ import annotations

from typing import Any

from safefield.exceptions import BadValue


def numbered(row: Any, value: Any, n: int, *, max_length: int | None = None) -> str:
    """
    Return `value` with a number: treasure-island-2, treasure-island-3, ….

    For AddFieldWithBackfill(deduplicate=safefield.numbered).

    Args:
        row (Model): The row; not looked at.
        value (str): The value that an earlier row has already.
        n (int): The number, from 2.
        max_length (int | None): Characters at the most. The value is cut,
            never the number. Given by safefield: the field's max_length.

    Raises:
        BadValue: `value` is not a text, or the number alone is too long.
    """
    if not isinstance(value, str):
        raise BadValue(
            f"safefield.numbered is for texts, and this value is of type "
            f"{type(value).__name__}"
        )
    suffix = f"-{n}"
    if max_length is not None:
        if len(suffix) > max_length:
            raise BadValue(
                f"{suffix} alone is longer than the field's max_length of {max_length}"
            )
        value = value[: max_length - len(suffix)]
    return f"{value.rstrip('-')}{suffix}"


# Where migration files are to look for it, which is where they are written to.
numbered.__module__ = "safefield"
