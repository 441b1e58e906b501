"""In which order the operations beside a backfill are to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps.registry import Apps
from django.db.migrations.operations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import field_references
from django.db.models import AutoField, CompositePrimaryKey, ForeignKey, ForeignObject

from safefield.operations import BACKFILLS, AlterFieldWithBackfill

if TYPE_CHECKING:
    from django.db.migrations.autodetector import MigrationAutodetector

__all__ = ["get_column", "get_row_fields", "sort_operations", "split_operations"]

_BEFORE, _ADDITION, _ALTERATION, _AFTER = range(4)

# They take something away that populate may read, or they may name the new field:
# as a constraint, as the ordering of every query. AlterModelTable may need the name
# of a table that DeleteModel frees.
_LATE_OPERATIONS: tuple[type[Operation], ...] = (
    AddConstraint,
    AddIndex,
    AlterIndexTogether,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    DeleteModel,
    RemoveField,
)


def sort_operations(
    autodetector: MigrationAutodetector, app_label: str, operations: list[Operation]
) -> list[Operation]:
    """
    Return the operations of one app in an order that suits its backfills.

    Args:
        autodetector (MigrationAutodetector): Knows what depends on what.
        app_label (str): The app.
        operations (list[Operation]): In Django's order, which is kept where
            nothing speaks against it.

    Steps:
        Additions and renames come first, so that populate finds the new
        columns; then the backfills, those that add a field first, for the
        others may be a second phase; then constraints, indexes, options and
        removals, so that populate still finds the old columns. What a
        dependency demands earlier comes earlier.
    """
    needs = _get_needs(autodetector, app_label, operations)
    ranks = [_get_rank(autodetector, app_label, operation) for operation in operations]
    _promote_needed(ranks, needs)
    remaining = list(range(len(operations)))
    ordered = []
    while remaining:
        ready = [index for index in remaining if needs[index].isdisjoint(remaining)]
        # Nothing is ready in a circle, which Django's order has cut already.
        index = min(ready or remaining, key=lambda index: (ranks[index], index))
        remaining.remove(index)
        ordered.append(operations[index])
    return ordered


def _get_needs(
    autodetector: Any, app_label: str, operations: list[Operation]
) -> list[set[int]]:
    """Return for each operation the indexes of those that must run before it."""
    needs: list[set[int]] = [set() for _ in operations]
    for index, operation in enumerate(operations):
        dependencies = [
            autodetector._resolve_dependency(dependency)[0]
            for dependency in operation._auto_deps  # type: ignore[attr-defined] # set by add_operation()
        ]
        for other, candidate in enumerate(operations):
            if other != index and (
                any(
                    dependency.app_label == app_label
                    and autodetector.check_dependency(candidate, dependency)
                    for dependency in dependencies
                )
                or _names_field(operation, candidate, app_label)
                or _brings_field(operation, candidate)
                or _frees_column(autodetector, app_label, candidate, operation)
            ):
                needs[index].add(other)
    return needs


def _promote_needed(ranks: list[int], needs: list[set[int]]) -> None:
    """Give whatever something early needs an early rank as well."""
    pending = [index for index, rank in enumerate(ranks) if rank != _AFTER]
    while pending:
        for needed in needs[pending.pop()]:
            if ranks[needed] == _AFTER:
                ranks[needed] = _BEFORE
                pending.append(needed)


def _get_rank(autodetector: Any, app_label: str, operation: Operation) -> int:
    if isinstance(operation, AlterFieldWithBackfill):
        return _ALTERATION
    if isinstance(operation, BACKFILLS):
        return _ADDITION
    if _is_post_deployment(operation):
        return _AFTER
    if not isinstance(operation, _LATE_OPERATIONS):
        return _BEFORE
    if isinstance(operation, RemoveField):
        old_field = _get_old_field(autodetector, app_label, operation)
        # A table has one primary key, and a column that another is generated
        # from cannot be altered.
        if old_field is not None and (old_field.primary_key or old_field.generated):
            return _BEFORE
    return _AFTER


def _is_post_deployment(operation: Operation) -> bool:
    """
    Return whether django-syzygy runs the operation after the deployment.

    It refuses what stands behind such an operation and belongs before the
    deployment, as a backfill does.
    """
    stage = getattr(operation, "stage", None)
    return getattr(stage, "value", None) == "post_deployment"


def _names_field(operation: Operation, backfill: Operation, app_label: str) -> bool:
    """Return whether `operation` needs a new column, though Django does not say so."""
    if not isinstance(backfill, BACKFILLS):
        return False
    if isinstance(operation, (AlterUniqueTogether, AlterIndexTogether)):
        return operation.name_lower == backfill.model_name_lower and any(
            backfill.name in fields for fields in operation.option_value or ()
        )
    # A foreign key to the new field, by to_field.
    field = getattr(operation, "field", None)
    return (
        isinstance(operation, FieldOperation)
        and field is not None
        and bool(
            field_references(
                (app_label, operation.model_name_lower),
                field,
                (app_label, backfill.model_name_lower),
                backfill.name,
                backfill.field,
            )
        )
    )


def _brings_field(operation: Operation, addition: Operation) -> bool:
    """
    Return whether the field of `operation` adds the other one to its model itself.

    As django-money's brings the currency, which it sets when it is assigned.
    """
    if not (
        isinstance(operation, BACKFILLS)
        and isinstance(addition, AddField)
        and operation.model_name_lower == addition.model_name_lower
    ):
        return False
    field: Any = operation.field
    if str(type(field).contribute_to_class.__module__).startswith("django."):
        return False
    fields: list[Any] = [
        ("id", AutoField(primary_key=True)),
        (operation.name, field.clone()),
    ]
    model = ModelState("safefield", "Probe", fields).render(Apps())
    names = {other.name for other in model._meta.local_fields}
    return addition.name in names - {operation.name}


def _frees_column(
    autodetector: Any, app_label: str, removal: Operation, operation: Operation
) -> bool:
    """Return whether a removed field has the column that another one takes."""
    if (
        not isinstance(removal, RemoveField)
        or not isinstance(operation, (AddField, AlterField))
        or removal.model_name_lower != operation.model_name_lower
    ):
        return False
    old_field = _get_old_field(autodetector, app_label, removal)
    return old_field is not None and get_column(old_field, removal.name) == get_column(
        operation.field, operation.name
    )


def _get_old_field(autodetector: Any, app_label: str, removal: RemoveField) -> Any:
    model_name = autodetector.renamed_models.get(
        (app_label, removal.model_name_lower), removal.model_name_lower
    )
    model_state = autodetector.from_state.models[app_label, model_name]
    return model_state.fields.get(removal.name)


def get_column(field: Any, name: str) -> str:
    """Return the column of a field that is of no model yet, to compare it."""
    suffix = "_id" if isinstance(field, ForeignKey) else ""
    # Lower case: SQLite, MySQL and the default of PostgreSQL's tools do not tell.
    return str(field.db_column or f"{name}{suffix}").lower()


def split_operations(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Return the operations in groups, each backfill alone in its own."""
    groups: list[list[Operation]] = []
    for operation in operations:
        is_alone = isinstance(operation, BACKFILLS)
        if is_alone or not groups or isinstance(groups[-1][0], BACKFILLS):
            groups.append([])
        groups[-1].append(operation)
    return groups


def get_row_fields(
    from_state: ProjectState,
    app_label: str,
    operations: Sequence[Operation],
    backfill: Operation,
) -> tuple[str, ...]:
    """
    Return the names of the fields that a row has when `backfill` runs.

    Args:
        from_state (ProjectState): The models before all operations.
        app_label (str): The app of all operations.
        operations (Sequence[Operation]): In order; those before `backfill` count.
        backfill (Operation): One of them.
    """
    assert isinstance(backfill, BACKFILLS)
    models = {
        model_name: _get_fields(from_state, label, model_name)
        for label, model_name in from_state.models
        if label == app_label
    }
    for operation in operations[: operations.index(backfill)]:
        _apply_to_fields(models, operation)
    fields = models[backfill.model_name_lower]
    names = [name for name, field in fields.items() if _is_readable(field)]
    if backfill.name in names:
        names.remove(backfill.name)
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


def _apply_to_fields(models: dict[str, dict[str, Any]], operation: Operation) -> None:
    if isinstance(operation, RenameModel):
        models[operation.new_name_lower] = models.pop(operation.old_name_lower)
    if not isinstance(operation, FieldOperation):
        return
    fields = models.get(operation.model_name_lower, {})
    if isinstance(operation, AddField):
        fields[operation.name] = operation.field
    elif isinstance(operation, RemoveField):
        fields.pop(operation.name, None)
    elif isinstance(operation, RenameField):
        models[operation.model_name_lower] = {
            operation.new_name if name == operation.old_name else name: field
            for name, field in fields.items()
        }


def _is_readable(field: Any) -> bool:
    """Return whether the field has a column and so a value in each row."""
    is_virtual = isinstance(field, ForeignObject) and not isinstance(field, ForeignKey)
    return not (
        field.many_to_many or is_virtual or isinstance(field, CompositePrimaryKey)
    )
