"""The migrations of a project, and what a database has recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from safefield.exceptions import SafefieldError
from safefield.filling.origins import flatten
from safefield.inspection.entries import (
    Change,
    Entry,
    find_changes,
    find_entries,
    find_names,
)
from safefield.operations import BACKFILLS


@dataclass(frozen=True)
class BackfillMigration:
    """A migration with backfills, or one that cannot be read."""

    migration: Migration
    #: Its backfills, in order.
    entries: Sequence[Entry]
    #: Why its states cannot be computed.
    error: Exception | None = None


class History:
    """The migrations of the project, and what a database has recorded of them."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.executor = MigrationExecutor(connection)
        self.loader = self.executor.loader

    def walk(
        self, has_states: Callable[[Migration], bool] = lambda migration: True
    ) -> Iterator[BackfillMigration]:
        """
        Yield the migrations with backfills, and those that cannot be read.

        Args:
            has_states (Callable[[Migration], bool]): Whether the entries of a migration
                are asked for more than their names and for where their models are. To
                keep its states takes a copy of all models for each operation.
        """
        graph = self.loader.graph
        state = ProjectState(real_apps=self.loader.unmigrated_apps)
        for migration, _ in self.executor.migration_plan(
            graph.leaf_nodes(), clean_start=True
        ):
            entries: list[Entry] = []
            try:
                operations = flatten(migration.operations)
                if not any(isinstance(each, BACKFILLS) for each in operations):
                    migration.mutate_state(state, preserve=False)
                elif has_states(migration):
                    entries += find_entries(migration, state.clone())
                    migration.mutate_state(state, preserve=False)
                else:
                    entries += find_names(migration, state)
            except Exception as exc:  # noqa: BLE001 - the next one may be readable
                yield BackfillMigration(migration, entries, exc)
            else:
                if entries:
                    yield BackfillMigration(migration, entries)

    def get_backfills(self, migration: Migration) -> BackfillMigration:
        """
        Return a migration with its backfills.

        Raises:
            SafefieldError: It has none, or cannot be read.
        """
        every = self.walk(lambda other: other is migration)
        found = next((each for each in every if each.migration is migration), None)
        if found is None:
            raise SafefieldError(f"{migration} has no backfill.")
        return refuse_unreadable(found)

    def list_unapplied_backfills(
        self, app_label: str | None = None
    ) -> list[BackfillMigration]:
        """
        Return the migrations with backfills that are not applied, of all apps or one.

        Raises:
            SafefieldError: There is no such app, or one cannot be read.
        """
        if app_label is not None:
            self.check_app(app_label)
        return [
            refuse_unreadable(found)
            for found in self.walk(lambda other: not self.is_applied(other))
            if app_label in (None, found.migration.app_label)
            and not self.is_applied(found.migration)
        ]

    def find_unapplied(self, migration: Migration) -> Iterator[Change]:
        """Yield what `migrate` does up to a migration, and in it."""
        executor: Any = self.executor
        state = executor._create_project_state(with_applied_migrations=True)
        for other, _ in executor.migration_plan([get_key(migration)]):
            yield from find_changes(other, state.clone())
            other.mutate_state(state, preserve=False)

    def get_migration(self, app_label: str, name: str) -> Migration:
        """
        Return a migration by how its name begins, as migrate does.

        Raises:
            SafefieldError: There is none, or more than one.
        """
        loader = self.loader
        self.check_app(app_label)
        try:
            migration = loader.get_migration_by_prefix(app_label, name)
        except AmbiguityError as exc:
            raise SafefieldError(
                f"More than one migration matches {name!r} in app {app_label!r}. Be "
                f"more specific."
            ) from exc
        except KeyError as exc:
            raise SafefieldError(
                f"Cannot find a migration matching {name!r} from app {app_label!r}."
            ) from exc
        if (app_label, migration.name) not in loader.graph.nodes:
            raise SafefieldError(
                f"{migration} is replaced by a squashed migration: name that one."
            )
        return migration

    def check_app(self, app_label: str) -> None:
        """
        Refuse an app that has no migrations.

        Raises:
            SafefieldError: There is no such app, or it has none.
        """
        if app_label not in self.loader.migrated_apps:
            raise SafefieldError(f"App {app_label!r} does not have migrations.")

    def is_applied(self, migration: Migration) -> bool:
        """Return whether the database has recorded `migration`."""
        return get_key(migration) in self.loader.applied_migrations

    def is_next(self, migration: Migration) -> bool:
        """Return whether `migrate` may have begun it, or the way back from it."""
        if self.is_applied(migration):
            children = self._related(migration, "children")
            return self.loader.applied_migrations.keys().isdisjoint(children)
        return not self.find_unapplied_parents(migration)

    def find_unapplied_parents(self, migration: Migration) -> list[str]:
        """Return the migrations that have to be applied first."""
        return [
            f"{key[0]}.{key[1]}"
            for key in self._related(migration, "parents")
            if key not in self.loader.applied_migrations
        ]

    def find_previous(self, migration: Migration) -> str:
        """Return what `migrate` is told in order to undo `migration`."""
        names = [
            name
            for app_label, name in self._related(migration, "parents")
            if app_label == migration.app_label
        ]
        return names[-1] if names else "zero"

    def _related(self, migration: Migration, kind: str) -> list[tuple[str, str]]:
        node = self.loader.graph.node_map[get_key(migration)]
        return sorted(related.key for related in getattr(node, kind))


def refuse_unreadable(found: BackfillMigration) -> BackfillMigration:
    """
    Return what was found, unless it cannot be read.

    Raises:
        SafefieldError: Its states cannot be computed.
    """
    if (error := found.error) is None:
        return found
    raise SafefieldError(
        f"{found.migration} cannot be read: {type(error).__name__}: {error}"
    ) from error


def get_key(migration: Migration) -> tuple[str, str]:
    """Return the migration's key in the graph."""
    return migration.app_label, migration.name
