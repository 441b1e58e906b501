"""When each operation should run, if nothing that it needs is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations.operations import (
    AddConstraint,
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
)
from django.db.migrations.operations.base import Operation

from safefield.authoring.clashes import Models
from safefield.authoring.nodes import Node, find_needed
from safefield.authoring.widening import keeps_values
from safefield.operations import AddFieldWithBackfill

#: Ranks. What a backfill needs that should be late comes after the others of its
#: kind, which can do without it.
_EARLY, _ADDITION, _, _ALTERATION, _, _CHANGE, _, _LATE = range(8)

# They may name the new field: as a constraint, as the ordering of every query.
# AlterModelTable may need the name of a table that DeleteModel frees.
_NAMING: tuple[type[Operation], ...] = (
    AddConstraint,
    AddIndex,
    AlterIndexTogether,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
)


class Ranks:
    """What goes, and when."""

    def __init__(self, models: Models, nodes: Sequence[Node]) -> None:
        self.models = models
        self.deleted = {
            node.key for node in nodes if isinstance(node.operation, DeleteModel)
        }

    def takes_away(self, node: Node) -> bool:
        """Return whether something that a function may read is gone afterwards."""
        operation = node.operation
        if isinstance(operation, AddFieldWithBackfill):
            return False
        if isinstance(operation, (DeleteModel, RemoveField, AlterOrderWithRespectTo)):
            return True
        if not isinstance(operation, AlterField):
            return node.key in self.deleted
        old = self.models.find_old_field(node.key, operation.name)
        if old is None:
            return False
        new: Any = operation.field
        if not node.is_backfill:
            return not keeps_values(old, new)
        # It only fills what is empty, if nothing but the null is another.
        new = new.clone()
        new.null = old.null
        leads_elsewhere = self.models.list_removed(node)
        return bool(leads_elsewhere) or not keeps_values(old, new)

    def assign(self, nodes: Sequence[Node]) -> None:
        """Give each operation its rank."""
        for node in nodes:
            if isinstance(node.operation, AddFieldWithBackfill):
                node.rank = _ADDITION
            elif node.is_backfill:
                node.rank = _CHANGE if self.takes_away(node) else _ALTERATION
            elif (
                isinstance(node.operation, _NAMING)
                or self.takes_away(node)
                or _is_post_deployment(node.operation)
            ):
                node.rank = _LATE
        for rank in (_CHANGE, _ALTERATION, _ADDITION):
            for node in find_needed(n for n in nodes if n.rank == rank):
                node.rank = min(node.rank, rank + 1)


def _is_post_deployment(operation: Operation) -> bool:
    """
    Return whether django-syzygy runs the operation after the deployment.

    It refuses what comes after such an operation and belongs before the
    deployment, as a backfill does.
    """
    stage = getattr(operation, "stage", None)
    return getattr(stage, "value", None) == "post_deployment"
