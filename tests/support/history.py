"""A little history of migrations, run on one database without any files."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import QuerySet

from tests.support.catalogue import describe_table


class History:
    """
    Apply and unapply migrations of one app, as MigrationExecutor does.

    Args:
        alias: Alias of the database.
        atomic: Whether the migrations are atomic where that is possible.
    """

    app_label = "films"

    def __init__(self, alias: str, *, atomic: bool = False) -> None:
        self.connection = connections[alias]
        self.atomic = atomic
        self.states = [ProjectState()]
        self.migrations: list[Migration] = []

    @property
    def state(self) -> ProjectState:
        """The state after all migrations so far."""
        return self.states[-1]

    def apply(self, *operations: Operation, atomic: bool | None = None) -> None:
        """Run one migration with `operations`; when it fails, it is not applied."""
        migration = self.make(*operations, atomic=atomic)
        state = self.state.clone()
        with self.connection.schema_editor(atomic=migration.atomic) as editor:
            state = migration.apply(state, editor)
        self.states.append(state)
        self.migrations.append(migration)

    def unapply(self) -> None:
        """Run the last migration backwards."""
        migration = self.migrations[-1]
        with self.connection.schema_editor(atomic=migration.atomic) as editor:
            migration.unapply(self.states[-2].clone(), editor)
        self.migrations.pop()
        self.states.pop()

    def collect(self, *operations: Operation, atomic: bool | None = None) -> list[str]:
        """Return what sqlmigrate would print."""
        migration = self.make(*operations, atomic=atomic)
        with self.connection.schema_editor(
            collect_sql=True, atomic=migration.atomic
        ) as editor:
            migration.apply(self.state.clone(), editor, collect_sql=True)
        return list(editor.collected_sql)

    def make(self, *operations: Operation, atomic: bool | None = None) -> Migration:
        """Return a migration with `operations`."""
        migration = Migration(f"{len(self.migrations) + 1:04}_test", self.app_label)
        migration.operations = list(operations)
        migration.atomic = self.atomic if atomic is None else atomic
        return migration

    def model(self, name: str) -> Any:
        """Return the historical model `name`."""
        return self.state.apps.get_model(self.app_label, name)

    def rows(self, name: str) -> QuerySet[Any, Any]:
        """Return all rows of the historical model `name`, by primary key."""
        return QuerySet(self.model(name), using=self.connection.alias).order_by("pk")

    def execute(self, *statements: str) -> None:
        """Run statements as they are: a % is a %."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, None)

    def describe(self, name: str) -> dict[str, Any]:
        """Return the live catalogue of the table of the model `name`."""
        return describe_table(self.connection, self.model(name)._meta.db_table)
