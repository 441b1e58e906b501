"""What makemigrations says when its files are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.writer import MigrationWriter
from django.db.models import CharField, TextField

from safefield.authoring.grouping import describe_keys
from safefield.authoring.migration_file import get_backfills, is_first_phase
from safefield.authoring.phases import describe_deployment
from safefield.authoring.stubs import ImportedStub, Stub
from safefield.operations import AlterFieldWithBackfill
from safefield.populate import function_name, is_unwritten


def describe_next_steps(
    changes: dict[str, list[Migration]],
    get_relative_path: Callable[[str], str],
    *,
    two_phase: bool,
) -> Iterator[str]:
    """Yield what the developer is to do with new migrations, a line for each thing."""
    deployment = list(describe_deployment(changes)) if two_phase else []
    ending = "." if deployment else ", then run migrate."
    for migrations in changes.values():
        for migration in migrations:
            path = get_relative_path(MigrationWriter(migration).path)
            yield from _describe_migration(migration, path, ending, migrations)
    yield from describe_keys(changes.values())
    yield from deployment


def _describe_migration(
    migration: Migration, path: str, ending: str, others: list[Migration]
) -> Iterator[str]:
    """Yield what is to be done with one of several new migrations of an app."""
    for operation in get_backfills(migration):
        populate = operation.populate
        if populate is None and may_meet_duplicates(operation, others):
            is_text = isinstance(operation.field, CharField | TextField)
            what = "=safefield.numbered" if is_text else ", a function,"
            yield (
                f"If rows share a {operation.name}, migrate stops and names them. Then "
                f"add deduplicate{what} to the operation in {path}."
            )
        if not callable(populate) or isinstance(populate, ImportedStub):
            continue
        name = function_name(populate)
        if isinstance(populate, Stub) and populate.returns_now:
            yield (
                f"{name} in {path} returns timezone.now() for each row: change it "
                f"if they should get something else{ending}"
            )
        elif isinstance(populate, Stub) or is_unwritten(populate):
            yield f"Next: write {name} in {path}{ending}"


def may_meet_duplicates(operation: Any, migrations: list[Migration]) -> bool:
    """Return whether a field becomes unique with values from before `migrations`."""
    return (
        isinstance(operation, AlterFieldWithBackfill)
        and operation.field.unique
        and operation.deduplicate is None
        and not operation.field.has_default()
        and not any(
            is_first_phase(other, operation)
            for migration in migrations
            for other in get_backfills(migration)
        )
    )
