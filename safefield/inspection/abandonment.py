"""Remove what a migration that was stopped has left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from safefield.backends import get_backend
from safefield.exceptions import SafefieldError
from safefield.filling.origins import flatten
from safefield.inspection.entries import STATE_OPERATIONS, Entry
from safefield.inspection.history import History
from safefield.inspection.status import read_column
from safefield.operations import BACKFILLS
from safefield.steps import compare_back, restore


@dataclass(frozen=True)
class Remnant:
    """What one backfill has left behind."""

    entry: Entry
    #: What is to be done, such as "drop column ...", and the same when it is done.
    plan_text: str
    done_text: str

    def remove(self, connection: BaseDatabaseWrapper) -> None:
        """
        Return to the schema from before, waiting for locks as a backfill does.

        Raises:
            BackfillError: Another migrate is at work on the table, others held
                locks on it, something else needs the column, or its values would
                be others in the type from before.
        """
        with connection.schema_editor(atomic=False) as editor:
            schema = self.entry.make_schema(connection, editor)
            with (
                schema.locks.session.kept(),
                schema.in_transaction(),
                schema.claim_table(),
            ):
                schema.preflight.check_rights(goes_back=True)
                if schema.plan.old_field is None:
                    schema.preflight.check_drop()
                    schema.drop()
                else:
                    restore(schema, compare_back(schema))


@dataclass(frozen=True)
class Abandonment:
    """What abandoning a migration that is not applied comes to."""

    migration: Migration
    #: What it has left, the last one first.
    remnants: Sequence[Remnant] = ()
    #: What else it does, which is not undone.
    others: Sequence[str] = ()
    #: What it needs and is not applied, so that it cannot have begun.
    waits_for: Sequence[str] = ()


def find_abandonment(
    connection: BaseDatabaseWrapper, app_label: str, name: str
) -> Abandonment:
    """
    Return what abandoning a migration comes to on a database.

    Args:
        name (str): Its name, or how its name begins.

    Raises:
        SafefieldError: There is no such migration, it has no backfill, or it
            is applied.
    """
    history = History(connection)
    migration = history.get_migration(app_label, name)
    if history.is_applied(migration):
        raise SafefieldError(
            f"{migration} is applied on the {connection.alias!r} database, so there "
            f"is nothing to abandon. Undo it with: migrate {app_label} "
            f"{history.find_previous(migration)}"
        )
    found = history.get_backfills(migration)
    history.loader.check_consistent_history(connection)
    if waits_for := history.find_unapplied_parents(migration):
        return Abandonment(migration, waits_for=waits_for)
    return Abandonment(
        migration,
        [
            remnant
            for entry in reversed(found.entries)
            for remnant in find_remnants(entry, connection)
        ],
        [
            operation.describe()
            for operation in flatten(found.migration.operations)
            if not isinstance(operation, (*BACKFILLS, *STATE_OPERATIONS))
        ],
    )


def find_remnants(entry: Entry, connection: BaseDatabaseWrapper) -> Iterator[Remnant]:
    """Yield what one backfill has left behind on a database, or nothing."""
    if not entry.is_allowed(connection):
        return
    schema = entry.make_schema(connection, connection.schema_editor(atomic=False))
    plan = schema.plan
    column = read_column(schema)
    if column is None:
        return
    where = f"column {plan.field.column} of table {plan.table}"
    if plan.old_field is not None:
        if not schema.is_restored(column):
            yield Remnant(
                entry,
                f"give {where} its definition from before; the values that were "
                f"filled stay",
                f"Gave {where} its definition from before. The values that were "
                f"filled stay.",
            )
        return
    schema.preflight.check_column(column)
    tally = get_backend(connection).census(schema).count()
    yield Remnant(
        entry,
        f"drop {where}, with the values of {tally}, its indexes and its constraints",
        f"Dropped {where}.",
    )
