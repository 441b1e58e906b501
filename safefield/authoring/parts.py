"""The parts of a generated migration, each backfill alone in its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import CreateModel, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ProjectState

from safefield.authoring.columns import get_column
from safefield.authoring.dependencies import OnOperation, divide_dependencies
from safefield.authoring.grouping import find_unique_with
from safefield.authoring.migration_file import get_backfills, is_first_phase
from safefield.authoring.stubs import ImportedStub, Stub
from safefield.operations import BACKFILLS, AlterFieldWithBackfill


def split_migrations(
    autodetector: Any, operations: Sequence[tuple[str, Operation]], graph: Any
) -> None:
    """Give each backfill a migration of its own."""
    parts_of = {
        (app_label, migration.name): split_migration(migration, autodetector.two_phase)
        for app_label, migrations in autodetector.migrations.items()
        for migration in migrations
    }
    for app_label, migrations in autodetector.migrations.items():
        migrations[:] = [
            part
            for migration in migrations
            for part in parts_of[app_label, migration.name]
        ]
        for number, part in enumerate(migrations, 1):
            part.name = f"auto_{number}"
    divide_dependencies(parts_of, autodetector, operations, graph)
    describe_rows(autodetector, operations)
    for migrations in autodetector.migrations.values():
        link_phases(migrations)


def split_migration(migration: Migration, two_phase: bool) -> list[Migration]:
    """Return the parts of a migration, in order; the first has its dependencies."""
    groups = split_operations(migration.operations, two_phase)
    if len(groups) < 2 and not get_backfills(migration):
        return [migration]
    parts: list[Any] = []
    for operations in groups:
        part: Any = type(migration)(migration.name, migration.app_label)
        part.operations = operations
        part.dependencies = []
        part.initial = migration.initial
        part.atomic = not isinstance(operations[0], BACKFILLS)
        parts.append(part)
    for dependency in migration.dependencies:
        part = next(
            (part for part in parts if has_own_dependency(part, dependency)), parts[0]
        )
        part.dependencies.append(dependency)
    return parts


def has_own_dependency(migration: Any, dependency: Any) -> bool:
    """Return whether an operation refers to a swappable model, by its setting."""
    return any(
        tuple(other)[:2] == tuple(dependency)
        for operation in migration.operations
        for other in operation._auto_deps
    )


def split_operations(
    operations: Sequence[Operation], two_phase: bool
) -> list[list[Operation]]:
    """
    Return the operations in groups, each backfill alone in its own.

    In two phases, what has to wait for a second phase is not in one group with what
    the new code needs before it.
    """
    groups: list[list[Operation]] = []
    for operation in operations:
        if (
            not groups
            or isinstance(operation, BACKFILLS)
            or isinstance(groups[-1][0], BACKFILLS)
            or (two_phase and is_waiting(operation) and not is_waiting(groups[-1][0]))
        ):
            groups.append([])
        groups[-1].append(operation)
    return groups


def is_waiting(operation: Any) -> bool:
    """Return whether an operation waits for a second phase in another app."""
    return any(
        isinstance(dependency, OnOperation)
        and isinstance(dependency.operation, AlterFieldWithBackfill)
        for dependency in operation._auto_deps
    )


def link_phases(migrations: list[Migration]) -> None:
    """Tell each second phase which of the migrations has its function."""
    for migration in migrations:
        for operation in get_backfills(migration):
            if isinstance(stub := operation.populate, ImportedStub):
                home = next(
                    first
                    for first in migrations
                    if any(is_first_phase(o, operation) for o in get_backfills(first))
                )
                operation.populate = replace(stub, home=home)


def describe_rows(
    autodetector: Any, operations: Sequence[tuple[str, Operation]]
) -> None:
    """Tell each backfill which fields a row has when it runs."""
    state = autodetector.from_state.clone()
    for app_label, operation in operations:
        if isinstance(operation, BACKFILLS):
            key = app_label, operation.model_name_lower
            names = list_row_fields(state, key, operation.name)
            operation.unique_with = find_unique_with(
                autodetector.to_state.models[key], operation.name, names
            )
            if isinstance(operation.populate, Stub):
                operation.populate = replace(operation.populate, source_fields=names)
        # The autodetector has taken out of this state what others look for, such as
        # the indexes of a deleted model.
        if isinstance(operation, (CreateModel, FieldOperation, RenameModel)):
            operation.state_forwards(app_label, state)


def list_row_fields(
    state: ProjectState, key: tuple[str, str], filled: str
) -> tuple[str, ...]:
    """Return the names of the fields of a row, but for the one that is filled."""
    fields = _get_fields(state, *key)
    names = [
        name
        for name, field in fields.items()
        if name != filled and get_column(field, name)
    ]
    # Stable: the primary key first, the others as in models.py.
    return tuple(sorted(names, key=lambda name: not fields[name].primary_key))


def _get_fields(state: ProjectState, app_label: str, model_name: str) -> dict[str, Any]:
    """Return the fields of a model, those of its parents first."""
    fields: dict[str, Any] = {}
    model_state = state.models[app_label, model_name]
    for base in model_state.bases:
        if isinstance(base, str):
            base_label, _, base_name = base.partition(".")
            if (base_label, base_name.lower()) in state.models:
                fields.update(_get_fields(state, base_label, base_name.lower()))
    fields.update(model_state.fields)
    return fields
