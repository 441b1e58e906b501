"""The rows that a run fills in a column where others had a value before."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

#: Keys other than integers that are kept, of about 100 bytes each.
MAX_OTHER_KEYS = 100_000

#: Integers that an array of 8 bytes for each takes.
LEAST, GREATEST = -(2**63), 2**63 - 1


class FilledKeys(Collection[Any]):
    """
    The primary keys of the rows that a run fills.

    Memory: 8 bytes for each integer, and MAX_OTHER_KEYS others.
    """

    def __init__(self) -> None:
        #: Ascending, as a walk goes through them.
        self._integers = array("q")
        self._others: set[Any] = set()
        #: Whether no key had to be left out.
        self.is_whole = True

    def update(self, keys: Iterable[Any]) -> None:
        """Take note that the rows with these keys are filled."""
        integers = self._integers
        for key in keys:
            last = integers[-1] if integers else LEAST - 1
            if type(key) is int and last < key <= GREATEST:
                integers.append(key)
            elif len(self._others) < MAX_OTHER_KEYS or key in self._others:
                self._others.add(key)
            else:
                self.is_whole = False

    def __contains__(self, key: object) -> bool:
        if key in self._others:
            return True
        if type(key) is not int:
            return False
        place = bisect_left(self._integers, key)
        return place < len(self._integers) and self._integers[place] == key

    def __iter__(self) -> Iterator[Any]:
        return chain(self._integers, self._others)

    def __len__(self) -> int:
        return len(self._integers) + len(self._others)
