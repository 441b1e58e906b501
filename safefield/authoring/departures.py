"""Fields that go while something comes that cannot stand beside them: how they stay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from django.db.migrations.operations import (
    AlterField,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.operations.base import Operation
from django.db.models.fields.proxy import OrderWrt

from safefield.authoring.clashes import COLUMN, NAME, REVERSE, Models, Spot
from safefield.authoring.columns import get_column, rebuild_field
from safefield.authoring.nodes import Node, find_needed, find_needed_by_backfills
from safefield.authoring.ranks import Ranks
from safefield.authoring.stubs import Stub
from safefield.authoring.tables import find_relation_table

# A removed field is in none of them any more.
_BEFORE_REMOVAL: tuple[type[Operation], ...] = (RemoveConstraint, RemoveIndex)


class Departures:
    """The fields that go, each with what wants its name or its column."""

    def __init__(self, models: Models, nodes: list[Node]) -> None:
        self.models = models
        self.nodes = nodes
        self.clashes: list[tuple[Node, Spot, dict[Node, set[str]]]] = []

    def find(self) -> None:
        """Find them, and have what comes wait until they are gone."""
        given = [
            (node, new) for node in self.nodes for new in self.models.list_given(node)
        ]
        for node in self.nodes:
            for old in self.models.list_removed(node):
                clashes: dict[Node, set[str]] = defaultdict(set)
                for other, new in given:
                    if other is node:
                        continue
                    if found := self.models.find_clashes(old, new):
                        clashes[other] |= found
                        other.needs.add(node)
                if clashes:
                    self.clashes.append((node, old, clashes))

    def set_aside(self, ranks: Ranks) -> None:
        """Have those that a function may read make room and stay, where they can."""
        needed = find_needed_by_backfills(self.nodes)
        gone = []
        for node, spot, clashes in self.clashes:
            if not (ranks.takes_away(node) or node.is_backfill):
                continue
            kinds = [
                found
                for other, found in clashes.items()
                # A new model is whole for a function that makes rows of it.
                if other in needed or other.key not in self.models.before
            ]
            if kinds:
                spot = self._follow_column(node, spot)
                made = set().union(*kinds)
                aside = make_aside(self.models, spot, made)
                if aside is None:
                    gone.append((node, spot))
                    continue
                helped = [n for n, found in clashes.items() if found <= made]
                self._make_room(node, spot, aside, helped)
        for node, spot in gone:
            self._tell_that_it_is_gone(node, spot)

    def _tell_that_it_is_gone(self, node: Node, spot: Spot) -> None:
        title = f"{self.models.before[spot.key].name}.{spot.name}"
        how = "removed" if spot.names else "altered"
        sentence = f"{title} cannot be read: it is {how} before."
        for other in self.nodes:
            if other.is_backfill and node in find_needed([other]):
                tell(other.operation, sentence)

    def _follow_column(self, node: Node, spot: Spot) -> Spot:
        """Return an altered field as it is when its column has moved already."""
        if node.is_backfill:
            for other in node.needs:
                move = other.operation
                if (
                    isinstance(move, AlterField)
                    and other.key == spot.key
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
            if other.key == spot.key and isinstance(other.operation, _BEFORE_REMOVAL)
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


def tell(operation: Any, sentence: str) -> None:
    """Have the function of a backfill say in which form an old value is there."""
    if sentence and isinstance(getattr(operation, "populate", None), Stub):
        stub: Stub = operation.populate
        operation.populate = replace(stub, notes=(*stub.notes, sentence))


@dataclass(frozen=True)
class Aside:
    """What is done with one field that goes."""

    #: They give it another name, column or accessor.
    operations: list[Operation]
    #: Its name from then on.
    name: str
    #: What the author of a function has to know.
    sentence: str


def make_aside(models: Models, spot: Spot, clashes: AbstractSet[str]) -> Aside | None:
    """
    Return how a field that goes can stay until it has been read; None if it cannot.
    """
    field: Any = spot.field
    is_fixed = field.primary_key or field.generated or isinstance(field, OrderWrt)
    if is_fixed and clashes - {REVERSE}:
        return None
    name, forms = spot.name, []
    if REVERSE in clashes:
        assert spot.target is not None
        accessor = models.find_free_name(spot.accessor or "", spot.target)
        field = rebuild_field(field, related_name=accessor, related_query_name=None)
        forms.append(f"leads back as {accessor}")
    if NAME in clashes:
        name = models.find_free_name(spot.name, spot.key)
        forms.append(f"is called {name}")
    moves = COLUMN in clashes and (NAME not in clashes or bool(field.db_column))
    if COLUMN in clashes:
        field = strip_keys(models, spot, field, moves=moves)
    # Without a clash it keeps its column: then nothing is changed in the database, and
    # the old code runs on.
    if moves:
        free = models.find_free_name(field.db_column or spot.name, spot.key)
        field = rebuild_field(field, db_column=free)
    elif NAME in clashes and COLUMN not in clashes and spot.column:
        field = rebuild_field(field, db_column=get_column(field, spot.name))
    sentence = ""
    if forms:
        end = "removed" if spot.names else "altered"
        title = f"{models.before[spot.key].name}.{spot.name}"
        sentence = f"{title} {' and '.join(forms)} until it is {end}."
    return Aside(list(_list_operations(models, spot, field, name)), name, sentence)


def strip_keys(models: Models, spot: Spot, field: Any, *, moves: bool) -> Any:
    """
    Return a field without the index and the constraints of its column.

    They keep their names when the column is renamed, and Django makes those of the new
    one out of table and column: they would be the same. `moves` says that the operation
    that takes them away renames the column, too.
    """
    changes = {}
    if getattr(field, "db_constraint", False):
        changes["db_constraint"] = False
    # What a foreign key refers to stays unique.
    if field.unique and not field.one_to_one and not models.is_referred_to(spot):
        changes["unique"] = False
    # Django renames a column of SQLite and forgets the index, unless something of the
    # column itself is another.
    if field.db_index and not field.one_to_one and (changes or not moves):
        changes["db_index"] = False
    return rebuild_field(field, **changes) if changes else field


def _list_operations(
    models: Models, spot: Spot, field: Any, name: str
) -> Iterator[Operation]:
    """Yield what makes another field, of another name, of one that goes."""
    model_name = spot.key[1]
    if field is not spot.field:
        yield AlterField(model_name, spot.name, field)
    if name == spot.name:
        return
    yield RenameField(model_name, spot.name, name)
    before = models.before[spot.key]
    table = find_relation_table(spot.key, before, spot.name, spot.field)
    # A longer one is cut, each database in its way.
    if table is not None and not field.db_table and len(table) <= 60:
        # Behind the new name, or Django's optimizer puts it there.
        yield AlterField(model_name, name, rebuild_field(field, db_table=table))


def rename_removal(removal: Operation, name: str) -> Operation:
    """Return the removal of a field under the name that it has by then."""
    if not isinstance(removal, RemoveField) or removal.name == name:
        return removal
    renamed: Any = RemoveField(removal.model_name, name)
    renamed._auto_deps = removal._auto_deps  # type: ignore[attr-defined] # set by add_operation()
    return renamed  # type: ignore[no-any-return]
