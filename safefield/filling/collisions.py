"""Give rows that collide in a unique column values of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model

from safefield.backends import get_backend
from safefield.backends.base.writer import Row, Writer
from safefield.exceptions import BadRow
from safefield.filling.answers import Answers
from safefield.filling.attempts import try_page
from safefield.filling.bad_rows import (
    blame_row,
    make_bad_rows_error,
    tell_kept,
    try_each,
)
from safefield.filling.filled import FilledKeys
from safefield.filling.free_answers import FreeAnswers, Numbering
from safefield.filling.key_pages import Batch
from safefield.filling.preparation import Preparation
from safefield.filling.problems import tell_group
from safefield.filling.row_reader import RowReader
from safefield.filling.rows import (
    Loser,
    find_losers,
    has_sharing_rows,
    is_same,
    lock_unchanged,
    rows_with_values,
    sort_by_key,
)
from safefield.filling.target import Target
from safefield.filling.verify import empty_rows, tell_emptied
from safefield.filling.violations import Violation, find_violation
from safefield.numbering import numbered
from safefield.populate import function_name
from safefield.reports import MAX_BAD_ROWS

#: Colliding rows written in one transaction: about as many as a batch of the
#: fill comes to, see BATCH_SECONDS in batch_size.py.
PAGE_ROWS = 500

#: What is said of a row that would be given other values without end.
UNDONE = "the database did not keep its new value: a trigger or rule undoes the UPDATE"


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
    """

    def __init__(self, target: Target, filled: FilledKeys) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        self.reader = RowReader(target)
        self.filled = filled
        assert self.plan.deduplicate is not None
        self.source = function_name(self.plan.deduplicate)
        preparation = Preparation(self.plan, self.schema.connection)
        self.answers = Answers(self.plan.deduplicate, preparation, self.schema)
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
        before: dict[Any, Any] = {}
        while not bad_rows and (losers := self._find_losers()):
            for start in range(0, len(losers), limit):
                found = {each.key: each for each in losers[start : start + limit]}
                refused = self._find_unkept(found, before) or self._renumber(
                    found, MAX_BAD_ROWS - len(bad_rows)
                )
                self._empty_rows(found, refused)
                bad_rows += refused
            before = {each.key: each.value for each in losers}
        if bad_rows:
            is_undone = all(row.reason == UNDONE for row in bad_rows)
            advice = "Remove the cause" if is_undone else self.advise()
            raise make_bad_rows_error(
                self.plan,
                bad_rows,
                f" is to be unique{tell_group(self.plan)}, and some rows could not be "
                f"given a value of their own",
                f"{self._tell_rest(bad_rows)} {advice}, then run migrate again.",
            )

    def _find_unkept(
        self, found: Mapping[Any, Loser], before: Mapping[Any, Any]
    ) -> list[BadRow]:
        """Return rows that still have the value in place of which they got another."""
        return [
            BadRow(key, UNDONE)
            for key, loser in found.items()
            if key in before and is_same(self.schema, loser.value, before[key])
        ]

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
        is_new = self.plan.old_field is None
        ours = [is_new or bad.pk in self.filled for bad in bad_rows]
        kept = "All rows keep their values."
        if any(ours):
            kept = tell_emptied(has_others=not all(ours))
        return tell_kept(self.schema, kept)

    def advise(self) -> str:
        """Return what to do about rows for which no answer is good."""
        if self.plan.deduplicate is numbered:
            # Which is nobody's to fix.
            return "Write a function of your own as deduplicate"
        return f"Fix {self.source}"

    # Finding

    def _find_losers(self) -> list[Loser]:
        """Return the rows that must give way, each value's by key."""
        if not has_sharing_rows(self.schema):
            return []
        return find_losers(
            self.schema, lambda key: key in self.free_answers or key in self.filled
        )

    # Renumbering

    def _renumber(self, found: Mapping[Any, Loser], most_bad: int) -> list[BadRow]:
        """Give these rows other values; return those that get none."""
        chosen, bad_rows = self._choose(found, most_bad)
        keys = list(chosen)
        for first in range(0, len(keys), PAGE_ROWS):
            page = {key: chosen[key] for key in keys[first : first + PAGE_ROWS]}
            write = partial(self._write_page, page, found)
            bad_rows += try_page(self.schema, write, skips_locked=False).bad_rows
        return bad_rows

    def _choose(
        self, found: Mapping[Any, Loser], most_bad: int
    ) -> tuple[dict[Any, Row], list[BadRow]]:
        """Return what to write into the rows, by key, and the rows that are bad."""
        colliders = self._read(list(found))
        self.free_answers.look_ahead(((key, row) for key, _, row in colliders), found)
        chosen: dict[Any, Row] = {}
        bad_rows: list[BadRow] = []
        for key, written_key, row in colliders:
            if len(bad_rows) >= most_bad:
                break
            try:
                value = self.free_answers.take(row, found[key])
            except Exception as exc:
                bad_rows.append(blame_row(self.schema, key, self.source, exc))
            else:
                chosen[key] = (written_key, (value,))
        return chosen, bad_rows

    def _read(self, keys: list[Any]) -> list[tuple[Any, tuple[Any, ...], Model]]:
        """Return rows behind their keys, which are read before deduplicate has them."""
        # SQLite takes an OR of composite keys, and not of many.
        size = PAGE_ROWS if len(self.writer.keys) > 1 else len(keys)
        colliders = [
            (self.reader.key_of(row), self.writer.key_of(row), row)
            for start in range(0, len(keys), size)
            for row in self.reader.rows().filter(pk__in=keys[start : start + size])
        ]
        return sort_by_key(colliders, itemgetter(0))

    def _write_page(
        self, page: Mapping[Any, Row], found: Mapping[Any, Loser], is_singly: bool
    ) -> Batch:
        """Write the chosen values; row by row, tell those that the database refuses."""
        if is_singly:

            def write(key: Any) -> None:
                self._write_unchanged({key: page[key]}, found)

            return Batch(bad_rows=try_each(self.schema, page, write))
        self._write_unchanged(page, found)
        return Batch()

    def _write_unchanged(
        self, page: Mapping[Any, Row], found: Mapping[Any, Loser]
    ) -> None:
        """Write the chosen values into rows that are still as they were found."""
        values = {key: found[key].value for key in page}
        same = lock_unchanged(self.schema, values)
        self.writer.write([page[key] for key in page if key in same])
        self.schema.settle()

    # After the unique index stands

    def write_numbered(
        self, writer: Writer, pk: Any, written: Row, row: Model, value: Any
    ) -> Sequence[BadRow]:
        """
        Write one row; into a column that is unique already, numbered if needed.

        Args:
            writer (Writer): Writes where there is no value.
            written (Row): The row as it takes it.
            value (Any): What populate gave, as Django reads it from the column.

        Returns:
            Sequence[BadRow]: The row, if there is no other value.

        Raises:
            IntegrityError: The refusal was not about the value being taken.
        """
        key, values = written
        # The value itself is tried first.
        answers = self.free_answers.iterate(row, Numbering(value))
        while True:
            try:
                with transaction.atomic(using=self.target.alias):
                    writer.write([(key, values)])
                return ()
            except IntegrityError as exc:
                is_unique = find_violation(exc) is Violation.UNIQUE
                if not is_unique or self._is_about_others(value):
                    raise
            try:
                _, answer = next(answers)
            except Exception as exc:
                return [blame_row(self.schema, pk, self.source, exc)]
            value, values = answer.value, answer.prepared

    def _is_about_others(self, value: Any) -> bool:
        """
        Return whether a refusal is not about this value, but that of a trigger.

        A new column that is not unique yet may have an index that is invalid, and
        refuses only what another row has.
        """
        if self.plan.old_field is not None or self.schema.catalogue.has_unique():
            return False
        rows = rows_with_values(self.schema)
        return not rows.filter(**{self.plan.field.attname: value}).exists()
