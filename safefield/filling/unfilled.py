"""Find rows that still have no value when their batch is written, and say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import QuerySet

from safefield.backends.base.writer import Row
from safefield.exceptions import BadRow

#: Reasons that no value of populate is the cause of.
UNKEPT = "the database kept no value: a trigger or rule undoes the UPDATE"
BY_THE_DATABASE = (UNKEPT, "the database raised ")


class Written(NamedTuple):
    """What the database was given for one batch: primary keys, and a row of each."""

    keys: list[Any]
    rows: list[Row]


class Unfilled:
    """
    Rows that the UPDATEs of a walk left without a value.

    The database says of each UPDATE how many rows it took, so that a look at the rows
    themselves is seldom needed.

    Args:
        get_rows (Callable): Gives the rows that have no value.
        looks_always (bool): Whether each batch is read again when it is written, and
            not only the first.
    """

    def __init__(
        self, get_rows: Callable[[], QuerySet[Any, Any]], *, looks_always: bool
    ) -> None:
        self.get_rows = get_rows
        self._looks_always = looks_always
        self._looks_next = True

    def check(self, written: Written, count: int) -> list[BadRow]:
        """Return the rows that have kept no value, where `count` are said to have."""
        looks, self._looks_next = self._looks_next, self._looks_always
        if not looks and count >= len(written.keys):
            return []
        keys = [
            key
            for key, (_, values) in zip(written.keys, written.rows, strict=True)
            if values[0] is not None
        ]
        if not keys:
            return []
        rows = self.get_rows().filter(pk__gte=keys[0], pk__lte=keys[-1])
        empty = set(rows.order_by("pk").values_list("pk", flat=True))
        found = [BadRow(key, UNKEPT) for key in keys if key in empty]
        if found:
            # Where it happens once, it happens again.
            self._looks_next = self._looks_always = True
        return found
