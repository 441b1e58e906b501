"""Add, enforce, relax and drop a column with Django's own schema editor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import DatabaseError
from django.db.models import Model, QuerySet

from safefield.backends.base.catalogue import Catalogue, LiveColumn
from safefield.backends.base.guard import Guard
from safefield.backends.base.locks import Locks, Result
from safefield.backends.base.preflight import Preflight
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan


class Schema:
    """
    The column of one plan, on one database.

    Every method looks at the live catalogue and does what is missing, so
    that the same migration can be run again.
    """

    #: What is there, what is refused, and how the database waits for locks.
    catalogue_class: type[Catalogue] = Catalogue
    preflight_class: type[Preflight] = Preflight
    locks_class: type[Locks] = Locks

    #: Whether enforce() builds the unique index before the column becomes required.
    #: Where it does, the index finds what verify() would have to read the whole
    #: column for.
    is_unique_first = False

    #: Whether a column refuses a text that is longer than its type says.
    limits_texts = True

    #: Whether rows that share a value are counted in a window, which names the table
    #: once, rather than found with IN.
    counts_in_windows = False

    #: Whether COUNT(DISTINCT ...) is quicker than GROUP BY, as it mostly is.
    counts_distinct_quickly = True

    def __init__(self, editor: Any, plan: Plan) -> None:
        #: Any, because the stubs leave out the private methods that build SQL.
        self.editor = editor
        self.connection = editor.connection
        self.plan = plan
        #: Whether each batch and each statement is committed on its own.
        self.commits = not self.connection.in_atomic_block
        self.locks = self.locks_class(self.connection, plan)
        self.catalogue = self.catalogue_class(editor, plan)
        self.wanted = self.catalogue.wanted
        self.preflight = self.preflight_class(self.catalogue)

    def in_transaction(self) -> AbstractContextManager[Any]:
        """Return the context of the whole operation: a transaction, if it needs one."""
        return nullcontext()

    def claim_table(self) -> AbstractContextManager[Any]:
        """Return the context that keeps other runs of migrate away from the table."""
        return self.locks.claim_table() if self.commits else nullcontext()

    def get_guard(self) -> Guard:
        """Return what refuses rows without a value at the end."""
        return Guard(self.locks)

    @property
    def guard_title(self) -> str:
        """How messages name what refuses rows without a value; else empty."""
        guard = self.get_guard()
        may_stand = not self.plan.final_field.null
        return guard.title if may_stand and guard.is_there() else ""

    def drop_guard(self) -> None:
        """Let rows without a value come again, which a killed run keeps away."""
        if not self.plan.final_field.null:
            self.get_guard().drop()

    def is_enforced(self, column: LiveColumn) -> bool:
        """Return whether the catalogue has all that the final field asks for."""
        return self.wanted.is_met(self.catalogue.get_field(column))

    def is_restored(self, column: LiveColumn) -> bool:
        """Return whether the definition from before an alteration stands."""
        return self.catalogue.is_restored(column) and not self.get_guard().is_there()

    def too_long_for_index(self, exc: DatabaseError) -> Any:
        """Return the condition on the rows that an index refused; None for no rows."""
        return None

    def rows(self) -> QuerySet[Any, Any]:
        """Return the rows as they are after the operation, past any manager."""
        return QuerySet(self.plan.new_model, using=self.connection.alias)

    def change_rows(self, function: Callable[[], Result]) -> Result:
        """Call `function`; again while others lock its rows, if each batch commits."""
        return self.locks.change_rows(function) if self.commits else function()

    def settle(self) -> None:
        """
        Let constraints refuse now what they would at the end of the transaction.

        Where each batch commits, that is its own end.
        """

    # What is done

    def change(self, function: Callable[[], Result]) -> Result:
        """
        Change the table by `function`, and keep others waiting only shortly.

        Whatever changes the column goes through here.
        """
        return function()

    def change_alone(self, function: Callable[[], Result]) -> Result:
        """Do the same, and let nobody write to the table until `function` is done."""
        return self.change(function)

    def keep_writers_away(self) -> None:
        """In a transaction, let nobody write to the table until its end."""

    def add_at_once(self) -> bool:
        """
        Add the final column if the table has neither rows nor that column; say whether.

        Every test run does this to every table, so no other run is kept away first.
        """
        if not self.catalogue.is_bare():
            return False

        def add() -> bool:
            # Others may have come since.
            if is_bare := self.catalogue.is_bare():
                self.add_final()
            return is_bare

        try:
            return self.change_alone(add)
        except DatabaseError:
            if self.commits:
                # It says more clearly what the database refuses.
                self.preflight.check_table()
            raise

    def add_final(self) -> None:
        """Add the final column and its indexes to a table without rows."""
        queued = len(self.editor.deferred_sql)
        try:
            self.editor.add_field(self.plan.model, self.plan.final_field)
            for statement in self.editor.deferred_sql[queued:]:
                self.editor.execute(statement, None)
        finally:
            # What was to come after the column has come, or must not.
            del self.editor.deferred_sql[queued:]

    def add(self) -> None:
        """Add the column, nullable and bare."""
        self.change(
            lambda: self.editor.add_field(self.plan.model, self.plan.interim_field)
        )

    def check_bare(self) -> None:
        """
        Refuse a column that had values as it came, and remove it again.

        Raises:
            BackfillError: So it was: its type brings a default, as serial does.
        """
        # Such a value is in all rows, so one row says it.
        if not self.change_rows(self.catalogue.has_value):
            return
        self.drop()
        raise self.plan.error(
            f"{self.plan.title} cannot be filled: the database wrote values of its own "
            f"into column {self.plan.field.column} as it was added. Take the default "
            f"out of {type(self.plan.field).__name__}.db_type(), or use "
            f"migrations.AddField. The column was removed again."
        )

    def change_type(self, recheck: Callable[[], None] = lambda: None) -> None:
        """
        Give an existing column its new type, still nullable.

        Args:
            recheck (Callable[[], None]): Raises BackfillError if values that have
                come meanwhile would be others; called when none can come any more.
        """

        def change() -> None:
            recheck()
            self.alter_field(
                self.plan.model, self.plan.old_field, self.plan.interim_field
            )

        self.change_alone(change)

    def enforce(self, sweep: Callable[[], None], check: Callable[[], None]) -> None:
        """
        Give the filled column all that the final field asks for.

        Args:
            sweep (Callable[[], None]): Fills the rows that the application
                inserted meanwhile; raises BackfillError if it cannot.
            check (Callable[[], None]): Raises BackfillError if rows share a value
                that must not, or lead nowhere; for a step that would be dear to take
                in vain.
        """
        column = self.catalogue.find_column()
        assert column is not None
        if (
            not self.is_enforced(column)
            or self.wanted.changes_default()
            or self.catalogue.find_leftover_indexes()
        ):
            self.change(lambda: self.make_final(self.plan.final_field))

    def make_final(self, final: AnyField) -> None:
        """Give the column what `final` has and the catalogue has not."""
        column = self.catalogue.find_column()
        assert column is not None
        live = self.catalogue.get_field(column)
        # alter_field() compares what deconstruct() says, and that a OneToOneField
        # is not unique yet is not in it.
        live.deconstruct = lambda: (live.name, "", [], {})
        self.alter_field(self.plan.model, live, final)

    def relax(self) -> None:
        """Let the column take NULL again, so that rows can be reversed."""
        column = self.catalogue.find_column()
        if column is not None and not column.null:
            self.drop_not_null()

    def drop_not_null(self) -> None:
        """Let the column, which is there, take NULL."""
        nullable = copy_field(self.plan.final_field)
        nullable.null = True
        self.change(
            lambda: self.editor.alter_field(
                self.plan.new_model, self.plan.final_field, nullable
            )
        )

    def drop(self) -> None:
        """Remove the column."""
        self.change(
            lambda: self.editor.remove_field(self.plan.new_model, self.plan.field)
        )

    def restore(self, recheck: Callable[[], None] = lambda: None) -> None:
        """Give an altered column back the definition from before."""

        def change() -> None:
            recheck()
            self.alter_field(
                self.plan.new_model, self.catalogue.get_altered(), self.plan.old_field
            )

        self.change_alone(change)

    def alter_field(self, model: type[Model], old: AnyField, new: AnyField) -> None:
        """Alter the field with Django's editor, which leaves alone what others made."""
        with self.catalogue.keys.keep_others():
            self.editor.alter_field(model, old, new)
