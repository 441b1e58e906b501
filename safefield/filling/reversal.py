"""The way back: write what reverse says into the other fields of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from django.db import DatabaseError, transaction
from django.db.models import Model
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Writer
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import AnyField
from safefield.filling.bad_rows import blame_row, make_bad_rows_error, tell_kept
from safefield.filling.batch_size import MAX_ROWS
from safefield.filling.columns_read import ColumnsRead
from safefield.filling.key_pages import Batch, Page
from safefield.filling.marker import Marker
from safefield.filling.reverse_answers import Answer, ReverseAnswers
from safefield.filling.row_reader import RowReader
from safefield.filling.table_walk import Handle, TableWalk, Take
from safefield.filling.target import Target
from safefield.filling.violations import find_violation
from safefield.plan import Plan


class Reversal:
    """
    Write back what reverse says of each row.

    Re-run: a row that is reversed has NULL in the column, or in that of the marker
    where the field takes NULL or stays, so each is reversed once. In a transaction
    nothing has to be known.
    """

    max_rows = MAX_ROWS

    def __init__(self, plan: Plan, schema: Schema) -> None:
        self.plan = plan
        self.schema = schema
        self.model = plan.new_model
        self.marker: Marker | None = None
        #: The column that is set to NULL row by row.
        self.done: AnyField | None = None
        if plan.old_field is None and not plan.field.null:
            self.done = plan.interim_field
        elif schema.commits:
            self.marker = Marker(plan, schema)
            self.done = self.marker.field
        is_left = IsNull(Col(plan.table, self.done), False) if self.done else None
        self.target = Target(replace(plan, model=self.model), schema, is_left)
        self.reader = RowReader(self.target)
        self.answers = ReverseAnswers(plan, schema, self.reader)
        # Assigning begins with a copy of the row.
        reads_all = self.answers.assignment is not None
        self.columns = ColumnsRead(self.target.plan, reads_all=reads_all)
        self._writers: dict[tuple[type[Model], tuple[AnyField, ...]], Writer] = {}

    def run(self) -> int:
        """
        Reverse every row.

        Returns:
            int: Rows that were reversed.

        Raises:
            BackfillError: Some rows could not be reversed. The others are,
                and the column is still there.
        """
        if self.marker is not None:
            self.marker.add()
        walk = TableWalk(self.target)
        count = 0
        # The second time it is what the application inserted behind the walk.
        for _ in range(1 if self.done is None else 2):
            walked = walk.run(f"Reversing {self.plan.title}", self)
            count += walked.filled
            if walked.bad_rows:
                raise self._make_error(walked.bad_rows)
        return count

    def _make_error(self, bad_rows: Sequence[BadRow]) -> BackfillError:
        kept = tell_kept(
            self.schema, "The other rows are reversed, and the column is still there."
        )
        return make_bad_rows_error(
            self.plan,
            bad_rows,
            " could not be reversed in some rows",
            f"{kept} Fix {self.answers.source}, then run migrate again.",
        )

    @contextmanager
    def open(self, *, skips_locked: bool) -> Iterator[Handle]:
        """Get ready for a walk, see Work."""
        with self.columns.watch():
            yield self._reverse_page

    def _reverse_page(self, page: Page, take: Take, is_singly: bool) -> Batch:
        """Write back what reverse says of the rows of a page."""
        rows = self.reader.read_page(page, self.columns)
        if not rows:
            return Batch()
        asked = self.answers.ask(self.columns.until_news(take(rows)), singly=is_singly)
        bad_rows = list(asked.bad_rows)
        for fields, answers in asked.groups.items():
            there, missing = self.answers.split_existing(fields, answers)
            bad_rows += missing
            if is_singly:
                for single in there:
                    bad_rows += self._write_singly(fields, single)
            else:
                self._write(fields, there)
        return Batch(
            found=len(rows),
            rows=asked.count,
            filled=asked.count - len(bad_rows),
            bad_rows=bad_rows,
            stopped_at=page.find_stop(len(rows), asked.count, asked.last_key),
            adds_columns=self.columns.has_news,
        )

    def _write_singly(self, fields: Sequence[AnyField], answer: Answer) -> list[BadRow]:
        """Write back one row; return it if the database refuses it."""
        try:
            with transaction.atomic(using=self.target.alias):
                self._write(fields, [answer])
        except Exception as exc:
            violation = isinstance(exc, DatabaseError) and find_violation(exc)
            if violation:
                reason = f"the database refused what {self.answers.source} gave"
                return [BadRow(answer.key, f"{reason}: {violation.value}")]
            return [blame_row(self.schema, answer.key, "the database", exc)]
        return []

    def _write(self, fields: Sequence[AnyField], answers: Sequence[Answer]) -> None:
        # In multi-table inheritance a field may be in the table of a parent.
        by_model: dict[type[Model], list[int]] = {}
        if self.done is not None:
            by_model[self.model] = []
        for position, field in enumerate(fields):
            by_model.setdefault(field.model, []).append(position)
        # The row's own table last: its NULL says that the row is done.
        for model in sorted(by_model, key=lambda model: model is self.model):
            positions = by_model[model]
            writer = self._get_writer(model, tuple(fields[p] for p in positions))
            writer.write(
                [
                    (
                        writer.key_of(answer.parts),
                        tuple(answer.values[position] for position in positions),
                    )
                    for answer in answers
                ]
            )

    def _get_writer(self, model: type[Model], fields: tuple[AnyField, ...]) -> Writer:
        if (model, fields) not in self._writers:
            connection = self.schema.connection
            self._writers[model, fields] = get_backend(connection).writer(
                connection,
                model,
                fields,
                set_null=self.done if model is self.model else None,
            )
        return self._writers[model, fields]
