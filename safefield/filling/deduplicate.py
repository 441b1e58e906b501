"""Give rows that collide in a unique column values of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Model, QuerySet

from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Row, Writer
from safefield.exceptions import BadValue
from safefield.filling.answers import Answer, Answers, freeze
from safefield.filling.assignment import snapshot
from safefield.filling.backfill import Backfill
from safefield.filling.rows import (
    Loser,
    find_losers,
    has_sharing_rows,
    lock_rows,
    read_values,
)
from safefield.filling.unfilled import Computed
from safefield.filling.verify import empty_rows, rows_with_values, tell_group
from safefield.filling.violations import Violation, find_violation
from safefield.numbering import numbered
from safefield.plan import Plan
from safefield.populate import function_name
from safefield.reports import MAX_BAD_ROWS, Finding

#: Colliding rows written in one transaction: about as many as a batch of the
#: fill comes to, see BATCH_SECONDS in batches.py.
PAGE_ROWS = 500

#: Numbers that are tried for one row before it is given up as a bad row, so
#: that a function that never finds a free value cannot run forever.
MAX_NUMBER = 1_000_000

#: Numbers in a row for which only answers come that came before, until the row is
#: given up: the function has no others.
MAX_REPEATS = 1_000


class _NoAnswer(Exception):
    """Raised from what deduplicate raised, or from its last answer being taken."""


class _Collider(NamedTuple):
    """
    A row that must give way.

    Args:
        key (Any): Its primary key, read before deduplicate has the row.
        written_key (tuple): The key as a writer takes it.
        row (Model): The row.
    """

    key: Any
    written_key: tuple[Any, ...]
    row: Model


@dataclass
class _Series:
    """Where the numbers of one value are, for a function that ignores the row."""

    first_key: Any
    next_number: int = 2


@dataclass
class _Numbering:
    """Where a row that must give way is: its original value and the next number."""

    original: Any
    number: int = 2
    group: tuple[Any, ...] = ()


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
        self.answers = Answers(plan.deduplicate, self, self._valued_rows)
        self.losers: dict[Any, _Numbering] = {}
        self.series: dict[Any, _Series] = {}
        #: What populate gave for the rows of a batch that are written one by one.
        self.given: dict[Any, Any] = {}

    def resolve(self) -> None:
        """
        Give every colliding row a value of its own.

        Raises:
            BackfillError: No value was to be had for some rows.
        """
        if self.schema.catalogue.has_unique():
            return
        self.bad_rows = []
        while not self.bad_rows and (losers := self._find_losers()):
            for start in range(0, len(losers), self.answers.limit):
                some = losers[start : start + self.answers.limit]
                found = {loser.key: loser for loser in some}
                chosen = self._choose(found)
                for first in range(0, len(chosen), PAGE_ROWS):
                    page = chosen[first : first + PAGE_ROWS]
                    self.patiently(partial(self._write_page, page, found))
                self._empty_bad_rows(found)
        self.raise_bad(
            f" is to be unique{tell_group(self.plan)}, and some rows could not be "
            f"given a value of their own",
            f"{self._tell_rest()} {self._advise_about_answers()} and run migrate "
            f"again.",
        )

    def _empty_bad_rows(self, found: Mapping[Any, Loser]) -> None:
        """Empty the bad rows among those of `found`, but for values from before."""
        if not self.schema.commits:
            return
        keys = [bad.pk for bad in self.bad_rows if bad.pk in found]
        if self.plan.old_field is not None:
            keys = [key for key in keys if key in self.filled]
        empty_rows(self.plan, self.schema, [(key, found[key].value) for key in keys])

    def _tell_rest(self) -> str:
        """Return what became of the rows."""
        if not self.schema.commits:
            return "Nothing was changed."
        if self.plan.old_field is None:
            return "The other rows keep their values, and these are empty again."
        ours = [bad.pk in self.filled for bad in self.bad_rows]
        if not any(ours):
            return "All rows keep their values."
        but = "" if all(ours) else ", but for values that were there before"
        return f"The other rows keep their values, and these are empty again{but}."

    def advise(self) -> str:
        """Return what to do about rows that could not be filled."""
        ours = [bad.reason.startswith(f"{self.source} ") for bad in self.bad_rows]
        if not any(ours):
            return super().advise()
        advice = self._advise_about_answers()
        if all(ours):
            return advice
        return f"{super().advise()}, {advice[0].lower()}{advice[1:]}"

    def _advise_about_answers(self) -> str:
        if self.plan.deduplicate is numbered:
            # Which is nobody's to fix.
            return "Write a function of your own as deduplicate"
        return f"Fix {self.source}"

    def find_others(self) -> list[Finding]:
        """Return nothing: rows that collide are not told, but renumbered."""
        return []

    # Finding

    def _valued_rows(self) -> QuerySet[Any, Any]:
        return rows_with_values(self.plan, self.alias)

    def _find_losers(self) -> list[Loser]:
        """Return the rows that must give way, each value's by key."""
        columns = self.plan.unique_columns
        if not has_sharing_rows(self._valued_rows(), columns):
            return []
        return find_losers(
            self._valued_rows(),
            columns,
            lambda key: key in self.losers or key in self.filled,
        )

    # Numbering

    def _choose(self, found: dict[Any, Loser]) -> list[tuple[Row, Any]]:
        """Return what to write into the rows with these keys, and their keys."""
        colliders = self._read(list(found))
        self._look_ahead(colliders, found)
        chosen = []
        for key, written_key, row in colliders:
            if len(self.bad_rows) >= MAX_BAD_ROWS:
                break
            try:
                value = self._take(row, found[key])
            except Exception as exc:
                self.note_bad(key, self.source, exc)
            else:
                chosen.append(((written_key, (value,)), key))
        return chosen

    def _read(self, keys: list[Any]) -> list[_Collider]:
        # SQLite takes an OR of composite keys, and not of many.
        size = PAGE_ROWS if len(self.writer.keys) > 1 else len(keys)
        colliders = [
            _Collider(self.key_of(row), self.writer.key_of(row), row)
            for start in range(0, len(keys), size)
            for row in self.rows().filter(pk__in=keys[start : start + size])
        ]
        return sorted(colliders, key=attrgetter("key"))

    def _look_ahead(
        self, colliders: Sequence[_Collider], found: dict[Any, Loser]
    ) -> None:
        """Ask the database about the answers that the rows are likely to get."""
        answers = []
        numbers: dict[Any, int] = {}
        for key, _, row in colliders:
            _, value, group = found[key]
            frozen = freeze((value, *group))
            loser = self.losers.get(key)
            series = self.series.get(frozen)
            start = series.next_number if series else 2
            number = loser.number if loser else numbers.get(frozen, start)
            numbers[frozen] = number + 1
            with suppress(Exception):
                # What goes wrong here goes wrong in _take() too, and is noted.
                original = loser.original if loser else value
                answers.append(self.answers.ask(row, original, number, group))
        self.answers.learn(answers)

    def _take(self, row: Model, found: Loser) -> Any:
        """
        Return the first answer for a row that is free.

        Raises:
            ValidationError: There is none, or an answer is not a good value.
        """
        pk, value, group = found
        loser = self.losers.setdefault(pk, _Numbering(value))
        loser.group = group
        series = None
        if loser.number == 2:
            key = self.answers.ask(row, value, 2, group).key
            series = self.series.setdefault(freeze((value, *group)), _Series(key))
            if series.first_key == key:
                # The function does not look at the row, so the numbers that
                # other rows of this value have need not be asked again: a
                # hundred thousand rows that share a value would ask five
                # billion times.
                loser.number = series.next_number
        ahead = 1
        for number, answer in self._answers(row, loser):
            if answer.key not in self.answers.known:
                self.answers.learn(
                    self.answers.ask(row, loser.original, number + step, group)
                    for step in range(ahead)
                )
                ahead = min(ahead * 2, self.answers.limit)
            if self.answers.known[answer.key]:
                self.answers.known[answer.key] = False
                loser.number = number + 1
                if series is not None:
                    series.next_number = max(series.next_number, loser.number)
                return self._get_only(answer)
        raise AssertionError("unreachable: _answers() raises at its end")

    def _get_only(self, answer: Answer) -> Any:
        """
        Return what is written of an answer that means one column.

        Raises:
            BadValue: It means others too.
        """
        prepared, *others = answer.prepared
        if names := ", ".join(field.name for other in others for field in other):
            raise BadValue(f"assigning it also changes {names}")
        return prepared

    def _answers(self, row: Model, loser: _Numbering) -> Iterator[tuple[int, Answer]]:
        """
        Yield the different answers for a row and their numbers.

        Raises:
            BadValue: There are no more.
        """
        seen: set[Any] = set()
        repeats = 0
        for number in range(loser.number, MAX_NUMBER):
            answer = self.answers.ask(row, loser.original, number, loser.group)
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

    def _write_page(
        self, page: Sequence[tuple[Row, Any]], found: Mapping[Any, Loser]
    ) -> None:
        """Write the chosen values; take note of those that the database refuses."""
        try:
            self._write_unchanged(page, found)
        except Exception as exc:
            is_passing = isinstance(exc, DatabaseError) and (
                self.schema.locks.is_passing(exc)
            )
            if is_passing or self.connection.needs_rollback:
                raise
            for single in page:
                try:
                    self._write_unchanged([single], found)
                except Exception as refusal:
                    self.note_refused(single[1], refusal)

    def _write_unchanged(
        self, page: Sequence[tuple[Row, Any]], found: Mapping[Any, Loser]
    ) -> None:
        """Write the chosen values into rows that are still as they were found."""
        column = self.plan.field.attname
        with transaction.atomic(using=self.alias):
            if self.schema.commits:
                self.schema.locks.limit_wait()
            queryset: QuerySet[Any, Any] = QuerySet(
                self.plan.new_model, using=self.alias
            ).filter(pk__in=[pk for _, pk in page])
            live = dict(read_values(lock_rows(queryset), column))
            self._unconditional_writer.write(
                [row for row, pk in page if pk in live and live[pk] == found[pk].value]
            )
            self.schema.settle()

    @cached_property
    def _unconditional_writer(self) -> Writer:
        """What writes also where there is a value."""
        return self.writer_class(
            self.connection, self.plan.new_model, [self.plan.field]
        )

    # After the unique index stands

    def note_value(self, pk: Any, value: Any) -> None:
        """Keep the value for deduplicate, which may be asked about it."""
        if not self.values.accepts(value):
            # As Django reads it from the column.
            value = snapshot(self.values.clean(value))
        self.given[pk] = value

    def write_one(self, computed: Computed) -> None:
        """
        Write one row; into a column that is unique already, numbered if needed.

        Raises:
            IntegrityError: The refusal was not about the value being taken.
            _NoAnswer: There is no other value.
        """
        row, pk, (key, values) = computed
        value = self.given.pop(pk)
        loser = _Numbering(value)
        # The value itself is tried first.
        answers = self._answers(row, loser)
        while True:
            try:
                with transaction.atomic(using=self.alias):
                    self.writer.write([(key, values)])
                return
            except IntegrityError as exc:
                is_unique = find_violation(exc) is Violation.UNIQUE
                if not is_unique or self._is_about_others(value):
                    raise
            try:
                _, answer = next(answers)
            except Exception as exc:
                raise _NoAnswer from exc
            value, values = answer.value, answer.prepared

    def _is_about_others(self, value: Any) -> bool:
        """
        Return whether a refusal is not about this value, but that of a trigger.

        A new column that is not unique yet may have an index that is invalid, and
        refuses only what another row has.
        """
        if self.plan.old_field is not None or self.schema.catalogue.has_unique():
            return False
        rows = self._valued_rows().filter(**{self.plan.field.attname: value})
        return not rows.exists()

    def note_refused(self, pk: Any, exc: Exception) -> None:
        """Take note of the row; deduplicate may be what refused it."""
        if isinstance(exc, _NoAnswer) and isinstance(exc.__cause__, Exception):
            self.note_bad(pk, self.source, exc.__cause__)
        else:
            super().note_refused(pk, exc)
