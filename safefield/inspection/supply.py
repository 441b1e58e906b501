"""What a table is to be given before a backfill finds its rows as migrate does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

from safefield.backends import get_backend
from safefield.backends.base.sql import find_column_names
from safefield.exceptions import SafefieldError
from safefield.fields import AnyField
from safefield.inspection.entries import STATE_OPERATIONS, Change, Entry
from safefield.operations import BACKFILLS, AddFieldWithBackfill
from safefield.plan import Plan

#: Operations on the table itself that do nothing to its columns.
HARMLESS = (
    *STATE_OPERATIONS,
    operations.AddConstraint,
    operations.AddIndex,
    operations.AlterIndexTogether,
    operations.AlterModelTableComment,
    operations.AlterOrderWithRespectTo,
    operations.AlterUniqueTogether,
    operations.RemoveConstraint,
    operations.RemoveField,
    operations.RemoveIndex,
    operations.RenameIndex,
)


@dataclass(frozen=True)
class ColumnValue:
    """What an operation sets a whole column to."""

    column: str
    sql: str
    params: Sequence[Any]
    #: Whether only rows without a value get it.
    only_null: bool

    def run(self, connection: Any, table: str) -> None:
        """Set the column of `table`."""
        quote = connection.ops.quote_name
        condition = f" WHERE {quote(self.column)} IS NULL" if self.only_null else ""
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {quote(table)} SET {quote(self.column)} = {self.sql}"
                f"{condition}",
                self.params,
            )


class Supply:
    """
    What the operations before a backfill, none of which has run, make of its table.

    Raises:
        SafefieldError: It cannot be supplied.
    """

    def __init__(
        self, connection: Any, entry: Entry, plan: Plan, earlier: Sequence[Change]
    ) -> None:
        self.connection = connection
        self.entry = entry
        self.plan = plan
        self.editor: Any = connection.schema_editor(atomic=False)
        self.key = entry.key
        self.keys = get_backend(connection).schema(self.editor, plan).catalogue.keys
        #: Columns by table, as far as anybody has asked.
        self._live: dict[str, set[str]] = {}
        #: Fields whose columns are to be made, by column.
        self.made: dict[str, AnyField] = {}
        #: Fields that the table has or will have, by column.
        self.fields: dict[str, AnyField] = {}
        #: Columns that are made by the backfills that fill them.
        self.filled: set[str] = set()
        #: What is done, in this order.
        self.actions: list[Entry | ColumnValue] = []
        #: What is not done, by migration.
        self.left_out: dict[str, list[str]] = {}
        #: Columns that this backfill and those before it are still to add.
        self.to_add = {
            self._field(each.after, each.operation.name).column
            for each in (*map(Entry._make, earlier), entry)
            if isinstance(each.operation, AddFieldWithBackfill) and each.key == self.key
        }
        for change in earlier:
            self._take(change)
        model: Any = plan.new_model
        for field in model._meta.local_concrete_fields:
            self.fields[field.column] = field
        if self.is_needed:
            self._generate(plan.model)

    @property
    def is_needed(self) -> bool:
        """Whether the table is not yet as the backfill is to find it."""
        return bool(self.actions or self.made)

    def find_missing(self, models: Iterable[Any] = ()) -> list[str]:
        """Return what nothing supplies, of `models` too, such as "films_movie.year"."""
        missing = []
        # It is looked up whether what a foreign key refers to is there.
        entries = [each for each in self.actions if isinstance(each, Entry)]
        filled = [self._field(each.after, each.operation.name) for each in entries]
        targets = [
            field.target_field
            for field in (*filled, self.plan.field)
            if getattr(field, "db_constraint", False)
        ]
        others = [
            each for model in models for each in model._meta.local_concrete_fields
        ]
        others = list(filter(self._has_column, others))
        for field in (*self.plan.model._meta.concrete_fields, *targets, *others):
            table = field.model._meta.db_table
            is_made = table == self.plan.table and field.column in self.made
            if not is_made and field.column not in self.live(table):
                missing.append(f"{table}.{field.column}")
        return missing

    def live(self, table: str) -> set[str]:
        """Return the columns that a table has; none if it is not there."""
        if table not in self._live:
            is_there = self.keys.has_table(table)
            self._live[table] = (
                set(find_column_names(self.connection, table)) if is_there else set()
            )
        return self._live[table]

    # One operation

    def _take(self, change: Change) -> None:
        self._refuse_lost_key(change)
        operation = change.operation
        kinds: dict[type[Operation], Callable[[Change], None]] = {
            operations.AddField: self._add,
            operations.AlterField: self._alter,
            operations.RenameField: self._rename,
        }
        name = getattr(operation, "model_name_lower", None) or getattr(
            operation, "name_lower", None
        )
        is_mine = (change.migration.app_label, name) == self.key
        if is_mine:
            self._refuse_taken_column(change)
        if isinstance(operation, (operations.AlterModelTable, operations.RenameModel)):
            self._refuse_renamed_table(change)
        if is_mine and isinstance(operation, BACKFILLS):
            self._fill(change)
        elif is_mine and type(operation) in kinds:
            kinds[type(operation)](change)
        elif not (
            isinstance(operation, STATE_OPERATIONS)
            or (is_mine and isinstance(operation, HARMLESS))
            or not router.allow_migrate(
                self.connection.alias, change.migration.app_label, model_name=name
            )
        ):
            texts = self.left_out.setdefault(str(change.migration), [])
            texts.append(operation.describe())

    def _refuse(self, change: Change, field: AnyField) -> SafefieldError:
        return SafefieldError(
            f"{self.plan.title} cannot be rehearsed yet, because {change.migration} is "
            f"to change column {self.plan.table}.{field.column}. Apply "
            f"{change.migration} first."
        )

    def _refuse_taken_column(self, change: Change) -> None:
        """Refuse a column that another field has, until migrate moves or removes it."""
        operation: Any = change.operation
        name = getattr(operation, "old_name", getattr(operation, "name", ""))
        if isinstance(operation, operations.AlterOrderWithRespectTo):
            name = "_order"
        if self.key not in change.before.models:
            return
        for old in change.before.apps.get_model(*self.key)._meta.local_concrete_fields:
            if old.name == name and old.column in self.to_add:
                raise self._refuse(change, old)

    def _refuse_renamed_table(self, change: Change) -> None:
        """Refuse what would look for a table by the name that migrate gives it."""
        tables = [
            {model._meta.db_table for model in state.apps.get_models()}
            for state in (change.before, change.after)
        ]
        if tables[0] != tables[1]:
            raise SafefieldError(
                f"{self.plan.title} cannot be rehearsed yet, because "
                f"{change.migration} is to rename a table: "
                f"{change.operation.describe()}. Apply {change.migration} first."
            )

    def _refuse_lost_key(self, change: Change) -> None:
        """
        Refuse what the function could read now and migrate takes away before.

        Without its link a child still has one in the state, and finds its row.
        """
        operation = change.operation
        if not isinstance(operation, operations.RemoveField):
            return
        key = change.migration.app_label, operation.model_name_lower
        field = change.before.models[key].fields[operation.name]
        if field.primary_key or getattr(field.remote_field, "parent_link", False):
            source = self.plan.source_name
            raise SafefieldError(
                f"{self.plan.title} cannot be rehearsed: {change.migration} runs "
                f"before it and takes away a key: {operation.describe()}. If {source} "
                f"reads rows by it, move that operation after the backfill. If not, "
                f"apply it first."
            )

    def _fill(self, change: Change) -> None:
        entry = Entry(*change)
        if entry.is_allowed(self.connection):
            field = self._field(change.after, entry.operation.name)
            self.to_add.discard(field.column)
            if self._make(field) and isinstance(entry.operation, AddFieldWithBackfill):
                self.filled.add(field.column)
            self._generate(change.before.apps.get_model(*self.key))
            self.actions.append(entry)

    def _generate(self, model: Any) -> None:
        """Have what is generated be as the columns of its row make it by then."""
        for field in model._meta.local_concrete_fields:
            if field.generated:
                self.fields.setdefault(field.column, field)
                self._assign(field, *field.generated_sql(self.connection))

    def _add(self, change: Change) -> None:
        operation: Any = change.operation
        field = self._field(change.after, operation.name)
        if not self._has_column(field) or not self._make(field) or field.generated:
            return
        if field.db_default is not NOT_PROVIDED:
            self._assign(field, *self.editor.db_default_sql(field))
        elif (value := self.editor.effective_default(field)) is not None:
            self._assign(field, "%s", [value])

    def _alter(self, change: Change) -> None:
        operation: Any = change.operation
        old = self._field(change.before, operation.name)
        new = self._field(change.after, operation.name)
        if old.db_parameters(self.connection) != new.db_parameters(self.connection):
            raise self._refuse(change, old)
        self._move(old, new)
        if old.null and not new.null:
            value = self.editor.effective_default(new)
            if value is not None:
                self._assign(new, "%s", [value], only_null=True)

    def _rename(self, change: Change) -> None:
        operation: Any = change.operation
        self._move(
            self._field(change.before, operation.old_name),
            self._field(change.after, operation.new_name),
        )

    def _move(self, old: AnyField, new: AnyField) -> None:
        if old.column != new.column and self._has_column(new) and self._make(new):
            self._assign(new, self.connection.ops.quote_name(old.column), [])
            self.fields[old.column] = old

    # What it comes to

    def _field(self, state: ProjectState, name: str) -> AnyField:
        return state.apps.get_model(*self.key)._meta.get_field(name)

    def _has_column(self, field: AnyField) -> bool:
        """Return whether there is a column: before Django 6.1, also others name one."""
        return field.db_parameters(self.connection)["type"] is not None

    def _make(self, field: AnyField) -> bool:
        """Take note of a column; return whether the table has not got it."""
        self.fields[field.column] = field
        if field.column in self.live(self.plan.table):
            return False
        self.made[field.column] = field
        return True

    def _assign(
        self,
        field: AnyField,
        sql: str,
        params: Sequence[Any],
        *,
        only_null: bool = False,
    ) -> None:
        self.actions.append(ColumnValue(field.column, sql, params, only_null))
