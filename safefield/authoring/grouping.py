"""The constraints over a backfilled field that later operations add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.operations import (
    AddConstraint,
    AddIndex,
    AlterUniqueTogether,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.models import UniqueConstraint

from safefield.authoring.migration_file import get_backfills
from safefield.authoring.unasked import get_constraints, get_names


def find_unique_with(
    model_state: ModelState, name: str, row_fields: Iterable[str]
) -> tuple[str, ...]:
    """
    Return the fields that a new field is unique together with.

    Of several constraints, the first of the fewest fields: it may imply others.
    """
    if model_state.get_field(name).unique:
        return ()
    groups = [
        # A set, in no order.
        *sorted(map(tuple, model_state.options.get("unique_together", ()))),
        *(
            constraint.fields
            for constraint in get_constraints(model_state)
            if is_plain(constraint)
        ),
    ]
    known = {name, *row_fields}
    found = [
        tuple(other for other in group if other != name)
        for group in groups
        if name in group and known.issuperset(group) and len(group) > 1
    ]
    return min(found, key=len, default=())


def is_plain(constraint: UniqueConstraint) -> bool:
    """Return whether the constraint says as much as its fields."""
    return not constraint.expressions and constraint.condition is None


def describe_keys(changes: Iterable[Sequence[Migration]]) -> Iterator[str]:
    """Yield what to say of new constraints and indexes over backfilled fields."""
    pairs = [pair for migrations in changes for pair in _find_keys(migrations)]
    # The backfill of one of its fields looks for all that would break a constraint.
    seen = {
        id(operation)
        for backfill, operation in pairs
        if isinstance(operation, AddConstraint)
        and (backfill.field.unique or not _find_reason(backfill, operation.constraint))
    }
    texts = [
        text
        for backfill, operation in pairs
        if id(operation) not in seen
        for text in _describe_unseen(backfill, operation)
    ]
    # The two phases of a field are two backfills.
    yield from dict.fromkeys(texts)
    keys = {_name(operation): operation for _, operation in pairs}
    if keys and any(map(_builds_concurrently, connections.all())):
        yield _describe_locks(keys)


def _find_keys(migrations: Sequence[Migration]) -> Iterator[tuple[Any, Any]]:
    """Yield each backfill with each operation that adds a key over its field."""
    operations = [each for migration in migrations for each in migration.operations]
    for migration in migrations:
        for backfill in get_backfills(migration):
            for operation in operations:
                if backfill.name in _find_names(operation, backfill.model_name_lower):
                    yield backfill, operation


def _find_names(operation: Any, model_name: str) -> set[str]:
    """Return the fields of the model that an operation adds a key over."""
    if isinstance(operation, AlterUniqueTogether):
        groups: Any = operation.option_value or ()
        return set().union(*groups) if operation.name_lower == model_name else set()
    if not isinstance(operation, AddConstraint | AddIndex):
        return set()
    if operation.model_name.lower() != model_name:
        return set()
    if isinstance(operation, AddIndex):
        # "-year" is descending.
        return {name.lstrip("-") for name in get_names(operation.index)}
    is_unique = isinstance(operation.constraint, UniqueConstraint)
    return set(get_names(operation.constraint)) if is_unique else set()


def _describe_unseen(backfill: Any, operation: Any) -> Iterator[str]:
    """Yield what to say if rows that break a constraint are not looked for."""
    # A default that is called for each row is not one value for all.
    if backfill.populate is None or backfill.field.unique:
        return
    if isinstance(operation, AddIndex):
        return
    groups: list[tuple[str, str]]
    if isinstance(operation, AlterUniqueTogether):
        groups = [
            (f"unique_together ({', '.join(group)})", _compare(backfill, group))
            for group in sorted(map(tuple, operation.option_value or ()))
            if backfill.name in group
        ]
    else:
        constraint = operation.constraint
        groups = [(f"Constraint {constraint.name}", _find_reason(backfill, constraint))]
    for title, reason in groups:
        if reason:
            yield (
                f"{title} {reason}, so migrate looks for no duplicates in it: rows "
                f"that break it stop the migration that adds it."
            )


def _find_reason(backfill: Any, constraint: Any) -> str:
    """Return why a constraint may be broken by what the backfill lets through."""
    if constraint.condition is not None:
        return "has a condition"
    if constraint.expressions:
        return "has expressions"
    if constraint.nulls_distinct is False:
        return "takes NULL for equal to NULL"
    return _compare(backfill, constraint.fields)


def _compare(backfill: Any, group: Sequence[str]) -> str:
    if len(group) == 1:
        return f"is over {backfill.name} alone, which has no unique=True"
    if backfill.unique_with and set(group).issuperset(backfill.unique_with):
        return ""
    return "has other fields than unique_with"


def _builds_concurrently(connection: Any) -> bool:
    """Return whether a database, as PostgreSQL, has another way to build an index."""
    return hasattr(connection.SchemaEditorClass, "sql_create_index_concurrently")


def _describe_locks(keys: Mapping[str, Operation]) -> str:
    """Return what to say of that for which others wait while PostgreSQL builds it."""
    text = (
        f"On PostgreSQL others wait while it builds {', '.join(sorted(keys))}, which "
        f"takes long for a large table."
    )
    if any(isinstance(operation, AddIndex) for operation in keys.values()):
        text += (
            " In place of AddIndex, AddIndexConcurrently of "
            "django.contrib.postgres.operations lets them go on, in a migration with "
            "atomic = False."
        )
    return text


def _name(operation: Any) -> str:
    if isinstance(operation, AddIndex):
        return f"index {operation.index.name}"
    if isinstance(operation, AddConstraint):
        return f"constraint {operation.constraint.name}"
    return f"unique_together of {operation.name}"
