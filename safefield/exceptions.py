"""
What safefield raises.

CommandError
└── SafefieldError      anything that safefield refuses to do
    └── BackfillError   one backfill that could not be carried out
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.core.management import CommandError

__all__ = ["BackfillError", "BadRow", "SafefieldError"]


class BadRow(NamedTuple):
    """
    One row that could not be filled, and why.

    Args:
        pk (Any): Primary key; a tuple for a composite one.
        reason (str): What is wrong, the same for all rows of which it is so.
        detail (str): What was found in this row, shortened; empty where
            SHOW_VALUES forbids it or there is nothing to show.
    """

    pk: Any
    reason: str
    detail: str = ""


class SafefieldError(CommandError):
    """
    Base of all errors of safefield.

    A CommandError, so that `manage.py migrate` prints the text and not a
    traceback.
    """


class BackfillError(SafefieldError):
    """
    Raised when a backfill cannot be carried out.

    Args:
        message (str): The whole text for the person who runs migrate.
        model (str): Label of the model, such as "films.Movie".
        field (str): Name of the field, such as "slug".
        rows (Sequence[BadRow]): The rows that stand in the way, by primary
            key; empty when the cause is not in the rows.
    """

    def __init__(
        self, message: str, *, model: str, field: str, rows: Sequence[BadRow] = ()
    ) -> None:
        super().__init__(message)
        self.model = model
        self.field = field
        self.rows = list(rows)
