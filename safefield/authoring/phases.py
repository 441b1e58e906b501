"""Which migrations are to run before the new code is live, and which after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from django.db.migrations import Migration

from safefield.authoring.migration_file import get_backfills, is_first_phase
from safefield.operations import AlterFieldWithBackfill


def find_first_phases(changes: Mapping[str, Sequence[Migration]]) -> list[Migration]:
    """
    Return the last migration of each app that is to run under the old code.

    Args:
        changes (Mapping[str, Sequence[Migration]]): New migrations by app, in
            order. Apps without a second phase are left out.
    """
    return [
        migration
        for migrations in changes.values()
        if has_two_phases(migrations)
        for migration in _find_last_before_alteration(migrations)
    ]


def has_two_phases(migrations: Sequence[Migration]) -> bool:
    """Return whether one of the migrations makes required what another adds."""
    operations = [
        operation for migration in migrations for operation in get_backfills(migration)
    ]
    return any(
        is_first_phase(first, second) for first in operations for second in operations
    )


def _find_last_before_alteration(migrations: Sequence[Migration]) -> list[Migration]:
    return [
        migration
        for migration, next_migration in pairwise(migrations)
        if any(
            isinstance(operation, AlterFieldWithBackfill)
            for operation in get_backfills(next_migration)
        )
    ][:1]
