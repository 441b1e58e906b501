"""The backfills of a project's migrations, each with the states around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.apps.registry import Apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import (
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    DeleteModel,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation, RenameField
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.exceptions import BackfillError, SafefieldError
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
)
from safefield.plan import Plan

#: The options of a model that keep it away from some databases.
PLACES = {"managed", "required_db_features", "required_db_vendor", "swappable"}

#: They change nothing in the database.
STATE_OPERATIONS = (AlterModelManagers, AlterModelOptions)

Backfill = AddFieldWithBackfill | AlterFieldWithBackfill


class Change(NamedTuple):
    """
    One operation of a migration, and the states around it.

    Args:
        migration (Migration): The migration.
        operation (Operation): The operation.
        before (ProjectState): The state before it.
        after (ProjectState): The state after it.
    """

    migration: Migration
    operation: Operation
    before: ProjectState
    after: ProjectState


@dataclass(frozen=True)
class Entry:
    """
    One backfill of a migration.

    Args:
        migration (Migration): The migration.
        operation (Backfill): One of its operations.
        start (ProjectState): The state before the migration.
        before (ProjectState): The state before the operation.
        after (ProjectState): The state after it.
    """

    migration: Migration
    operation: Backfill
    start: ProjectState
    before: ProjectState
    after: ProjectState

    @property
    def model_label(self) -> str:
        """Label of the model, such as "films.Movie"."""
        key = self.migration.app_label, self.operation.model_name_lower
        return f"{key[0]}.{self.after.models[key].name}"

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
        key = self.migration.app_label, self.operation.model_name_lower
        state = self.after.models[key]
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
        app_label, backfill = self.migration.app_label, self.operation
        if isinstance(operation, RenameField):
            name = operation.old_name_lower
            return (
                operation.model_name_lower == backfill.model_name_lower
                and name == backfill.name_lower
            )
        if isinstance(operation, FieldOperation):
            # A backfill itself says that it may refer to any field.
            return operation.is_same_field_operation(backfill)
        if isinstance(operation, RenameModel | DeleteModel | AlterModelTable):
            return operation.references_model(backfill.model_name, app_label)
        return False

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
                raise BackfillError(
                    f"{plan.title}: migration {self.migration} begins with another "
                    f"column {plan.field.column} in table {plan.table}, and the "
                    f"catalogue does not tell which of the two is there.",
                    model=plan.label,
                    field=plan.field_name,
                )


@dataclass(frozen=True)
class Step:
    """
    One migration on the way from an empty database.

    Args:
        migration (Migration): The migration.
        entries (Sequence[Entry]): Its backfills, in order.
        error (Exception | None): Why its states cannot be computed.
    """

    migration: Migration
    entries: Sequence[Entry] = ()
    error: Exception | None = None


class History:
    """
    The migrations of the project, and what a database has recorded of them.

    Args:
        connection (BaseDatabaseWrapper): The database.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.executor = MigrationExecutor(connection)
        self.loader = self.executor.loader

    def walk(
        self, has_states: Callable[[Migration], bool] = lambda migration: True
    ) -> Iterator[Step]:
        """
        Yield the migrations with backfills, and those that cannot be read.

        Args:
            has_states (Callable[[Migration], bool]): Whether the entries of a migration
                are asked for more than their names and for where their models are. To
                keep its states takes a copy of all models for each operation.
        """
        graph = self.loader.graph
        state = ProjectState(real_apps=self.loader.unmigrated_apps)
        for migration, _ in self.executor.migration_plan(
            graph.leaf_nodes(), clean_start=True
        ):
            entries: list[Entry] = []
            try:
                if not has_backfill(migration.operations):
                    migration.mutate_state(state, preserve=False)
                elif has_states(migration):
                    entries += find_entries(migration, state.clone())
                    migration.mutate_state(state, preserve=False)
                else:
                    entries += find_names(migration, state)
            except Exception as exc:  # noqa: BLE001 - the next one may be readable
                yield Step(migration, entries, exc)
            else:
                if entries:
                    yield Step(migration, entries)

    def find_step(self, migration: Migration) -> Step | None:
        """Return a migration with its backfills; None if it has none."""
        steps = self.walk(lambda other: other is migration)
        return next((step for step in steps if step.migration is migration), None)

    def find_unapplied(self, migration: Migration) -> Iterator[Change]:
        """Yield what `migrate` does up to a migration, and in it."""
        applied = self.loader.applied_migrations
        state = ProjectState(real_apps=self.loader.unmigrated_apps)
        for other, _ in self.executor.migration_plan(
            self.loader.graph.leaf_nodes(), clean_start=True
        ):
            if get_key(other) in applied:
                other.mutate_state(state, preserve=False)
        for other, _ in self.executor.migration_plan([get_key(migration)]):
            yield from find_changes(other, state.clone())
            other.mutate_state(state, preserve=False)

    def get_migration(self, app_label: str, name: str) -> Migration:
        """
        Return a migration by how its name begins, as migrate does.

        Raises:
            SafefieldError: There is none, or more than one.
        """
        loader = self.loader
        self.check_app(app_label)
        try:
            migration = loader.get_migration_by_prefix(app_label, name)
        except AmbiguityError as exc:
            raise SafefieldError(
                f"More than one migration matches {name!r} in app {app_label!r}. Be "
                f"more specific."
            ) from exc
        except KeyError as exc:
            raise SafefieldError(
                f"Cannot find a migration matching {name!r} from app {app_label!r}."
            ) from exc
        if (app_label, migration.name) not in loader.graph.nodes:
            raise SafefieldError(
                f"{migration} is replaced by a squashed migration: name that one."
            )
        return migration

    def check_app(self, app_label: str) -> None:
        """
        Refuse an app that has no migrations.

        Raises:
            SafefieldError: There is no such app, or it has none.
        """
        if app_label not in self.loader.migrated_apps:
            raise SafefieldError(f"App {app_label!r} does not have migrations.")

    def is_applied(self, migration: Migration) -> bool:
        """Return whether the database has recorded `migration`."""
        return get_key(migration) in self.loader.applied_migrations

    def is_next(self, migration: Migration) -> bool:
        """Return whether `migrate` may have begun it, or the way back from it."""
        if self.is_applied(migration):
            return not self.has_applied_children(migration)
        return not self.find_unapplied_parents(migration)

    def find_unapplied_parents(self, migration: Migration) -> list[str]:
        """Return the migrations that have to be applied first."""
        return [
            f"{key[0]}.{key[1]}"
            for key in self._related(migration, "parents")
            if key not in self.loader.applied_migrations
        ]

    def has_applied_children(self, migration: Migration) -> bool:
        """Return whether a migration that needs `migration` is applied."""
        return any(
            key in self.loader.applied_migrations
            for key in self._related(migration, "children")
        )

    def find_previous(self, migration: Migration) -> str:
        """Return what `migrate` is told in order to undo `migration`."""
        names = [
            name
            for app_label, name in self._related(migration, "parents")
            if app_label == migration.app_label
        ]
        return names[-1] if names else "zero"

    def _related(self, migration: Migration, kind: str) -> list[tuple[str, str]]:
        node = self.loader.graph.node_map[get_key(migration)]
        return sorted(related.key for related in getattr(node, kind))


def get_key(migration: Migration) -> tuple[str, str]:
    """Return the migration's key in the graph."""
    return migration.app_label, migration.name


def has_backfill(operations: Sequence[Operation]) -> bool:
    """Return whether one of the operations is a backfill, or has one within."""
    return any(
        isinstance(operation, BACKFILLS)
        or has_backfill(getattr(operation, "database_operations", ()))
        for operation in operations
    )


def flatten(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Yield what changes the database, also within SeparateDatabaseAndState."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from flatten(operation.database_operations)
        else:
            yield operation


def find_entries(migration: Migration, start: ProjectState) -> Iterator[Entry]:
    """Yield the backfills of a migration, also within SeparateDatabaseAndState."""
    for change in find_changes(migration, start):
        if isinstance(change.operation, BACKFILLS):
            yield Entry(migration, change.operation, start, change.before, change.after)


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
                yield Change(migration, operation, before, after)
            before = after

    yield from find(migration.operations, start)


def find_other_operations(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that are not backfills and may change the database."""
    others: list[Operation] = []
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            others += find_other_operations(operation.database_operations)
        elif not isinstance(operation, (*BACKFILLS, *STATE_OPERATIONS)):
            others.append(operation)
    return others
