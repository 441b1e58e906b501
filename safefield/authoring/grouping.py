"""The constraints over a backfilled field that later operations add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.operations import (
    AddConstraint,
    AddIndex,
    AlterUniqueTogether,
)
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
            if not constraint.expressions and constraint.condition is None
        ),
    ]
    known = {name, *row_fields}
    found = [
        tuple(other for other in group if other != name)
        for group in groups
        if name in group and known.issuperset(group) and len(group) > 1
    ]
    return min(found, key=len, default=())


class _Key(NamedTuple):
    """A constraint or an index that an operation adds."""

    title: str
    model_name: str
    fields: Sequence[str]
    is_unique: bool = True
    #: Why it says another thing than that its fields are unique together.
    oddity: str = ""


def describe_keys(changes: Iterable[Sequence[Migration]]) -> Iterator[str]:
    """Yield what to say of new constraints and indexes over backfilled fields."""
    keys = []
    for migrations in changes:
        backfills = [each for found in migrations for each in get_backfills(found)]
        for operation in (each for found in migrations for each in found.operations):
            for key in _list_keys(operation):
                over = [
                    backfill
                    for backfill in backfills
                    if backfill.model_name_lower == key.model_name
                    and backfill.name in key.fields
                ]
                if over:
                    keys.append(key)
                    yield from _describe_unseen(key, over)
    if keys and any(map(_builds_concurrently, connections.all())):
        yield _describe_locks(keys)


def _list_keys(operation: Any) -> Iterator[_Key]:
    if isinstance(operation, AlterUniqueTogether):
        for group in sorted(map(tuple, operation.option_value or ())):
            title = f"unique_together ({', '.join(group)})"
            yield _Key(title, operation.name_lower, group)
    elif isinstance(operation, AddIndex):
        # "-year" is descending.
        names = [name.lstrip("-") for name in get_names(operation.index)]
        title = f"index {operation.index.name}"
        yield _Key(title, operation.model_name_lower, names, is_unique=False)
    elif isinstance(operation, AddConstraint):
        constraint = operation.constraint
        if isinstance(constraint, UniqueConstraint):
            yield _Key(
                f"constraint {constraint.name}",
                operation.model_name_lower,
                get_names(constraint),
                oddity=_find_oddity(constraint),
            )


def _find_oddity(constraint: Any) -> str:
    if constraint.condition is not None:
        return "has a condition"
    if constraint.expressions:
        return "has expressions"
    return "takes NULL for equal to NULL" * (constraint.nulls_distinct is False)


def _describe_unseen(key: _Key, backfills: Sequence[Any]) -> Iterator[str]:
    """Yield what to say if rows that break a constraint are not looked for."""
    reasons = [_find_reason(key, backfill) for backfill in backfills]
    # The backfill of one of its fields looks for all that would break it.
    if not key.is_unique or "" in reasons:
        return
    # A default that is called for each row is not one value for all.
    pairs = zip(backfills, reasons, strict=True)
    found = [reason for backfill, reason in pairs if backfill.populate is not None]
    for reason in dict.fromkeys(found):
        yield (
            f"Duplicates in {key.title} are not looked for, because it {reason}: rows "
            f"that break it stop the migration that adds it."
        )


def _find_reason(key: _Key, backfill: Any) -> str:
    """Return why a constraint may be broken by what the backfill lets through."""
    if backfill.field.unique:
        return ""
    if key.oddity:
        return key.oddity
    if len(key.fields) == 1:
        return f"is over {backfill.name} alone, which has no unique=True"
    if backfill.unique_with and set(key.fields).issuperset(backfill.unique_with):
        return ""
    return "has other fields than unique_with"


def _builds_concurrently(connection: Any) -> bool:
    """Return whether a database, as PostgreSQL, has another way to build an index."""
    return hasattr(connection.SchemaEditorClass, "sql_create_index_concurrently")


def _describe_locks(keys: Iterable[_Key]) -> str:
    """Return what to say of that for which others wait while PostgreSQL builds it."""
    text = (
        f"On PostgreSQL others wait while it builds "
        f"{', '.join(sorted({key.title for key in keys}))}, which takes long for a "
        f"large table."
    )
    if not all(key.is_unique for key in keys):
        text += (
            " In place of AddIndex, AddIndexConcurrently of "
            "django.contrib.postgres.operations lets them go on, in a migration with "
            "atomic = False."
        )
    return text
