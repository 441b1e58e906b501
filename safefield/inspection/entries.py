"""The backfills of a migration, each with the states around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.apps.registry import Apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations import (
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    DeleteModel,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.filling.origins import flatten
from safefield.operations import BACKFILLS, BackfillOperation
from safefield.plan import Plan

#: The options of a model that keep it away from some databases.
PLACES = {"managed", "required_db_features", "required_db_vendor", "swappable"}

#: They change nothing in the database.
STATE_OPERATIONS = (AlterModelManagers, AlterModelOptions)


class Change(NamedTuple):
    """One operation of a migration, and the states around it."""

    migration: Migration
    operation: Any
    #: The state before the migration.
    start: ProjectState
    #: The states before and after the operation.
    before: ProjectState
    after: ProjectState


class Entry(Change):
    """One backfill of a migration."""

    operation: BackfillOperation

    @property
    def key(self) -> tuple[str, str]:
        """App label and lower-case name of the model, as states have them."""
        return self.migration.app_label, self.operation.model_name_lower

    @property
    def model_label(self) -> str:
        """Label of the model, such as "films.Movie"."""
        return f"{self.key[0]}.{self.after.models[self.key].name}"

    @property
    def title(self) -> str:
        """How messages name the field: "films.Movie.slug"."""
        return f"{self.model_label}.{self.operation.name}"

    def make_plan(self) -> Plan:
        """Return what the backfill asks for."""
        return self.operation.make_plan(
            self.migration.app_label, self.before, self.after
        )

    def is_allowed(self, connection: BaseDatabaseWrapper) -> bool:
        """Return whether the model is on a database."""
        state = self.after.models[self.key]
        if state.options.get("proxy"):
            return False
        if not router.routers and not PLACES & state.options.keys():
            return True
        return self.operation.allow_migrate_model(connection.alias, make_alone(state))

    def is_changed_later(self) -> bool:
        """Return whether the rest of the migration changes the column or its table."""
        operations = iter(flatten(self.migration.operations))
        for operation in operations:
            if operation is self.operation:
                break
        return any(map(self._is_changed_by, operations))

    def _is_changed_by(self, operation: Operation) -> bool:
        # By names: a backfill may refer to any field, and a DeleteModel to any model.
        backfill = self.operation
        if isinstance(operation, FieldOperation):
            return (
                operation.model_name_lower == backfill.model_name_lower
                and operation.name.lower() == backfill.name.lower()
            )
        return (
            isinstance(operation, RenameModel | DeleteModel | AlterModelTable)
            and operation.name_lower == backfill.model_name_lower
        )

    def make_schema(self, connection: BaseDatabaseWrapper, editor: Any) -> Schema:
        """
        Return the column of the backfill on a database.

        Raises:
            BackfillError: The catalogue cannot tell whose column it is.
        """
        plan = self.make_plan()
        if self.before is not self.start and plan.old_field is None:
            self._refuse_reuse(plan)
        return get_backend(connection).schema(editor, plan)

    def _refuse_reuse(self, plan: Plan) -> None:
        """Refuse a column whose name another one had when the migration began."""
        for model in self.start.apps.get_models(include_auto_created=True):
            if model._meta.db_table == plan.table and any(
                field.column == plan.field.column
                for field in model._meta.local_concrete_fields
            ):
                raise plan.error(
                    f"{plan.title}: migration {self.migration} begins with another "
                    f"column {plan.field.column} in table {plan.table}, and the "
                    f"catalogue does not tell which of the two is there."
                )


def find_entries(migration: Migration, start: ProjectState) -> Iterator[Entry]:
    """Yield the backfills of a migration, also within SeparateDatabaseAndState."""
    for change in find_changes(migration, start):
        if isinstance(change.operation, BACKFILLS):
            yield Entry(*change)


def find_names(migration: Migration, state: ProjectState) -> Iterator[Entry]:
    """Yield the backfills of a migration, each with its model alone; mutate `state`."""
    for operation in migration.operations:
        operation.state_forwards(migration.app_label, state)
        for backfill in flatten([operation]):
            if isinstance(backfill, BACKFILLS):
                key = migration.app_label, backfill.model_name_lower
                alone = ProjectState({key: state.models[key]})
                yield Entry(migration, backfill, alone, alone, alone)


def make_alone(state: ModelState) -> type[Model]:
    """Return a model without those that it refers to, for the database routers."""
    alone = state.clone()
    mixins = tuple(base for base in state.bases if not isinstance(base, str))
    has_model = any(issubclass(base, Model) for base in mixins)
    alone.bases = mixins if has_model else (*mixins, Model)
    model: type[Model] = alone.render(Apps())
    return model


def find_changes(migration: Migration, start: ProjectState) -> Iterator[Change]:
    """Yield what a migration does, one operation after the other."""

    def find(operations: Sequence[Operation], before: ProjectState) -> Iterator[Change]:
        for operation in operations:
            after = before.clone()
            operation.state_forwards(migration.app_label, after)
            if isinstance(operation, SeparateDatabaseAndState):
                yield from find(operation.database_operations, before)
            else:
                yield Change(migration, operation, start, before, after)
            before = after

    yield from find(migration.operations, start)
