"""What one generated operation needs of another, beyond what Django says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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
from django.db.models import AutoField

from safefield.authoring.clashes import Models
from safefield.authoring.dependencies import depends
from safefield.authoring.nodes import Key, Node
from safefield.authoring.tables import takes_table
from safefield.fields import list_references
from safefield.operations import BACKFILLS

_TOGETHER = (AlterUniqueTogether, AlterIndexTogether)


class Needs:
    """What the operations of a run need of each other."""

    def __init__(
        self, autodetector: Any, models: Models, nodes: Sequence[Node]
    ) -> None:
        self.autodetector = autodetector
        self.models = models
        self.nodes = nodes
        #: Names of new fields by model.
        self.added: dict[Key, set[str]] = defaultdict(set)
        for node in nodes:
            if isinstance(node.operation, AddField):
                self.added[node.key].add(node.operation.name)

    def find(self) -> None:
        """Find out what each operation needs."""
        for node in self.nodes:
            node.needs = {
                other
                for other in self.nodes
                if other is not node and self._has(node, other)
            }

    def _has(self, node: Node, other: Node) -> bool:
        """Return whether an operation needs another one."""
        return (
            self._depends(node, other)
            or _refers(node, other)
            or takes_table(self.models, node, other)
            or (
                node.key == other.key
                and (
                    _names(node.operation, other.operation)
                    or self._replaces(node, other)
                    or brings_field(node.operation, other.operation)
                )
            )
        )

    def _depends(self, node: Node, other: Node) -> bool:
        """Return whether Django says so."""
        if isinstance(node.operation, RemoveField):
            # Django takes unique_together out in one operation and puts it in again in
            # another, and has the removal of a field wait for both.
            if self._names_added(other):
                return False
            # And it has the removal of each field wait until the order is by another.
            if isinstance(other.operation, AlterOrderWithRespectTo):
                model = self.models.before.get(other.key)
                ordered_by = model and model.options.get("order_with_respect_to")
                if ordered_by != node.operation.name:
                    return False
        return depends(
            self.autodetector, node.operation, other.app_label, other.operation
        )

    def _names_added(self, node: Node) -> bool:
        return isinstance(node.operation, _TOGETHER) and any(
            self.added[node.key].intersection(names)
            for names in node.operation.option_value or ()
        )

    def _replaces(self, node: Node, other: Node) -> bool:
        """Return whether a field cannot stand beside what another one was."""
        operation, goes = node.operation, other.operation
        if not isinstance(goes, (AlterField, RemoveField)) or not isinstance(
            operation, (AddField, AlterField)
        ):
            return False
        old = self.models.find_old_field(other.key, goes.name)
        if old is None:
            return False
        if isinstance(goes, AlterField) and goes.field.primary_key:
            return False
        if old.generated and isinstance(operation, AlterField):
            # A column that another is generated from cannot be altered.
            return operation.name in list_references(old.expression)
        return bool(old.primary_key and operation.field.primary_key)


def _refers(node: Node, other: Node) -> bool:
    """Return whether a foreign key refers to a field that is new or altered."""
    fields = (AddField, AlterField)
    operation, target = node.operation, other.operation
    if not isinstance(operation, fields) or not isinstance(target, fields):
        return False
    return bool(
        field_references(
            node.key, operation.field, other.key, target.name, target.field
        )
    )


def _names(operation: Operation, other: Operation) -> bool:
    """Return whether an index or a constraint may name what the other one adds."""
    if isinstance(operation, (AddConstraint, AddIndex)):
        return isinstance(other, (AddField, AlterOrderWithRespectTo))
    if not isinstance(operation, _TOGETHER):
        return False
    names = {name for fields in operation.option_value or () for name in fields}
    if isinstance(other, AlterOrderWithRespectTo):
        return "_order" in names
    return isinstance(other, AddField) and other.name in names


def brings_field(operation: Operation, addition: Operation) -> bool:
    """
    Return whether a field adds the other one of its model itself.

    As django-money's brings the currency, which it sets when it is assigned.
    """
    if not (isinstance(operation, BACKFILLS) and isinstance(addition, AddField)):
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
