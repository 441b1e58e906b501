"""What makemigrations says when its files are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import AddField
from django.db.migrations.writer import MigrationWriter
from django.db.models import CharField, TextField

from safefield.authoring.columns import get_column
from safefield.authoring.grouping import describe_keys
from safefield.authoring.migration_file import get_backfills, is_first_phase
from safefield.authoring.stubs import ImportedStub, Stub
from safefield.operations import BACKFILLS, AlterFieldWithBackfill
from safefield.populate import function_name, is_unwritten

Changes = Mapping[str, Sequence[Migration]]


def describe_next_steps(
    changes: Changes,
    get_relative_path: Callable[[str], str],
    *,
    two_phase: bool,
) -> Iterator[str]:
    """Yield what the developer is to do with new migrations, a line for each thing."""
    deployment = list(_describe_deployment(changes)) if two_phase else []
    ending = "." if deployment else ", then run migrate."
    for migrations in changes.values():
        for migration in migrations:
            path = get_relative_path(MigrationWriter(migration).path)
            yield from _describe_migration(migration, path, ending, migrations)
    yield from describe_keys(changes.values())
    yield from deployment


def _describe_migration(
    migration: Migration, path: str, ending: str, others: Sequence[Migration]
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


def may_meet_duplicates(operation: Any, migrations: Sequence[Migration]) -> bool:
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


def _describe_deployment(changes: Changes) -> Iterator[str]:
    """Yield in which order to deploy, if some migrations are for the new code alone."""
    late = _find_late(changes)
    if not late:
        return
    early = {
        app_label: [each for each in migrations if each not in late]
        for app_label, migrations in changes.items()
    }
    for migrations in early.values():
        yield from _describe_required(migrations)
    steps = [
        f"  1. manage.py migrate {migrations[-1].app_label} {migrations[-1].name}"
        for migrations in early.values()
        if migrations
    ]
    number = 2 if steps else 1
    steps += [
        f"  {number}. Let the new code replace the old code everywhere.",
        f"  {number + 1}. manage.py migrate",
    ]
    yield "\n".join(["Then deploy in this order:", *steps])


def _find_late(changes: Changes) -> set[Migration]:
    """
    Return the migrations that are to run when the old code is gone.

    They refuse what it writes, as one that makes a field required, or come after
    one that does.
    """
    every = {each for migrations in changes.values() for each in migrations}
    late: set[Migration] = set()
    found = {
        each
        for each in every
        if any(isinstance(o, AlterFieldWithBackfill) for o in each.operations)
    }
    while found:
        late |= found
        names = {(each.app_label, each.name) for each in found}
        waiting = every - late
        found = {each for each in waiting if not names.isdisjoint(each.dependencies)}
    return late


def _describe_required(migrations: Sequence[Migration]) -> Iterator[str]:
    """Yield each new column whose value only the new code knows."""
    for migration in migrations:
        for operation in migration.operations:
            if not isinstance(operation, AddField) or isinstance(operation, BACKFILLS):
                continue
            field = operation.field
            if field.null or field.has_db_default() or not get_column(field, "field"):
                continue
            yield (
                f"{operation.model_name}.{operation.name} is required, and only the "
                f"new code has a value for it: the old code cannot insert rows after "
                f"step 1. Give it a db_default."
            )
