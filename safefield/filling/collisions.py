"""Give rows that collide in a unique column values of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Model, QuerySet

from safefield.backends import get_backend
from safefield.backends.base.writer import Row, Writer
from safefield.exceptions import BadRow
from safefield.filling.answers import Answers
from safefield.filling.bad_rows import blame_row, blame_value, make_bad_rows_error
from safefield.filling.filled import FilledKeys
from safefield.filling.free_answers import Collider, FreeAnswers, NoAnswer, Numbering
from safefield.filling.preparation import Preparation
from safefield.filling.problems import rows_with_values, tell_group
from safefield.filling.row_reader import RowReader
from safefield.filling.rows import (
    Loser,
    find_losers,
    has_sharing_rows,
    lock_unchanged,
)
from safefield.filling.target import Target
from safefield.filling.verify import empty_rows
from safefield.filling.violations import Violation, find_violation
from safefield.numbering import numbered
from safefield.populate import function_name
from safefield.reports import MAX_BAD_ROWS

#: Colliding rows written in one transaction: about as many as a batch of the
#: fill comes to, see BATCH_SECONDS in batch_size.py.
PAGE_ROWS = 500

#: What is written into a row that must give way, and its primary key.
Chosen = tuple[Row, Any]


class Collisions:
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

    Args:
        filled (FilledKeys): Knows which rows were filled, where others had a value.
    """

    def __init__(
        self,
        target: Target,
        reader: RowReader,
        preparation: Preparation,
        filled: FilledKeys,
    ) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        self.reader = reader
        self.filled = filled
        assert self.plan.deduplicate is not None
        self.source = function_name(self.plan.deduplicate)
        self.answers = Answers(self.plan.deduplicate, preparation, self._valued_rows)
        self.free_answers = FreeAnswers(self.answers)
        #: What writes also where there is a value.
        self.writer: Writer = get_backend(self.schema.connection).writer(
            self.schema.connection, self.plan.new_model, [self.plan.field]
        )

    @property
    def originals(self) -> Mapping[Any, Any]:
        """What the rows had that had to give way, by their primary keys."""
        return self.free_answers.originals

    def resolve(self) -> None:
        """
        Give every colliding row a value of its own.

        Raises:
            BackfillError: No value was to be had for some rows.
        """
        if self.schema.catalogue.has_unique():
            return
        bad_rows: list[BadRow] = []
        limit = self.answers.limit
        while not bad_rows and (losers := self._find_losers()):
            for start in range(0, len(losers), limit):
                found = {each.key: each for each in losers[start : start + limit]}
                refused = self._renumber(found, MAX_BAD_ROWS - len(bad_rows))
                self._empty_rows(found, refused)
                bad_rows += refused
        if bad_rows:
            raise make_bad_rows_error(
                self.plan,
                bad_rows,
                f" is to be unique{tell_group(self.plan)}, and some rows could not be "
                f"given a value of their own",
                f"{self._tell_rest(bad_rows)} {self.advise()}, then run migrate again.",
            )

    def _empty_rows(
        self, found: Mapping[Any, Loser], refused: Sequence[BadRow]
    ) -> None:
        """Empty the rows that were refused, but for values from before."""
        if not self.schema.commits:
            return
        keys = [bad.pk for bad in refused]
        if self.plan.old_field is not None:
            keys = [key for key in keys if key in self.filled]
        empty_rows(self.plan, self.schema, [(key, found[key].value) for key in keys])

    def _tell_rest(self, bad_rows: Sequence[BadRow]) -> str:
        """Return what became of the rows."""
        if not self.schema.commits:
            return "Nothing was changed."
        if self.plan.old_field is None:
            return "The other rows keep their values, and these are NULL again."
        ours = [bad.pk in self.filled for bad in bad_rows]
        if not any(ours):
            return "All rows keep their values."
        but = "" if all(ours) else ", but for values that were there before"
        return f"The other rows keep their values, and these are NULL again{but}."

    def advise(self) -> str:
        """Return what to do about rows for which no answer is good."""
        if self.plan.deduplicate is numbered:
            # Which is nobody's to fix.
            return "Write a function of your own as deduplicate"
        return f"Fix {self.source}"

    # Finding

    def _valued_rows(self) -> QuerySet[Any, Any]:
        return rows_with_values(self.plan, self.target.alias)

    def _find_losers(self) -> list[Loser]:
        """Return the rows that must give way, each value's by key."""
        columns = self.plan.unique_columns
        if not has_sharing_rows(self._valued_rows(), columns):
            return []
        return find_losers(
            self._valued_rows(),
            columns,
            lambda key: key in self.free_answers or key in self.filled,
        )

    # Renumbering

    def _renumber(self, found: Mapping[Any, Loser], most_bad: int) -> list[BadRow]:
        """Give these rows other values; return those that get none."""
        chosen, bad_rows = self._choose(found, most_bad)
        for first in range(0, len(chosen), PAGE_ROWS):
            write = partial(self._write_page, chosen[first : first + PAGE_ROWS], found)
            if self.schema.commits:
                bad_rows += self.schema.locks.change_rows(write)
            else:
                bad_rows += write()
        return bad_rows

    def _choose(
        self, found: Mapping[Any, Loser], most_bad: int
    ) -> tuple[list[Chosen], list[BadRow]]:
        """Return what to write into the rows, and the rows that are bad."""
        colliders = self._read(list(found))
        self.free_answers.look_ahead(colliders, found)
        chosen: list[Chosen] = []
        bad_rows: list[BadRow] = []
        for key, written_key, row in colliders:
            if len(bad_rows) >= most_bad:
                break
            try:
                value = self.free_answers.take(row, found[key])
            except Exception as exc:
                bad_rows.append(blame_row(self.schema, key, self.source, exc))
            else:
                chosen.append(((written_key, (value,)), key))
        return chosen, bad_rows

    def _read(self, keys: list[Any]) -> list[Collider]:
        # SQLite takes an OR of composite keys, and not of many.
        size = PAGE_ROWS if len(self.writer.keys) > 1 else len(keys)
        colliders = [
            Collider(self.reader.key_of(row), self.writer.key_of(row), row)
            for start in range(0, len(keys), size)
            for row in self.reader.rows().filter(pk__in=keys[start : start + size])
        ]
        return sorted(colliders, key=attrgetter("key"))

    def _write_page(
        self, page: Sequence[Chosen], found: Mapping[Any, Loser]
    ) -> list[BadRow]:
        """Write the chosen values; return the rows that the database refuses."""
        try:
            self._write_unchanged(page, found)
        except Exception as exc:
            is_passing = isinstance(exc, DatabaseError) and (
                self.schema.locks.is_passing(exc)
            )
            if is_passing or self.schema.connection.needs_rollback:
                raise
        else:
            return []
        refused = []
        for single in page:
            try:
                self._write_unchanged([single], found)
            except Exception as exc:
                refused.append(blame_value(self.schema, single[1], exc))
        return refused

    def _write_unchanged(
        self, page: Sequence[Chosen], found: Mapping[Any, Loser]
    ) -> None:
        """Write the chosen values into rows that are still as they were found."""
        with transaction.atomic(using=self.target.alias):
            if self.schema.commits:
                self.schema.locks.limit_wait()
            same = lock_unchanged(
                self.target.written_rows(),
                self.plan.field.attname,
                {pk: found[pk].value for _, pk in page},
            )
            self.writer.write([row for row, pk in page if pk in same])
            self.schema.settle()

    # After the unique index stands

    def write_numbered(
        self, writer: Writer, written: Row, row: Model, value: Any
    ) -> None:
        """
        Write one row; into a column that is unique already, numbered if needed.

        Args:
            writer (Writer): Writes where there is no value.
            written (Row): The row as it takes it.
            value (Any): What populate gave, as Django reads it from the column.

        Raises:
            IntegrityError: The refusal was not about the value being taken.
            NoAnswer: There is no other value.
        """
        key, values = written
        # The value itself is tried first.
        answers = self.free_answers.iterate(row, Numbering(value))
        while True:
            try:
                with transaction.atomic(using=self.target.alias):
                    writer.write([(key, values)])
                return
            except IntegrityError as exc:
                is_unique = find_violation(exc) is Violation.UNIQUE
                if not is_unique or self._is_about_others(value):
                    raise
            try:
                _, answer = next(answers)
            except Exception as exc:
                raise NoAnswer(self.source, exc) from exc
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
