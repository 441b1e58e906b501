"""Which migrations are to run before the new code is live, and which after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db.migrations import Migration
from django.db.migrations.operations import AddField

from safefield.authoring.columns import get_column
from safefield.operations import BACKFILLS, AlterFieldWithBackfill

Changes = Mapping[str, Sequence[Migration]]


def describe_deployment(changes: Changes) -> Iterator[str]:
    """Yield in which order to deploy, if some migrations are for the new code alone."""
    late = find_late(changes)
    if not late:
        return
    early = {
        app_label: [each for each in migrations if each not in late]
        for app_label, migrations in changes.items()
    }
    for migrations in early.values():
        yield from _describe_defaults(migrations)
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


def find_late(changes: Changes) -> set[Migration]:
    """
    Return the migrations that are to run when the old code is gone.

    They refuse what it writes, as one that makes a field required, or come after
    one that does.
    """
    late: set[Migration] = set()
    names: set[tuple[str, str]] = set()
    waiting = [each for migrations in changes.values() for each in migrations]
    found = [
        each
        for each in waiting
        # It refuses what the old code may write.
        if any(isinstance(o, AlterFieldWithBackfill) for o in each.operations)
    ]
    while found:
        late.update(found)
        names |= {(each.app_label, each.name) for each in found}
        waiting = [each for each in waiting if each not in late]
        found = [each for each in waiting if not names.isdisjoint(each.dependencies)]
    return late


def _describe_defaults(migrations: Sequence[Migration]) -> Iterator[str]:
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
