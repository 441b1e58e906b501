"""
What safefield raises.

CommandError
└── SafefieldError      anything that safefield refuses to do
    └── BackfillError   one backfill that could not be carried out
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.core.management import CommandError

#: Categories of characters that a terminal obeys instead of showing them, or that
#: change what is shown beside them.
#: Source: https://www.unicode.org/reports/tr44/#General_Category_Values
UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def escape(text: str) -> str:
    """Return `text` with control characters as Python writes them."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in UNSHOWN
        else character
        for character in text
    )


class BadValue(ValidationError):
    """A value that safefield refuses; nothing of the value is in the text."""


class FailedAssignment(BadValue):
    """A value that cannot be assigned; its cause is what was raised."""


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
    traceback. Control characters in the text are escaped, but for line ends.
    """

    def __init__(self, message: str, *args: Any, **options: Any) -> None:
        super().__init__("\n".join(map(escape, message.split("\n"))), *args, **options)


class BackfillError(SafefieldError):
    """
    Raised when a backfill cannot be carried out.

    Args:
        message (str): The whole text for the person who runs migrate.
        model (str): Label of the model, such as "films.Movie".
        field (str): Name of the field, such as "slug".
        rows (Sequence[BadRow]): The rows that were refused, by primary
            key; empty when the cause is not in the rows.
    """

    def __init__(
        self, message: str, *, model: str, field: str, rows: Sequence[BadRow] = ()
    ) -> None:
        super().__init__(message)
        self.model = model
        self.field = field
        self.rows = list(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is pickled and copied, in spite of its keyword arguments."""
        make = partial(type(self), model=self.model, field=self.field)
        return make, self.args, self.__dict__
