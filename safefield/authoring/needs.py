"""What one generated operation needs of another, beyond what Django says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.apps.registry import Apps
from django.db.migrations.operations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    RemoveField,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.migrations.utils import field_references
from django.db.models import AutoField, Model

from safefield.authoring.clashes import Key, Models
from safefield.authoring.tables import takes_table
from safefield.operations import BACKFILLS

_TOGETHER = (AlterUniqueTogether, AlterIndexTogether)


class Needs:
    """
    What the operations of a run need of each other.

    Args:
        autodetector (MigrationAutodetector): Has generated them.
        models (Models): The models before and after.
        operations (Iterable): All of them, each with its app.
    """

    def __init__(
        self,
        autodetector: Any,
        models: Models,
        operations: Iterable[tuple[str, Operation]],
    ) -> None:
        self.autodetector = autodetector
        self.models = models
        #: Names of new fields by model.
        self.added: dict[Key, set[str]] = defaultdict(set)
        for app_label, operation in operations:
            if isinstance(operation, AddField):
                key = app_label, operation.model_name_lower
                self.added[key].add(operation.name)

    def has(
        self, app_label: str, operation: Operation, other_label: str, other: Operation
    ) -> bool:
        """Return whether `operation` of one app needs `other` of another, or of it."""
        return (
            self._depends(operation, other_label, other)
            or self._refers(app_label, operation, other_label, other)
            or takes_table(self.models, app_label, operation, other_label, other)
            or (
                app_label == other_label
                and _get_model(operation) == _get_model(other)
                and (
                    self._names(operation, other)
                    or self._replaces(app_label, operation, other)
                    or brings_field(operation, other)
                )
            )
        )

    def _depends(self, operation: Any, other_label: str, other: Operation) -> bool:
        """Return whether Django says so."""
        # Django takes unique_together out in one operation and puts it in again in
        # another, and has the removal of a field wait for both.
        if isinstance(operation, RemoveField) and self._names_added(other_label, other):
            return False
        # And it has the removal of each field wait until the order is by another one.
        if isinstance(operation, RemoveField) and isinstance(
            other, AlterOrderWithRespectTo
        ):
            model = self.models.before.get((other_label, other.name_lower))
            ordered_by = model and model.options.get("order_with_respect_to")
            if ordered_by != operation.name:
                return False
        return any(
            dependency.app_label == other_label
            and self.autodetector.check_dependency(other, dependency)
            for dependency, _ in map(
                self.autodetector._resolve_dependency, operation._auto_deps
            )
        )

    def _names_added(self, app_label: str, operation: Operation) -> bool:
        return isinstance(operation, _TOGETHER) and any(
            self.added[app_label, operation.name_lower].intersection(names)
            for names in operation.option_value or ()
        )

    def _refers(
        self, app_label: str, operation: Any, other_label: str, other: Operation
    ) -> bool:
        """Return whether a foreign key refers to a field that is new or altered."""
        if not isinstance(operation, (AddField, AlterField)) or not isinstance(
            other, (AddField, AlterField)
        ):
            return False
        return bool(
            field_references(
                (app_label, operation.model_name_lower),
                operation.field,
                (other_label, other.model_name_lower),
                other.name,
                other.field,
            )
        )

    # Of one model

    def _names(self, operation: Any, other: Operation) -> bool:
        """Return whether an index or a constraint may name what the other one adds."""
        if isinstance(operation, (AddConstraint, AddIndex)):
            return isinstance(other, (AddField, AlterOrderWithRespectTo))
        if not isinstance(operation, _TOGETHER):
            return False
        names = {name for fields in operation.option_value or () for name in fields}
        if isinstance(other, AlterOrderWithRespectTo):
            return "_order" in names
        return isinstance(other, AddField) and other.name in names

    def _replaces(self, app_label: str, operation: Any, other: Operation) -> bool:
        """Return whether a field cannot stand beside what another one was."""
        if not isinstance(other, (AlterField, RemoveField)) or not isinstance(
            operation, (AddField, AlterField)
        ):
            return False
        key = app_label, other.model_name_lower
        old = self.models.find_old_field(key, other.name)
        if old is None:
            return False
        if isinstance(other, AlterField) and other.field.primary_key:
            return False
        if old.generated and isinstance(operation, AlterField):
            # A column that another is generated from cannot be altered.
            references = Model._get_expr_references(old.expression)  # type: ignore[attr-defined] # private
            return any(operation.name == name for name, *_ in references)
        return bool(old.primary_key and operation.field.primary_key)


def _get_model(operation: Any) -> str:
    name = getattr(operation, "model_name", None) or getattr(operation, "name", "")
    return str(name).lower()


def brings_field(operation: Operation, addition: Operation) -> bool:
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
