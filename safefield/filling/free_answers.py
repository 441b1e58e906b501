"""Choose the first answer of deduplicate that no other row has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from safefield.exceptions import BadValue
from safefield.filling.answers import Answer, Answers, freeze
from safefield.filling.rows import Loser

#: Numbers that are tried for one row before it is given up as a bad row, so
#: that a function that never finds a free value cannot run forever.
MAX_NUMBER = 1_000_000

#: Numbers in a row for which only answers come that came before, until the row is
#: given up: the function has no others.
MAX_REPEATS = 1_000


@dataclass
class _Series:
    """Where the numbers of one value are, for a function that ignores the row."""

    first_key: Any
    next_number: int = 2


@dataclass
class Numbering:
    """Where a row that must give way is: its original value and the next number."""

    original: Any
    number: int = 2
    group: tuple[Any, ...] = ()


class FreeAnswers:
    """
    The answers for rows that must give way, each given to one row.

    Memory: one entry for each such row.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._numberings: dict[Any, Numbering] = {}
        self._series: dict[Any, _Series] = {}

    @property
    def originals(self) -> Mapping[Any, Any]:
        """What the rows had before they were to give way, by their keys."""
        return {key: found.original for key, found in self._numberings.items()}

    def __contains__(self, key: Any) -> bool:
        """Return whether the row with this key was given an answer, or refused one."""
        return key in self._numberings

    def look_ahead(
        self, rows: Iterable[tuple[Any, Model]], found: Mapping[Any, Loser]
    ) -> None:
        """Ask the database about the answers that rows, by key, are likely to get."""
        answers = []
        numbers: dict[Any, int] = {}
        for key, row in rows:
            _, value, group = found[key]
            frozen = freeze((value, *group))
            numbering = self._numberings.get(key)
            series = self._series.get(frozen)
            start = series.next_number if series else 2
            number = numbering.number if numbering else numbers.get(frozen, start)
            numbers[frozen] = number + 1
            with suppress(Exception):
                # What goes wrong here goes wrong in take() too, and is noted.
                original = numbering.original if numbering else value
                answers.append(self.answers.ask(row, original, number, group))
        self.answers.learn(answers)

    def take(self, row: Model, found: Loser) -> Any:
        """
        Return the first answer for a row that is free, ready for the database.

        Raises:
            ValidationError: There is none, or an answer is not a good value.
        """
        pk, value, group = found
        numbering = self._numberings.setdefault(pk, Numbering(value))
        numbering.group = group
        # Another row has it, or this one would not have to give way.
        self.answers.known[freeze((value, *group))] = False
        series = None
        if numbering.number == 2:
            key = self.answers.ask(row, value, 2, group).key
            series = self._series.setdefault(freeze((value, *group)), _Series(key))
            if series.first_key == key:
                # The function does not look at the row, so the numbers that
                # other rows of this value have need not be asked again: a
                # hundred thousand rows that share a value would ask five
                # billion times.
                numbering.number = series.next_number
        ahead = 1
        for number, answer in self.iterate(row, numbering):
            if answer.key not in self.answers.known:
                self.answers.learn(
                    self.answers.ask(row, numbering.original, number + step, group)
                    for step in range(ahead)
                )
                ahead = min(ahead * 2, self.answers.limit)
            if self.answers.known[answer.key]:
                self.answers.known[answer.key] = False
                numbering.number = number + 1
                if series is not None:
                    series.next_number = max(series.next_number, numbering.number)
                return get_only(answer)
        raise AssertionError("unreachable: iterate() raises at its end")

    def iterate(self, row: Model, numbering: Numbering) -> Iterator[tuple[int, Answer]]:
        """
        Yield the different answers for a row and their numbers.

        Raises:
            BadValue: There are no more.
        """
        seen: set[Any] = set()
        repeats = 0
        for number in range(numbering.number, MAX_NUMBER):
            answer = self.answers.ask(row, numbering.original, number, numbering.group)
            if answer.key not in seen:
                seen.add(answer.key)
                repeats = 0
                yield number, answer
                continue
            repeats += 1
            if repeats == MAX_REPEATS:
                count = len(seen)
                raise BadValue(
                    f"it gave only {count:,} different "
                    f"answer{'s' if count > 1 else ''} for n from "
                    f"{numbering.number:,} to {number:,}, and all are taken"
                )
        raise BadValue(f"none of {MAX_NUMBER:,} answers is free")


def get_only(answer: Answer) -> Any:
    """
    Return what is written of an answer that means one column.

    Raises:
        BadValue: It means others too.
    """
    prepared, *others = answer.prepared
    if names := ", ".join(field.name for other in others for field in other):
        raise BadValue(f"assigning it also changes {names}")
    return prepared
