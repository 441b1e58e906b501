"""
In which order the operations beside backfills are to run, in all apps of a run.

A function may read any model. So nothing goes before the backfills but what has to,
and what is new and asks nothing of the rows comes before them:

1. What comes: new models and fields, renames.
2. The backfills: those that add a field, for the others may be a second phase; those
   that only fill what is empty; those after which values or reverse names are others.
3. What goes, and what may name a new field: removals, alterations in which values would
   be others, constraints, indexes and options.

What one operation needs of another comes before all this: a foreign key its model, a
field the name or the column that another one has. Where a backfill needs something that
goes, that is set aside under another name, so that it can be read, and goes later. Only
where it cannot stay, as a primary key beside a new one, it goes first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

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
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
)
from django.db.migrations.operations.base import Operation

from safefield.authoring.asides import Aside, rename_removal, set_aside
from safefield.authoring.clashes import Key, Models, Spot
from safefield.authoring.dependencies import OnOperation
from safefield.authoring.needs import Needs
from safefield.authoring.stubs import Stub
from safefield.authoring.tables import takes_table
from safefield.authoring.widening import keeps_values
from safefield.exceptions import SafefieldError
from safefield.operations import BACKFILLS, AddFieldWithBackfill

if TYPE_CHECKING:
    from django.db.migrations.autodetector import MigrationAutodetector


#: Ranks. What a backfill needs that should be late stands behind the others of its
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

# A removed field is in none of them any more.
_BEFORE_REMOVAL: tuple[type[Operation], ...] = (RemoveConstraint, RemoveIndex)


@dataclass(eq=False)
class Node:
    """
    One operation.

    Args:
        app_label (str): Its app.
        operation (Operation): The operation.
        needs (set[Node]): What has to run before it.
        rank (int): When it should run.
    """

    app_label: str
    operation: Any
    needs: set[Node] = field(default_factory=set)
    rank: int = _EARLY

    @property
    def is_backfill(self) -> bool:
        """Whether it fills rows."""
        return isinstance(self.operation, BACKFILLS)


def sort_operations(
    autodetector: MigrationAutodetector, selected: AbstractSet[str] | None = None
) -> list[tuple[str, Operation]]:
    """
    Put the operations of all apps into an order that suits the backfills.

    Args:
        autodetector (MigrationAutodetector): Has generated them.
        selected (Set[str] | None): The apps that get migrations; None for all.

    Returns:
        The operations with their apps, as they are to run.
    """
    ordering = Ordering(autodetector)
    ordered = ordering.sort()
    for app_label in ordering.generated:
        ordering.generated[app_label] = [
            node.operation for node in ordered if node.app_label == app_label
        ]
    for index, node in enumerate(ordered):
        depend_across_apps(node, ordered[:index], selected, ordering.takes_away(node))
    return [(node.app_label, node.operation) for node in ordered]


def depend_across_apps(
    node: Node,
    earlier: Sequence[Node],
    selected: AbstractSet[str] | None,
    takes_away: bool,
) -> None:
    """Have Django keep the order where it is between two apps."""
    node.operation._auto_deps = [
        *node.operation._auto_deps,
        *(
            OnOperation(other.app_label, other.operation)
            for other in earlier
            if other.app_label != node.app_label
            and (
                other in node.needs
                or (
                    takes_away
                    and other.is_backfill
                    # An app that was not asked for gets no migration because of this.
                    and (selected is None or other.app_label in selected)
                )
            )
        ),
    ]


class Ordering:
    """
    The operations of a run, and what they ask of each other.

    Args:
        autodetector (MigrationAutodetector): Has generated them.
    """

    def __init__(self, autodetector: Any) -> None:
        self.generated: dict[str, list[Operation]] = autodetector.generated_operations
        self.models = Models(autodetector)
        self.nodes = [
            Node(app_label, operation)
            for app_label, operations in sorted(self.generated.items())
            for operation in operations
        ]
        self.deleted = {
            (node.app_label, node.operation.name_lower)
            for node in self.nodes
            if isinstance(node.operation, DeleteModel)
        }
        #: Fields that go, each with what wants its name or its column.
        self.clashes: list[tuple[Node, Spot, dict[Node, set[str]]]] = []
        self.needs = needs = Needs(
            autodetector,
            self.models,
            [(node.app_label, node.operation) for node in self.nodes],
        )
        for node in self.nodes:
            node.needs = {
                other
                for other in self.nodes
                if other is not node
                and needs.has(
                    node.app_label, node.operation, other.app_label, other.operation
                )
            }
        self._find_clashes()

    def _find_clashes(self) -> None:
        given = [
            (node, new)
            for node in self.nodes
            for new in self.models.list_given(node.app_label, node.operation)
        ]
        for node in self.nodes:
            for old in self.models.list_removed(node.app_label, node.operation):
                clashes: dict[Node, set[str]] = defaultdict(set)
                for other, new in given:
                    if other is node:
                        continue
                    if found := self.models.find_clashes(old, new):
                        clashes[other] |= found
                        other.needs.add(node)
                if clashes:
                    self.clashes.append((node, old, clashes))

    def sort(self) -> list[Node]:
        """Return the operations in order, some of them set aside."""
        self._set_aside()
        self._refuse_taken_tables()
        self._rank()
        remaining = list(self.nodes)
        ordered: list[Node] = []
        while remaining:
            ready = [node for node in remaining if node.needs.isdisjoint(remaining)]
            # Nothing is ready in a circle, which Django's order has cut already.
            node = min(ready or remaining, key=lambda node: node.rank)
            remaining.remove(node)
            ordered.append(node)
        return ordered

    def _refuse_taken_tables(self) -> None:
        """
        Refuse to delete the rows of a table before a function can read them.

        Raises:
            SafefieldError: A backfill needs a new model that has such a table.
        """
        for new in find_needed(node for node in self.nodes if node.is_backfill):
            for old in new.needs:
                if isinstance(old.operation, DeleteModel) and takes_table(
                    self.models,
                    new.app_label,
                    new.operation,
                    old.app_label,
                    old.operation,
                ):
                    raise SafefieldError(
                        f"No migration was written. Model {new.operation.name} has the "
                        f"table of model {old.operation.name}, which is deleted, and a "
                        f"backfill needs {new.operation.name}: the rows of "
                        f"{old.operation.name} would be gone before it reads them. "
                        f"Keep {old.operation.name} and give it another table "
                        f"(db_table), run makemigrations, then delete it and run "
                        f"makemigrations again."
                    )

    # What stays under another name

    def _set_aside(self) -> None:
        needed = find_needed(node for node in self.nodes if node.is_backfill)
        gone = []
        for node, spot, clashes in self.clashes:
            if not (self.takes_away(node) or node.is_backfill):
                continue
            kinds = [
                found
                for other, found in clashes.items()
                # A new model is whole for a function that makes rows of it.
                if other in needed or get_key(other) not in self.models.before
            ]
            if kinds:
                spot = self._follow_column(node, spot)
                made = set().union(*kinds)
                aside = set_aside(self.models, spot, made)
                if aside is None:
                    gone.append((node, spot))
                    continue
                helped = [n for n, found in clashes.items() if found <= made]
                self._make_room(node, spot, aside, helped)
        for node, spot in gone:
            self._tell_that_it_is_gone(node, spot)

    def _tell_that_it_is_gone(self, node: Node, spot: Spot) -> None:
        title = f"{self.models.before[spot.key].name}.{spot.name}"
        for other in self.nodes:
            if other.is_backfill and node in find_needed([other]):
                tell(other.operation, f"{title} cannot be read: it is removed before.")

    def _follow_column(self, node: Node, spot: Spot) -> Spot:
        """Return an altered field as it is when its column has moved already."""
        if node.is_backfill:
            for other in node.needs:
                move = other.operation
                if (
                    isinstance(move, AlterField)
                    and get_key(other) == spot.key
                    and move.name == spot.name
                ):
                    return replace(spot, field=move.field)
        return spot

    def _make_room(
        self, node: Node, spot: Spot, aside: Aside, clashes: Iterable[Node]
    ) -> None:
        needs = {
            other
            for other in self.nodes
            if get_key(other) == spot.key
            and isinstance(other.operation, _BEFORE_REMOVAL)
        }
        if isinstance(node.operation, RemoveField) or node.is_backfill:
            needs |= node.needs
        needs = {n for n in needs if find_needed([n]).isdisjoint(clashes)}
        place = self.nodes.index(node)
        for operation in aside.operations:
            operation._auto_deps = []  # type: ignore[attr-defined] # as add_operation()
            new = Node(node.app_label, operation, needs)
            self.nodes.insert(place, new)
            place, needs = place + 1, {new}
        node.operation = rename_removal(node.operation, aside.name)
        node.needs = node.needs | needs
        for other in clashes:
            # It needs the room, and not that the field is gone.
            other.needs = (other.needs - {node}) | needs
            tell(other.operation, aside.sentence)

    # What goes, and when

    def takes_away(self, node: Node) -> bool:
        """Return whether something that a function may read is gone afterwards."""
        operation = node.operation
        if isinstance(operation, AddFieldWithBackfill):
            return False
        if isinstance(operation, (DeleteModel, RemoveField, AlterOrderWithRespectTo)):
            return True
        if not isinstance(operation, AlterField):
            return get_key(node) in self.deleted
        old = self.models.find_old_field(get_key(node), operation.name)
        if old is None:
            return False
        new: Any = operation.field
        if not node.is_backfill:
            return not keeps_values(old, new)
        # It only fills what is empty, if nothing but the null is another.
        new = new.clone()
        new.null = old.null
        leads_elsewhere = self.models.list_removed(node.app_label, operation)
        return bool(leads_elsewhere) or not keeps_values(old, new)

    def _rank(self) -> None:
        for node in self.nodes:
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
            for node in find_needed(n for n in self.nodes if n.rank == rank):
                node.rank = min(node.rank, rank + 1)


def get_key(node: Node) -> Key:
    """Return the model of an operation; one of a package may have none."""
    name = getattr(node.operation, "model_name_lower", "")
    return node.app_label, name or getattr(node.operation, "name_lower", "")


def find_needed(nodes: Iterable[Node]) -> set[Node]:
    """Return the nodes, and all that has to run before them."""
    needed: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in needed:
            needed.add(node)
            pending += node.needs
    return needed


def tell(operation: Any, sentence: str) -> None:
    """Have the function of a backfill say in which form an old value is there."""
    if sentence and isinstance(getattr(operation, "populate", None), Stub):
        stub: Stub = operation.populate
        operation.populate = replace(stub, notes=(*stub.notes, sentence))


def _is_post_deployment(operation: Operation) -> bool:
    """
    Return whether django-syzygy runs the operation after the deployment.

    It refuses what stands behind such an operation and belongs before the
    deployment, as a backfill does.
    """
    stage = getattr(operation, "stage", None)
    return getattr(stage, "value", None) == "post_deployment"
