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

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from django.db.migrations.operations.base import Operation

from safefield.authoring.clashes import Models
from safefield.authoring.departures import Departures
from safefield.authoring.dependencies import OnOperation
from safefield.authoring.needs import Needs
from safefield.authoring.nodes import Node
from safefield.authoring.ranks import Ranks
from safefield.authoring.tables import refuse_taken_tables


def sort_operations(
    autodetector: Any, selected: AbstractSet[str] | None = None
) -> list[tuple[str, Operation]]:
    """
    Put the operations of all apps into an order that suits the backfills.

    Only the apps that are selected get migrations; None is all. Returns the operations
    with their apps, as they are to run.
    """
    generated = autodetector.generated_operations
    models = Models(autodetector)
    nodes = [
        Node(app_label, operation)
        for app_label, operations in sorted(generated.items())
        for operation in operations
    ]
    Needs(autodetector, models, nodes).find()
    departures, ranks = Departures(models, nodes), Ranks(models, nodes)
    departures.find()
    departures.set_aside(ranks)
    refuse_taken_tables(models, nodes)
    ranks.assign(nodes)
    ordered = sort_nodes(nodes)
    for app_label in generated:
        generated[app_label] = [
            node.operation for node in ordered if node.app_label == app_label
        ]
    for index, node in enumerate(ordered):
        depend_across_apps(node, ordered[:index], selected, ranks.takes_away(node))
    return [(node.app_label, node.operation) for node in ordered]


def sort_nodes(nodes: Iterable[Node]) -> list[Node]:
    """Return the operations by rank, each after what it needs."""
    remaining = list(nodes)
    ordered: list[Node] = []
    while remaining:
        ready = [node for node in remaining if node.needs.isdisjoint(remaining)]
        # Nothing is ready in a circle, which Django's order has cut already.
        node = min(ready or remaining, key=lambda node: node.rank)
        remaining.remove(node)
        ordered.append(node)
    return ordered


def depend_across_apps(
    node: Node,
    earlier: Sequence[Node],
    selected: AbstractSet[str] | None,
    takes_away: bool,
) -> None:
    """Have Django keep the order where it is between two apps."""
    for other in earlier:
        if other.app_label == node.app_label:
            continue
        # An app that was not asked for gets no migration because of this.
        is_selected = selected is None or other.app_label in selected
        waits = takes_away and other.is_backfill and is_selected
        if waits or other in node.needs:
            dependency = OnOperation(other.app_label, other.operation)
            node.operation._auto_deps = [*node.operation._auto_deps, dependency]
