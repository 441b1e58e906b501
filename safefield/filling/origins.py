"""The migration that an operation is in, which Django does not tell the operation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder

from safefield.plan import Plan


def find_migration(operation: Any) -> Migration | None:
    """Return the migration of the project that an operation is in; None if in none."""
    for migration in read_migrations():
        if any(each is operation for each in flatten(migration.operations)):
            return migration
    return None


def flatten(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Yield what changes the database, also within SeparateDatabaseAndState."""
    for operation in operations:
        inner = getattr(operation, "database_operations", None)
        if inner is None:
            yield operation
        else:
            yield from flatten(inner)


def shorten(migration: Migration) -> str:
    """Return the number of a migration where that is enough to find it."""
    match = re.match(r"\d+(?=_)", migration.name)
    number = match.group() if match else migration.name
    same = [
        other
        for other in read_migrations()
        if other.app_label == migration.app_label and other.name.startswith(number)
    ]
    return number if len(same) == 1 else migration.name


def read_migrations() -> list[Migration]:
    """Return the migrations on disk."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return list(loader.disk_migrations.values())


def refuse_applied(plan: Plan, connection: Any) -> None:
    """Refuse what another run has applied since this one looked."""
    migration = find_migration(plan.origin)
    if migration is None:
        return
    recorded = MigrationRecorder(connection).applied_migrations()
    if (migration.app_label, migration.name) in recorded:
        raise plan.error(
            f"{plan.title}: another migrate has applied {migration} meanwhile. Run "
            f"migrate again for what comes after it."
        )
