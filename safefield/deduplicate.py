"""Give rows that collide in a unique column values of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Row
from safefield.backfill import Backfill
from safefield.exceptions import BadValue
from safefield.plan import Plan
from safefield.populate import function_name
from safefield.reports import Finding
from safefield.verify import find_losers, has_sharing_rows
from safefield.violations import Violation, find_violation

__all__ = ["Deduplication"]

#: Colliding rows written in one transaction: about as many as a batch of the
#: fill comes to, see BATCH_SECONDS in batches.py.
PAGE_ROWS = 500

#: Colliding rows numbered together, and answers in one question to the
#: database. Each question reads the column once, for there is no index yet.
#: Below the 32,766 parameters that SQLite takes, the least of all. Source:
#: https://www.sqlite.org/limits.html.
QUESTION_VALUES = 10_000

#: Numbers that are tried for one row before it is given up as a bad row, so
#: that a function that never finds a free value cannot run forever.
MAX_NUMBER = 1_000_000


@dataclass
class _Series:
    """Where the numbers of one value are, for a function that ignores the row."""

    first_answer: Any
    next_number: int = 2


@dataclass
class _Loser:
    """A row that must give way: its original value and the next number to try."""

    original: Any
    number: int = 2


class Deduplication(Backfill):
    """
    Find the rows that collide, in the eyes of the database, and renumber them.

    Steps:
        1. The database finds the rows that share a value. In each group the
           row with the earliest key keeps it; a row that was given a new
           value gives way to one that was not.
        2. The other rows, in the order of their keys, each get the first
           answer that is free. The database is asked for many answers at once
           which of them are taken.
        3. Again from 1, until no two rows share a value: the database may
           take two answers for the same that Python does not.

    Memory: one entry for each colliding row, and a page of rows.

    Re-run: a row that has its own value does not collide any more.
    """

    def __init__(self, plan: Plan, schema: Schema) -> None:
        super().__init__(plan, schema)
        assert plan.deduplicate is not None
        self.source = function_name(plan.deduplicate)
        self.answer = _bind_max_length(plan.deduplicate, plan.field.max_length)
        self.losers: dict[Any, _Loser] = {}
        self.series: dict[Any, _Series] = {}
        #: Whether an answer is free, for the answers that were asked about.
        self.known: dict[Any, bool] = {}

    def resolve(self) -> None:
        """
        Give every colliding row a value of its own.

        Raises:
            BackfillError: No value was to be had for some rows.
        """
        if self.schema.has_unique():
            return
        self.bad_rows = []
        while not self.bad_rows and (losers := self._find_losers()):
            for start in range(0, len(losers), QUESTION_VALUES):
                found = dict(losers[start : start + QUESTION_VALUES])
                chosen = self._choose(found)
                for first in range(0, len(chosen), PAGE_ROWS):
                    page = chosen[first : first + PAGE_ROWS]
                    self.patiently(partial(self._write_unchanged, page, found))
        kept = (
            "The other rows keep their values."
            if self.schema.commits
            else "Nothing was changed."
        )
        self.raise_bad(
            " is to be unique, and some rows could not be given a value of their own",
            f"{kept} Mend {self.source} and run migrate again.",
        )

    def find_others(self) -> list[Finding]:
        """Return nothing: rows that collide are not told, but renumbered."""
        return []

    # Finding

    def _column_values(self) -> QuerySet[Any, Any]:
        return (
            QuerySet(self.plan.new_model, using=self.alias)
            .filter(**{f"{self.plan.field.attname}__isnull": False})
            .order_by()
        )

    def _find_losers(self) -> list[tuple[Any, Any]]:
        """Return key and value of the rows that must give way, by key."""
        column = self.plan.field.attname
        if not has_sharing_rows(self._column_values(), column):
            return []
        return find_losers(
            self._column_values(), column, lambda key: key in self.losers
        )

    # Numbering

    def _choose(self, found: dict[Any, Any]) -> list[tuple[Model, Any]]:
        """Return the rows with these keys and the free value of each, by key."""
        rows = list(self.rows().filter(pk__in=list(found)).order_by("pk"))
        self._look_ahead(rows, found)
        chosen = []
        for row in rows:
            try:
                chosen.append((row, self._take(row, found[row.pk])))
            except Exception as exc:
                self.note_bad(row.pk, self.source, exc)
        return chosen

    def _look_ahead(self, rows: Sequence[Model], found: dict[Any, Any]) -> None:
        """Ask the database about the answers that the rows are likely to get."""
        answers = []
        numbers: dict[Any, int] = {}
        for row in rows:
            value = found[row.pk]
            loser = self.losers.get(row.pk)
            series = self.series.get(value)
            start = series.next_number if series else 2
            number = loser.number if loser else numbers.get(value, start)
            numbers[value] = number + 1
            with suppress(Exception):
                # What goes wrong here goes wrong in _take() too, and is noted.
                original = loser.original if loser else value
                answers.append(self._ask(row, original, number))
        self._learn(answers)

    def _take(self, row: Model, value: Any) -> Any:
        """
        Return the first answer for `row` that is free.

        Raises:
            ValidationError: There is none, or an answer is not a good value.
        """
        loser = self.losers.setdefault(row.pk, _Loser(value))
        series = None
        if loser.number == 2:
            answer = self._ask(row, value, 2)
            series = self.series.setdefault(value, _Series(answer))
            if series.first_answer == answer:
                # The function does not look at the row, so the numbers that
                # other rows of this value have need not be asked again: a
                # hundred thousand rows that share a value would ask five
                # billion times.
                loser.number = series.next_number
        ahead = 1
        previous = None
        for number in range(loser.number, MAX_NUMBER):
            answer = self._ask(row, loser.original, number)
            if answer not in self.known:
                self._learn(
                    self._ask(row, loser.original, number + step)
                    for step in range(ahead)
                )
                ahead = min(ahead * 2, QUESTION_VALUES)
            if self.known[answer]:
                self.known[answer] = False
                loser.number = number + 1
                if series is not None:
                    series.next_number = max(series.next_number, loser.number)
                return answer
            if answer == previous:
                raise BadValue(
                    "it gave the same answer for two numbers, and it is taken"
                )
            previous = answer
        raise BadValue(f"none of {MAX_NUMBER:,} answers is free")

    def _ask(self, row: Model, value: Any, number: int) -> Any:
        """
        Return the answer for one number, ready for the database.

        Raises:
            ValidationError: It is not a good value, or means other columns too.
        """
        prepared, *others = self._ask_for_columns(row, value, number)
        if names := ", ".join(field.name for other in others for field in other):
            raise BadValue(f"assigning it also changes {names}")
        return prepared

    def _ask_for_columns(self, row: Model, value: Any, number: int) -> tuple[Any, ...]:
        """Return the answer as compute() does a value: all that it means."""
        answer = self.answer(row, value, number)
        if self.assignment is None:
            return (self.values.prepare(answer),)
        return self.assign(self.assignment.copy(row), answer)

    def _learn(self, answers: Iterable[Any]) -> None:
        """Ask the database which of the answers are free."""
        unknown = [answer for answer in answers if answer not in self.known]
        column = self.plan.field.attname
        taken = set(
            self._column_values()
            .filter(**{f"{column}__in": unknown})
            .values_list(column, flat=True)
        )
        # A value that was not asked for in this spelling is one that the
        # collation takes for the same; most often it is about the case.
        folded = {_fold(value) for value in taken.difference(unknown)}
        for answer in unknown:
            self.known[answer] = answer not in taken and _fold(answer) not in folded

    def _write_unchanged(
        self, page: Sequence[tuple[Model, Any]], found: dict[Any, Any]
    ) -> None:
        """Write the chosen values into rows that are still as they were found."""
        column = self.plan.field.attname
        with transaction.atomic(using=self.alias):
            if self.schema.commits:
                self.schema.locks.limit_wait()
            queryset: QuerySet[Any, Any] = QuerySet(
                self.plan.new_model, using=self.alias
            ).filter(pk__in=[row.pk for row, _ in page])
            live = dict(self._lock(queryset).order_by("pk").values_list("pk", column))
            writer = self.writer_class(
                self.connection, self.plan.new_model, [self.plan.field]
            )
            writer.write(
                [
                    (writer.key_of(row), (value,))
                    for row, value in page
                    if row.pk in live and live[row.pk] == found[row.pk]
                ]
            )

    # After the unique index stands

    def write_one(self, row: Model, prepared: Row) -> None:
        """
        Write one row; into a column that is unique already, numbered if needed.

        Raises:
            IntegrityError: The refusal was not about the value being taken.
        """
        key, values = prepared
        loser = _Loser(values[0])
        while True:
            try:
                with transaction.atomic(using=self.alias):
                    self.writer.write([(key, values)])
                return
            except IntegrityError as exc:
                is_taken = find_violation(exc) is Violation.UNIQUE
                if not is_taken or loser.number > MAX_NUMBER:
                    raise
                values = self._ask_for_columns(row, loser.original, loser.number)
                loser.number += 1


def _fold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _bind_max_length(
    function: Callable[..., Any], max_length: int | None
) -> Callable[[Any, Any, int], Any]:
    """Give `function` the field's max_length if it takes one."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        # Some built-in functions have no signature to read.
        return function
    if "max_length" not in parameters:
        return function
    return lambda row, value, n: function(row, value, n, max_length=max_length)
