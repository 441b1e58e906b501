"""The operations of a run, and what each needs of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from safefield.operations import BACKFILLS

#: App label and lower-case name of a model.
Key = tuple[str, str]


@dataclass(eq=False)
class Node:
    """One operation, what has to run before it, and when it should run."""

    app_label: str
    operation: Any
    needs: set[Node] = field(default_factory=set)
    #: See ranks.py.
    rank: int = 0

    @property
    def is_backfill(self) -> bool:
        """Whether it fills rows."""
        return isinstance(self.operation, BACKFILLS)

    @property
    def key(self) -> Key:
        """The model of the operation; one of a package may have none."""
        name = getattr(self.operation, "model_name_lower", "")
        return self.app_label, name or getattr(self.operation, "name_lower", "")


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


def find_needed_by_backfills(nodes: Iterable[Node]) -> set[Node]:
    """Return the backfills, and all that has to run before one of them."""
    return find_needed(node for node in nodes if node.is_backfill)
