"""Add, enforce, relax and drop a column with Django's own schema editor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F, Model, QuerySet
from django.db.models.lookups import IsNull

from safefield.backends.base.catalogue import Catalogue
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.guard import Guard
from safefield.backends.base.locks import Locks
from safefield.backends.base.names import find_wanted_names, refuse_taken_names
from safefield.backends.base.wanted import Wanted
from safefield.exceptions import BackfillError
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan


def _nothing() -> None:
    """Do nothing."""


class Schema:
    """
    The column of one plan, on one database.

    Every method looks at the live catalogue and does what is missing, so
    that the same migration can be run again.

    Args:
        editor (BaseDatabaseSchemaEditor): Django's schema editor.
        plan (Plan): What the operation asks for.
    """

    #: What is there, how the database waits for locks.
    catalogue_class: type[Catalogue] = Catalogue
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

    def __init__(self, editor: BaseDatabaseSchemaEditor, plan: Plan) -> None:
        #: Any, because the stubs leave out the private methods that build SQL.
        self.editor: Any = editor
        self.connection: Any = editor.connection
        self.plan = plan
        #: Whether each batch and each statement is committed on its own.
        self.commits = not self.connection.in_atomic_block
        self.locks = self.locks_class(self.connection, plan)
        self.catalogue = self.catalogue_class(editor, plan)
        self.wanted = Wanted(editor, plan)

    def in_transaction(self) -> AbstractContextManager[Any]:
        """Return the context of the whole operation: a transaction, if it needs one."""
        return nullcontext()

    def claim_table(self) -> AbstractContextManager[Any]:
        """
        Return the context that keeps other runs of migrate away from the table.

        Raises:
            BackfillError: Another migrate is at work on the table.
        """
        return self.locks.claim_table() if self.commits else nullcontext()

    def get_guard(self) -> Guard | None:
        """Return what refuses rows without a value at the end; None if nothing does."""
        return None

    @property
    def guard_title(self) -> str:
        """How messages name what refuses rows without a value; else empty."""
        guard = None if self.plan.final_field.null else self.get_guard()
        return guard.title if guard is not None and guard.is_there() else ""

    def drop_guard(self) -> None:
        """Let rows without a value come again, which a killed run keeps away."""
        if self.guard_title and (guard := self.get_guard()) is not None:
            guard.drop()

    def warn_of_locks(self) -> None:
        """Say what an atomic migration will lock, and for about how long."""

    def is_enforced(self, column: LiveColumn) -> bool:
        """Return whether the catalogue has all that the final field asks for."""
        return self.wanted.is_met(self.catalogue.get_field(column))

    def is_restored(self, column: LiveColumn) -> bool:
        """Return whether the definition from before an alteration stands."""
        guard = self.get_guard()
        return self.catalogue.is_restored(column) and not (guard and guard.is_there())

    def find_leftover_indexes(self) -> list[str]:
        """Return the names of the indexes that an altered column had and loses."""
        if self.wanted.has_index():
            return []
        return self.catalogue.keys.find_leftover(self.wanted.get_index_names())

    def check_column(self, column: LiveColumn, *, may_make_tables: bool = True) -> None:
        """
        Refuse a column of the wanted name that is not the wanted column.

        Args:
            column (LiveColumn): What is there.
            may_make_tables (bool): As in Catalogue.spell_type().

        Raises:
            BackfillError: It is there with another type.
        """
        expected = self.catalogue.spell_type(may_make_tables=may_make_tables)
        if column.type is not None and column.type != expected:
            raise BackfillError(
                f"{self.plan.title} cannot be added: table {self.plan.table} already "
                f"has a column {self.plan.field.column} of type {column.type}, and "
                f"{expected} was expected. Rename or drop that column, then run "
                f"migrate again. Nothing was changed.",
                model=self.plan.label,
                field=self.plan.field_name,
            )

    def check_table(self) -> None:
        """
        Refuse a table that cannot have the final column.

        Raises:
            BackfillError: The database would refuse it when all is filled.
        """
        wanted = find_wanted_names(self.editor, self.plan)
        refuse_taken_names(self.plan, self.catalogue.find_taken_names(wanted))

    def too_long_for_index(self, exc: DatabaseError) -> Any:
        """Return the condition on the rows that an index refused; None for no rows."""
        return None

    def check_rights(self, *, goes_back: bool = False) -> None:
        """
        Refuse a table that this user may not change.

        Args:
            goes_back (bool): Whether the operation is to be undone.

        Raises:
            BackfillError: The database would refuse it, perhaps only at the end.
        """

    def check_rows(self) -> None:
        """
        Refuse a table of which this user may not see every row.

        Raises:
            BackfillError: Some rows would be left out without a word.
        """

    def settle(self) -> None:
        """
        Let constraints refuse now what they would at the end of the transaction.

        Where each batch commits, that is its own end.
        """

    def check_drop(self) -> None:
        """
        Refuse to drop a column that something else needs.

        Raises:
            BackfillError: Something would break, or be lost with the column.
        """

    # What is done

    def add_at_once(self) -> bool:
        """
        Add the final column if the table has neither rows nor that column.

        Every test run does this to every table, so it is kept short: nobody is
        kept away first, and one look decides where a look costs a trip to the
        server.

        Returns:
            bool: Whether it was done.
        """
        if not self.can_add_at_once():
            return False
        try:
            return self.add_final()
        except DatabaseError:
            if not self.commits:
                raise
            # It says more clearly what the database refuses.
            self.check_table()
            if self.catalogue.find_column() is None:
                raise
            # The column is there: nobody looked, or another run was quicker.
            return False

    def can_add_at_once(self) -> bool:
        """
        Return whether the table has neither rows nor the column.

        It may leave the column to add_final(), where that fails as a whole.
        """
        return self.catalogue.find_column() is None and self.catalogue.is_empty()

    def add_final(self) -> bool:
        """
        Add the final column to a table without rows.

        Returns:
            bool: False if nothing was done, because rows have come meanwhile.
        """
        queued = len(self.editor.deferred_sql)
        try:
            self.editor.add_field(self.plan.model, self.plan.final_field)
        except BaseException:
            # What was to come behind the column, which has not come.
            del self.editor.deferred_sql[queued:]
            raise
        return True

    def add(self) -> None:
        """Add the column, nullable and bare."""
        self.editor.add_field(self.plan.model, self.plan.interim_field)

    def check_bare(self) -> None:
        """
        Refuse a column that had values as it came, and remove it again.

        Raises:
            BackfillError: So it was: its type brings a default, as serial does.
        """
        rows: Any = QuerySet(self.plan.new_model, using=self.connection.alias)
        is_null = IsNull(F(self.plan.field.attname), True)
        first = rows.order_by("pk").annotate(**{"safefield-null": is_null})[:1]

        def has_value() -> bool:
            # Such a value is in all rows, so one row says it.
            return False in first.values_list("safefield-null", flat=True)

        if not (self.locks.change_rows(has_value) if self.commits else has_value()):
            return
        self.drop()
        raise BackfillError(
            f"{self.plan.title} cannot be filled: the database wrote values of its own "
            f"into column {self.plan.field.column} as it was added. Take the default "
            f"out of {type(self.plan.field).__name__}.db_type(), or use "
            f"migrations.AddField. The column was removed again.",
            model=self.plan.label,
            field=self.plan.field_name,
        )

    def keep_writers_away(self) -> None:
        """In a transaction, let nobody write to the table until its end."""

    def change_type(self, recheck: Callable[[], None] = _nothing) -> None:
        """
        Give an existing column its new type, still nullable.

        Args:
            recheck (Callable[[], None]): Raises BackfillError if values that have
                come meanwhile would be others; called when none can come any more.
        """
        self._alter_field(self.plan.model, self.plan.old_field, self.plan.interim_field)

    def change_temporary_type(self) -> None:
        """Do the same to a temporary table, to whose column no other one refers."""
        old, interim = (
            copy_field(self.plan.old_field),
            copy_field(self.plan.interim_field),
        )
        if old.unique and interim.unique:
            # Of a unique column, alter_field() changes those that the models have.
            for field in (old, interim):
                field.__dict__.pop("unique", None)
                field._unique = False
        self._alter_field(self.plan.model, old, interim)

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
        live = self.catalogue.get_field(column)
        if (
            not self.wanted.is_met(live)
            or self.wanted.changes_default()
            or self.find_leftover_indexes()
        ):
            # alter_field() compares what deconstruct() says, and that a OneToOneField
            # is not unique yet is not in it.
            live.deconstruct = lambda: (live.name, "", [], {})
            self._alter_field(self.plan.model, live, self.plan.final_field)

    def collect(self) -> None:
        """Write the statements for sqlmigrate, reading and changing no rows."""
        if self.plan.old_field is None:
            self.add()
        else:
            self.change_type()
        self.comment(f"Python: fill {self.plan.title} from {self.plan.source_name}")
        self.editor.alter_field(
            self.plan.model, self.plan.interim_field, self.plan.final_field
        )

    def relax(self) -> None:
        """Let the column take NULL again, so that rows can be reversed."""
        nullable = copy_field(self.plan.final_field)
        nullable.null = True
        if (column := self.catalogue.find_column()) is not None and not column.null:
            self.editor.alter_field(
                self.plan.new_model, self.plan.final_field, nullable
            )

    def drop(self) -> None:
        """Remove the column."""
        self.editor.remove_field(self.plan.new_model, self.plan.field)

    def restore(self, recheck: Callable[[], None] = _nothing) -> None:
        """
        Give an altered column back the definition from before.

        Args:
            recheck (Callable[[], None]): As in change_type().
        """
        self._alter_field(
            self.plan.new_model, self._altered_field(), self.plan.old_field
        )

    def _alter_field(self, model: type[Model], old: AnyField, new: AnyField) -> None:
        """Call alter_field(), which leaves alone what others made."""
        if self.editor.collect_sql:
            self.editor.alter_field(model, old, new)
            return
        with self.catalogue.keys.keep_others():
            self.editor.alter_field(model, old, new)

    def _altered_field(self) -> AnyField:
        """Return the field that is to be restored, as far as it still is there."""
        column = None if self.editor.collect_sql else self.catalogue.find_column()
        if column is None:
            return self.plan.field
        altered = self.catalogue.get_field(column)
        if self.wanted.changes_default() and column.has_default:
            altered.db_default = self.plan.final_field.db_default
        return altered

    def comment(self, text: str) -> None:
        """Add a comment line to what sqlmigrate prints."""
        self.editor.collected_sql.append(f"-- {text}")
