"""What the catalogue says of one column."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LiveColumn"]


@dataclass(frozen=True)
class LiveColumn:
    """
    What the catalogue says of a column.

    Args:
        null (bool): Whether it takes NULL.
        has_default (bool): Whether the database has a default for it.
        type (str | None): Its type as the database spells it; None where
            safefield does not compare types.
    """

    null: bool
    has_default: bool
    type: str | None = None
