"""What one operation, or one migration, of one app needs of another app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.migrations.operations.base import Operation


class OnOperation(NamedTuple):
    """A dependency on one operation, in the place of Django's OperationDependency."""

    app_label: str
    operation: Operation


def divide_dependencies(
    parts_of: Mapping[tuple[str, str], Sequence[Any]],
    autodetector: Any,
    operations: Sequence[tuple[str, Operation]],
    graph: Any,
) -> None:
    """
    Have parts of migrations depend on parts, and not wholes on wholes.

    A first phase would have to wait for the second phase of another app, and so for
    the new code. The parts are by app label and name of the whole.
    """
    places = {id(operation): place for place, (_, operation) in enumerate(operations)}
    for parts in parts_of.values():
        every = [each for part in parts for each in part.dependencies]
        for part in parts:
            part.dependencies = [d for d in part.dependencies if d not in parts_of]
        for app_label, name in filter(parts_of.__contains__, every):
            others = parts_of[app_label, name]
            found = dict(_find_needed(parts, others, autodetector, places))
            if 0 not in found and graph and graph.leaf_nodes(app_label):
                # A field may lead to a model that is there already.
                parts[0].dependencies.append(graph.leaf_nodes(app_label)[0])
            for number, other in found.items():
                parts[number].dependencies.append((app_label, other.name))


def _find_needed(
    parts: Sequence[Any],
    others: Sequence[Any],
    autodetector: Any,
    places: Mapping[int, int],
) -> Iterator[tuple[int, Any]]:
    """Yield which part needs which of the other ones, if the part before does not."""
    last = -1
    for number, part in enumerate(parts):
        start = min(places[id(operation)] for operation in part.operations)
        needed = [
            place
            for place, other in enumerate(others)
            if all(places[id(operation)] < start for operation in other.operations)
            or _needs(part, other, autodetector)
        ]
        if needed and needed[-1] > last:
            last = needed[-1]
            yield number, others[last]


def _needs(part: Any, other: Any, autodetector: Any) -> bool:
    return any(
        depends(autodetector, operation, other.app_label, needed)
        for operation in part.operations
        for needed in other.operations
    )


def depends(autodetector: Any, operation: Any, app_label: str, other: Any) -> bool:
    """Return whether Django says that an operation needs one of an app."""
    return any(
        dependency.app_label == app_label
        and autodetector.check_dependency(other, dependency)
        for dependency, _ in map(autodetector._resolve_dependency, operation._auto_deps)
    )
