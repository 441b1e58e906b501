"""The engine: compute the values of a page, check them, hand them to a writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError, transaction
from django.db.models import NOT_PROVIDED, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.backends.base.writer import Writer
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import AnyField, is_stock_integer
from safefield.filling.assignment import Assignment, CompanionWriter
from safefield.filling.attributes import has_own_attribute
from safefield.filling.filled import FilledKeys
from safefield.filling.isolation import Trial
from safefield.filling.nonvalues import EXPRESSION
from safefield.filling.pages import Page
from safefield.filling.passes import Pass
from safefield.filling.pursuit import Pursuit
from safefield.filling.queries import QueryWatch
from safefield.filling.unfilled import BY_THE_DATABASE, Computed, Unfilled, Written
from safefield.filling.values import Values
from safefield.filling.verify import find_problems, tell
from safefield.filling.violations import Violation, find_violation
from safefield.plan import Plan
from safefield.progress import is_heard, note, warn
from safefield.reports import NOT_DEPENDED_ON, Finding

#: Rows on which populate is tried before anything is changed.
PREFLIGHT_ROWS = 5


class Backfill(Pass):
    """Fill the column of a plan."""

    def __init__(self, plan: Plan, schema: Schema) -> None:
        super().__init__(plan, schema, plan.model)
        self.values = Values(plan.field, self.connection, allow_blank=plan.allow_blank)
        self.queries = QueryWatch(self.connection, plan.source_name)
        writer_class: Callable[..., Writer] = self.writer_class
        #: What assigns the values, where that does more than set the column.
        self.assignment: Assignment | None = None
        if has_own_attribute(plan.new_model, plan.field):
            self.assignment = Assignment(plan.new_model, self.connection)
            writer_class = partial(CompanionWriter, writer_class)
        self.writer: Writer = writer_class(
            self.connection,
            plan.new_model,
            [plan.field],
            only_null=plan.field,
        )
        #: Keys of the rows that this run fills, where others had a value before.
        self.filled = FilledKeys()
        #: Whether all pages so far had as many rows as they can have, and the key
        #: behind which one had fewer. Other keys than integers do not only grow.
        self._is_whole = is_stock_integer(plan.model._meta.pk)
        self._whole_until: Any = None
        self.unfilled = Unfilled(self.empty_rows)
        #: Rows that got a value in the last pass.
        self.count = 0

    def wanted(self) -> Any:
        """Return the condition that a row has no value yet."""
        return IsNull(Col(self.plan.table, self.plan.interim_field), True)

    def empty_rows(self) -> QuerySet[Model]:
        """Return the rows that have no value yet."""
        rows: QuerySet[Model] = QuerySet(self.model, using=self.alias)
        return rows.filter(self.wanted())

    def preflight(self) -> None:
        """
        Try populate on a few rows, and undo whatever it did.

        Raises:
            BackfillError: It worked on none of them.
        """
        trial = Trial(self.connection)
        with transaction.atomic(using=self.alias), trial.open():
            rows = self._read_first_rows()
            self.compute(self.size.take(rows), savepoints=True)
            # Also what populate wrote, such as objects that it created.
            transaction.set_rollback(True, using=self.alias)
        for alias in sorted(trial.strangers):
            warn(
                "%s opened a connection of its own to the %r database while it was "
                "tried on the first rows. What it may have written through it stays.",
                self.plan.source_name,
                alias,
            )
        bad_rows, self.bad_rows = self.bad_rows, []
        if len(bad_rows) == len(rows) > 0:
            self.bad_rows = bad_rows
            self.raise_useless()

    def raise_useless(self) -> None:
        """Raise the error for a populate that works on none of the first rows."""
        source = self.plan.source_name
        self.raise_bad(
            f" cannot be filled. {source} was tried on the first rows and works on "
            f"none of them",
            f"Nothing was changed. {self.advise()} and run migrate again.",
        )

    def _read_first_rows(self) -> list[Model]:
        try:
            return list(self.rows().order_by("pk")[:PREFLIGHT_ROWS])
        except (AttributeError, FieldError) as exc:
            # What Django raises for unknown names.
            raise BackfillError(
                f"{self.plan.title}: the rows cannot be read with select_related="
                f"{self.plan.select_related!r} and prefetch_related="
                f"{self.plan.prefetch_related!r}: {exc} Fix these arguments and run "
                f"migrate again. Nothing was changed.",
                model=self.plan.label,
                field=self.plan.field_name,
            ) from exc

    def note_resuming(self) -> None:
        """Say how much an earlier run has done."""
        if is_heard():
            tally = get_backend(self.connection).census(self.schema).count()
            note("Resuming %s: %s.", self.plan.title, tally.describe_filled())
            # The table is not counted once more.
            self.estimate_rows = lambda: tally.rows

    def fill(self) -> None:
        """
        Fill every row that has no value yet.

        Raises:
            BackfillError: Some rows could not be filled. The others are.
        """
        # A batch that waited for the rows of others would keep its own locked
        # meanwhile, so it passes over them, and the sweep comes back for them.
        self.skips_locked = (
            self.schema.commits
            and self.connection.features.has_select_for_update_skip_locked
        )
        begun = time.monotonic()
        self._fill(f"Filling {self.plan.title}")
        if self.skips_locked:
            # Nothing was passed over in a whole page, and who inserts takes higher
            # integers. So most tables are not read once more, only their end. What a
            # long transaction inserted before is for enforce() to find, as what comes
            # from now on.
            seconds = time.monotonic() - begun
            Pursuit(self, self.count, seconds).run(self._whole_until)

    def sweep(self, after: Any = None, *, is_whole: bool = True) -> None:
        """
        Fill the few rows that have no value yet: passed over, or inserted since.

        Args:
            after (Any): Behind which key to look for them; None for all rows.
            is_whole (bool): Whether all rows are gone through if there are such ones:
                those that a trigger keeps empty are before the key, too.

        Raises:
            BackfillError: Some rows could not be filled. The others are.
        """
        self.count = 0
        self.skips_locked = False
        rows: QuerySet[Model] = QuerySet(self.model, using=self.alias)
        if after is not None:
            rows = rows.filter(pk__gt=after)
        if rows.filter(self.wanted()).order_by().exists():
            rest = f"Filling the rest of {self.plan.title}"
            self._fill(rest, None if is_whole else after)

    def _fill(self, title: str, after: Any = None) -> None:
        self.bad_rows = []
        self.count = 0
        self.unfilled.begin(
            # In a sweep there are few rows, and more of those that a trigger emptied.
            # Without one, a required value is looked for by verify.
            looks_always=not self.skips_locked
            if self.schema.commits
            else self.plan.field.null,
        )
        self.run_pages(title, after)
        if not self.bad_rows:
            return
        kept = (
            "The other rows keep their values."
            if self.schema.commits
            else "Nothing was changed."
        )
        self.raise_bad(
            " could not be filled in some rows",
            f"{kept} {self.advise()} and run migrate again.",
            self.find_others(),
        )

    def advise(self) -> str:
        """Return what to do about the bad rows."""
        source = self.plan.source_name
        if all(row.reason.startswith(BY_THE_DATABASE) for row in self.bad_rows):
            return "Remove the cause"
        if all(row.reason.endswith(EXPRESSION) for row in self.bad_rows):
            return f"Give the expression itself as populate, in place of {source},"
        if all(row.reason.endswith(NOT_DEPENDED_ON) for row in self.bad_rows):
            return "Add a migration of that app to the dependencies of this migration"
        return f"Fix {source}"

    def find_others(self) -> list[Finding]:
        """
        Return what the constraints will say of the rows that were filled.

        These are empty again, so that they are not in the way of the next run.
        """
        problems = find_problems(self.plan, self.schema, self.filled, is_filled=False)
        return tell(self.plan, self.schema, problems, self.filled)[0]

    def read(self, page: Page, queryset: QuerySet[Model]) -> Sequence[Model]:
        """Return the rows of a batch."""
        rows = list(queryset)
        if self._is_whole and len(rows) < page.size:
            self._is_whole, self._whole_until = False, page.after
        return rows

    def handle(self, rows: Sequence[Model], *, savepoints: bool) -> None:
        """Compute and write the values of one batch."""
        taken = self.size.take(rows)
        if savepoints:
            written, count = self._write_singly(rows, taken), 0
        else:
            written, count = self._compute_and_write(rows, taken)
        self.count += len(written.rows)
        self.bad_rows += self.unfilled.check(written, count)

    def _compute_and_write(
        self, rows: Sequence[Model], taken: Iterator[Model]
    ) -> tuple[Written, int]:
        """Write one batch; return what was given, and how many rows took it."""
        written = Written([], [])
        with self.queries.watch(rows):
            written.add(self.compute(taken, savepoints=False))
        return written, self.writer.write(written.rows)

    def _write_singly(self, rows: Sequence[Model], taken: Iterator[Model]) -> Written:
        """Write one batch row by row; return what the database did not refuse."""
        with self.queries.watch(rows):
            computed = self.compute(taken, savepoints=True)
        written = Written([], [])
        for each in computed:
            key = each[1]
            try:
                self.write_one(each)
            except Exception as exc:
                self.note_refused(key, exc)
            else:
                written.add([each])
        return written

    def note_refused(self, pk: Any, exc: Exception) -> None:
        """
        Take note that the database, or its driver, refused the value of a row.

        Raises:
            Exception: It is not about the row.
        """
        if not isinstance(exc, DatabaseError):
            self.note_bad(pk, "the database driver", exc)
            return
        violation = find_violation(exc)
        if violation is None:
            self.note_bad(pk, "the database", exc)
            return
        reason = f"the database refused it: {violation.value}"
        if violation is Violation.FOREIGN_KEY and self.plan.field.is_relation:
            # As verify says it, where the constraint comes after the values.
            label = self.plan.field.target_field.model._meta.label
            reason = f"there is no {label} with this key"
        self.bad_rows.append(BadRow(pk, reason))

    def write_one(self, computed: Computed) -> None:
        """Write one row, so that an error is about this row alone."""
        with transaction.atomic(using=self.alias):
            self.writer.write([computed[2]])

    def note_value(self, pk: Any, value: Any) -> None:
        """Take note of what is written row by row, in terms of Python."""

    def resolve(self) -> None:
        """Give rows that collide values of their own; here there is no way to."""

    def compute(self, rows: Iterable[Model], *, savepoints: bool) -> list[Computed]:
        """Return each row, its key, and what is written; the bad rows left out."""
        value_of = self.guard(self.plan.value_of, savepoints)
        prepare = self.values.prepare
        accepts = self.values.accepts
        key_of = self.key_of
        # Of one plain integer both keys are the same.
        written_key_of = None if self.writer.has_plain_key else self.writer.key_of
        source = self.plan.source_name
        assignment = self.assignment
        computed: list[Computed] = []
        value: Any
        prepared: tuple[Any, ...]
        key = self.last_key
        for row in rows:
            # Both keys before populate has the row, which it may change.
            key = key_of(row)
            written_key = (key,) if written_key_of is None else written_key_of(row)
            value = NOT_PROVIDED
            try:
                # A copy: populate may change the row.
                instance = None if assignment is None else assignment.copy(row)
                value = value_of(row)
                if instance is not None:
                    columns = self.assign(instance, value)
                    prepared = self.prepare(columns)
                    value = columns[self.plan.field]
                else:
                    prepared = (value if accepts(value) else prepare(value),)
            except DatabaseError as exc:
                if not savepoints:
                    raise
                self.note_bad(key, source, exc)
            except Exception as exc:
                self.note_bad(key, source, exc, value)
            else:
                computed.append((row, key, (written_key, prepared)))
                if savepoints:
                    self.note_value(key, value)
        self.last_key = key
        if self.plan.old_field is not None:
            self.filled.update(key for _, key, _ in computed)
        return computed

    def assign(self, instance: Model, value: Any) -> dict[AnyField, Any]:
        """
        Return what a row holds when `value` is assigned, by field: this one first.

        Args:
            instance (Model): The row, from Assignment.copy().
            value (Any): From populate.

        Raises:
            ValidationError: It cannot be assigned.
        """
        field = self.plan.field
        if self.assignment is None or (value is None and not field.null):
            return {field: value}
        return self.assignment.assign(instance, {self.plan.field_name: value})

    def prepare(self, columns: Mapping[AnyField, Any]) -> tuple[Any, ...]:
        """
        Return what assign() gave, ready for the database.

        Returns:
            tuple: The value of the column and, if others change, theirs by field.

        Raises:
            ValidationError: A column does not take what it gets.
        """
        (_, value), *others = columns.items()
        prepared = self.values.prepare(value)
        if self.assignment is None:
            return (prepared,)
        prepare = self.assignment.prepare
        return prepared, {field: prepare(field, other) for field, other in others}
