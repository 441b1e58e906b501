"""Values that a function returns, of one row after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import NOT_PROVIDED, Model

from safefield.exceptions import BadRow
from safefield.filling.bad_rows import blame_row, keep_apart, try_each
from safefield.filling.batch_size import MAX_ROWS
from safefield.filling.collisions import Collisions
from safefield.filling.columns_read import ColumnsRead
from safefield.filling.filled import FilledKeys
from safefield.filling.isolation import NeedsWriting, Trial
from safefield.filling.key_pages import Batch, Page
from safefield.filling.preparation import Preparation
from safefield.filling.queries import QueryWatch
from safefield.filling.row_reader import RowReader
from safefield.filling.table_walk import Handle, Take
from safefield.filling.target import PREFLIGHT_ROWS, Target
from safefield.filling.unfilled import Unfilled, Written
from safefield.progress import warn


@dataclass(frozen=True)
class Computed:
    """
    What became of the rows of a batch in Python.

    Args:
        answers (Sequence[tuple[Model, Any]]): Where each row is written alone, and
            deduplicate may be asked: the rows, and what the field holds of each.
    """

    written: Written
    answers: Sequence[tuple[Model, Any]]
    bad_rows: Sequence[BadRow]
    last_key: Any

    @property
    def count(self) -> int:
        """How many rows there were."""
        return len(self.written.keys) + len(self.bad_rows)


class FunctionValues:
    """Fill a column with what populate returns."""

    max_rows = MAX_ROWS

    def __init__(
        self, target: Target, filled: FilledKeys, collisions: Collisions | None
    ) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        self.reader = RowReader(target)
        self.preparation = Preparation(self.plan, self.schema.connection)
        self.filled = filled
        self.collisions = collisions
        # Assigning begins with a copy of the row.
        reads_all = self.preparation.assignment is not None
        self.columns = ColumnsRead(self.plan, reads_all=reads_all)
        self.writer = self.preparation.make_writer()
        self.queries = QueryWatch(self.schema.connection, self.plan.source_name)
        #: What was raised first, for `migrate --traceback`.
        self.first_error: Exception | None = None

    def preflight(self) -> Sequence[BadRow]:
        """
        Try populate on a few rows; return them if it works on none of them.

        It is tried up to where it would write: what it created would be gone again.
        """
        trial = Trial(self.schema.connection, may_write=False)
        alias = self.target.alias
        rows: Sequence[Model] = []
        bad_rows: Sequence[BadRow] = []
        with suppress(NeedsWriting), transaction.atomic(using=alias), trial.open():
            rows = self._read_first_rows()
            bad_rows = self.compute(rows, singly=True).bad_rows
            # Also what a function of the database wrote that populate has called.
            transaction.set_rollback(True, using=alias)
        for stranger in sorted(trial.strangers):
            warn(
                "%s opened a connection of its own to the %r database while it was "
                "tried on the first rows. What it may have written through it stays.",
                self.plan.source_name,
                stranger,
            )
        return bad_rows if len(bad_rows) == len(rows) else []

    def check(self) -> None:
        """
        Try whether rows can be read, where some have a value already.

        Raises:
            BackfillError: They cannot, for a name of a relation that is none.
        """
        self._read_first_rows()

    def _read_first_rows(self) -> list[Model]:
        try:
            return list(self.reader.rows().order_by("pk")[:PREFLIGHT_ROWS])
        except (AttributeError, FieldError) as exc:
            # What Django raises for unknown names.
            arguments = " and ".join(
                f"{name}={names!r}"
                for name in ("select_related", "prefetch_related")
                if (names := getattr(self.plan, name))
            )
            raise self.plan.error(
                f"{self.plan.title}: the rows cannot be read with {arguments}: "
                f"{str(exc).rstrip('.')}. Fix these arguments, then run migrate again. "
                f"Nothing was changed."
            ) from exc

    @contextmanager
    def open(self, *, skips_locked: bool) -> Iterator[Handle]:
        """Get ready for a walk, see Work."""
        unfilled = Unfilled(
            self.target.empty_rows,
            # In a sweep there are few rows, and more of those that a trigger emptied.
            # Without one, a required value is looked for by verify.
            looks_always=(
                not skips_locked if self.schema.commits else self.plan.field.null
            ),
        )
        with self.columns.watch():
            yield partial(self._fill_page, unfilled, skips_locked)

    def _fill_page(
        self,
        unfilled: Unfilled,
        skips_locked: bool,
        page: Page,
        take: Take,
        is_singly: bool,
    ) -> Batch:
        """Fill the rows of a page, or as many of them as there is time for."""
        rows = self.reader.read_page(page, self.columns, skips_locked=skips_locked)
        if not rows:
            return Batch()
        with self.queries.watch(rows):
            computed = self.compute(
                self.columns.until_news(take(rows)), singly=is_singly
            )
        if self.plan.old_field is not None:
            self.filled.update(computed.written.keys)
        if is_singly:
            written, refused = self._write_singly(computed)
            count = 0
        else:
            written, refused = computed.written, []
            count = self.writer.write(written.rows)
        unkept = unfilled.check(written, count)
        return Batch(
            found=len(rows),
            rows=computed.count,
            filled=self._count_filled(written),
            bad_rows=[*computed.bad_rows, *refused, *unkept],
            stopped_at=page.find_stop(len(rows), computed.count, computed.last_key),
            adds_columns=self.columns.has_news,
        )

    def _count_filled(self, written: Written) -> int:
        """Count the rows that got a value, where populate may have returned None."""
        if not self.plan.field.null:
            return len(written.rows)
        return sum(values[0] is not None for _, values in written.rows)

    def _write_singly(self, computed: Computed) -> tuple[Written, list[BadRow]]:
        """Write row by row; return what the database has taken, and what it has not."""
        keys, written = computed.written
        rows = dict(zip(keys, written, strict=True))
        answers = iter(computed.answers)

        def write(key: Any) -> Sequence[BadRow]:
            if self.collisions is None:
                self.writer.write([rows[key]])
                return ()
            numbered = self.collisions.write_numbered
            return numbered(self.writer, key, rows[key], *next(answers))

        refused = try_each(self.schema, rows, write)
        bad = {row.pk for row in refused}
        taken = [key for key in rows if key not in bad]
        return Written(taken, [rows[key] for key in taken]), refused

    def compute(self, rows: Iterable[Model], *, singly: bool) -> Computed:
        """Call populate for each row, and make what it returns ready."""
        value_of = self.plan.value_of
        if singly:
            value_of = keep_apart(value_of, self.target.alias)
        preparation, key_of = self.preparation, self.reader.key_of
        accepts, is_plain = preparation.accepts, preparation.assignment is None
        # Of one plain integer both keys are the same.
        written_key_of = None if self.writer.has_plain_key else self.writer.key_of
        written = Written([], [])
        keeps_answers = singly and self.collisions is not None
        answers: list[tuple[Model, Any]] = []
        bad_rows: list[BadRow] = []
        key = None
        for row in rows:
            # Both keys before populate has the row, which it may change.
            key = key_of(row)
            written_key = (key,) if written_key_of is None else written_key_of(row)
            value: Any = NOT_PROVIDED
            try:
                # A copy: populate may change the row.
                instance = None if is_plain else preparation.copy(row)
                value = value_of(row)
                if accepts(value):
                    prepared: tuple[Any, ...] = (value,)
                else:
                    value, prepared = preparation.prepare(instance, value)
            except Exception as exc:
                if isinstance(exc, DatabaseError) and not singly:
                    raise
                self.first_error = self.first_error or exc
                source = self.plan.source_name
                # What was raised beside a value, if it came to one.
                bad_rows.append(blame_row(self.schema, key, source, exc, value))
            else:
                written.keys.append(key)
                written.rows.append((written_key, prepared))
                if keeps_answers:
                    answers.append((row, preparation.get_stored(value)))
        return Computed(written, answers, bad_rows, key)
