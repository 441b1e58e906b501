"""Give rows that collide in a unique column values of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Row
from safefield.backfill import Backfill
from safefield.exceptions import BadValue
from safefield.plan import Plan
from safefield.populate import function_name
from safefield.reports import MAX_BAD_ROWS, Finding
from safefield.rows import find_losers, has_sharing_rows, lock_rows, read_values
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

#: Numbers in a row for which only answers come that came before, until the row is
#: given up: the function has no others.
MAX_REPEATS = 1_000


class _Answer(NamedTuple):
    """
    What deduplicate says.

    Args:
        value (Any): As Django reads it from the column.
        prepared (tuple): Ready for the database, see Backfill.prepare().
        key (Any): Stands for the value in a dictionary.
    """

    value: Any
    prepared: tuple[Any, ...]
    key: Any


class _NoAnswer(Exception):
    """Raised from what deduplicate raised, or from its last answer being taken."""


@dataclass
class _Series:
    """Where the numbers of one value are, for a function that ignores the row."""

    first_key: Any
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
           row with the earliest key keeps it; a row that was given a new value,
           or in an altered column its first, gives way to one that was not.
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
            f"{kept} Fix {self.source} and run migrate again.",
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
            self._column_values(),
            column,
            lambda key: key in self.losers or key in self.filled,
        )

    # Numbering

    def _choose(self, found: dict[Any, Any]) -> list[tuple[Model, Any]]:
        """Return the rows with these keys and the free value of each, by key."""
        rows = self._read(list(found))
        self._look_ahead(rows, found)
        chosen = []
        for row in rows:
            if len(self.bad_rows) >= MAX_BAD_ROWS:
                break
            try:
                chosen.append((row, self._take(row, found[row.pk])))
            except Exception as exc:
                self.note_bad(row.pk, self.source, exc)
        return chosen

    def _read(self, keys: list[Any]) -> list[Model]:
        # SQLite takes an OR of composite keys, and not of many.
        size = PAGE_ROWS if len(self.writer.keys) > 1 else len(keys)
        rows: list[Model] = []
        for start in range(0, len(keys), size):
            rows += self.rows().filter(pk__in=keys[start : start + size])
        return sorted(rows, key=lambda row: row.pk)

    def _look_ahead(self, rows: Sequence[Model], found: dict[Any, Any]) -> None:
        """Ask the database about the answers that the rows are likely to get."""
        answers = []
        numbers: dict[Any, int] = {}
        for row in rows:
            value = found[row.pk]
            key = freeze(value)
            loser = self.losers.get(row.pk)
            series = self.series.get(key)
            start = series.next_number if series else 2
            number = loser.number if loser else numbers.get(key, start)
            numbers[key] = number + 1
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
            key = self._ask(row, value, 2).key
            series = self.series.setdefault(freeze(value), _Series(key))
            if series.first_key == key:
                # The function does not look at the row, so the numbers that
                # other rows of this value have need not be asked again: a
                # hundred thousand rows that share a value would ask five
                # billion times.
                loser.number = series.next_number
        ahead = 1
        for number, answer in self._answers(row, loser):
            if answer.key not in self.known:
                self._learn(
                    self._ask(row, loser.original, number + step)
                    for step in range(ahead)
                )
                ahead = min(ahead * 2, QUESTION_VALUES)
            if self.known[answer.key]:
                self.known[answer.key] = False
                loser.number = number + 1
                if series is not None:
                    series.next_number = max(series.next_number, loser.number)
                return self._get_only(answer)
        raise AssertionError("unreachable: _answers() raises at its end")

    def _get_only(self, answer: _Answer) -> Any:
        """
        Return what is written of an answer that means one column.

        Raises:
            BadValue: It means others too.
        """
        prepared, *others = answer.prepared
        if names := ", ".join(field.name for other in others for field in other):
            raise BadValue(f"assigning it also changes {names}")
        return prepared

    def _answers(self, row: Model, loser: _Loser) -> Iterator[tuple[int, _Answer]]:
        """
        Yield the different answers for a row and their numbers.

        Raises:
            BadValue: There are no more.
        """
        seen: set[Any] = set()
        repeats = 0
        for number in range(loser.number, MAX_NUMBER):
            answer = self._ask(row, loser.original, number)
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
                    f"answer{'s' if count > 1 else ''} for n from {loser.number:,} to "
                    f"{number:,}, and all are taken"
                )
        raise BadValue(f"none of {MAX_NUMBER:,} answers is free")

    def _ask(self, row: Model, value: Any, number: int) -> _Answer:
        """
        Return the answer for one number.

        Raises:
            ValidationError: It is not a good value.
        """
        answer = self.answer(row, value, number)
        if self.assignment is None:
            columns = {self.plan.field: answer}
        else:
            columns = self.assign(self.assignment.copy(row), answer)
        prepared = self.prepare(columns)
        answer = columns[self.plan.field]
        if not self.values.accepts(answer):
            answer = self.values.clean(answer)
        return _Answer(answer, prepared, freeze(answer))

    def _learn(self, answers: Iterable[_Answer]) -> None:
        """Ask the database which of the answers are free."""
        unknown = {a.key: a.value for a in answers if a.key not in self.known}
        column = self.plan.field.attname
        # Lists and dicts are free until the database says otherwise: not every
        # database, nor driver, takes them in such a question.
        asked = [value for key, value in unknown.items() if key is value]
        found = (
            self._column_values()
            .filter(**{f"{column}__in": asked})
            .values_list(column, flat=True)
        )
        taken = set(map(freeze, found))
        # A value that was not asked for in this spelling is one that the
        # collation takes for the same; most often it is about the case.
        folded = {_fold(value) for value in taken.difference(unknown)}
        for key in unknown:
            self.known[key] = key not in taken and _fold(key) not in folded

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
            live = dict(read_values(lock_rows(queryset), column))
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
            _NoAnswer: There is no other value.
        """
        key, values = prepared
        loser = _Loser(values[0])
        # The value itself is tried first.
        answers = self._answers(row, loser)
        while True:
            try:
                with transaction.atomic(using=self.alias):
                    self.writer.write([(key, values)])
                return
            except IntegrityError as exc:
                if find_violation(exc) is not Violation.UNIQUE:
                    raise
            try:
                _, answer = next(answers)
            except Exception as exc:
                raise _NoAnswer from exc
            values = answer.prepared

    def note_refused(self, pk: Any, exc: Exception) -> None:
        """Take note of the row; deduplicate may be what refused it."""
        if isinstance(exc, _NoAnswer) and isinstance(exc.__cause__, Exception):
            self.note_bad(pk, self.source, exc.__cause__)
        else:
            super().note_refused(pk, exc)


def freeze(value: Any) -> Any:
    """Return what stands for `value` as a key of a dictionary."""
    try:
        hash(value)
    except TypeError:
        # Lists of an array, and what JSON is made of.
        return repr(value)
    return value


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
