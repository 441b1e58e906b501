"""How makemigrations comes to write backfills instead of asking questions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.db.migrations import Migration
from django.db.migrations.autodetector import (
    MigrationAutodetector,
    OperationDependency,
)
from django.db.migrations.operations import AlterField
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from safefield.fields import refusal
from safefield.migration_file import get_backfills, is_first_phase, set_stubs
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
)
from safefield.ordering import get_row_fields, sort_operations, split_operations
from safefield.stubs import ImportedStub, Stub

__all__ = ["BackfillAutodetector", "wrap_autodetector"]

if TYPE_CHECKING:

    class _Base(MigrationAutodetector):
        """What django-stubs lacks: names private to Django's autodetector."""

        generated_operations: dict[str, list[Operation]]
        migrations: dict[str, list[Any]]
        questioner: Any

        def _generate_added_field(
            self, app_label: str, model_name: str, field_name: str
        ) -> None: ...

        def _build_migration_list(self, graph: Any = None) -> None: ...

else:
    _Base = object


def wrap_autodetector(
    autodetector: type[MigrationAutodetector], *, two_phase: bool = False
) -> type[MigrationAutodetector]:
    """
    Return a subclass of `autodetector` that writes backfills.

    Args:
        autodetector (type[MigrationAutodetector]): Finds what has changed.
        two_phase (bool): Whether a new required field gets two migrations.
    """
    return type(
        "BackfillAutodetector",
        (BackfillAutodetector, autodetector),
        {"two_phase": two_phase},
    )


class AdditionProbe:
    """
    Takes note of the question that Django has about a new field.

    Args:
        questioner (MigrationQuestioner): Answers whatever else is asked.
    """

    def __init__(self, questioner: Any) -> None:
        self._questioner = questioner
        self.question: str | None = None
        #: What the operation for the field depends on.
        self.dependencies: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._questioner, name)

    def ask_not_null_addition(self, field_name: str, model_name: str) -> None:
        """Note that Django would ask for a one-off default."""
        self.question = "not_null"

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> None:
        """Note that Django would ask for a date."""
        self.question = "auto_now_add"

    def ask_unique_callable_default_addition(
        self, field_name: str, model_name: str
    ) -> None:
        """Note that Django would warn about equal values."""
        self.question = "unique_callable_default"


class AlterationProbe:
    """
    Takes note of Django's question about a nullable field that becomes required.

    Args:
        questioner (MigrationQuestioner): Answers whatever else is asked.
    """

    def __init__(self, questioner: Any) -> None:
        self.questioner = questioner
        self.is_asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.questioner, name)

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
        """Note that Django would ask for a one-off default."""
        self.is_asked = True
        return NOT_PROVIDED


class BackfillAutodetector(_Base):
    """
    Mixed in before an autodetector: writes backfills where Django would ask.

    Steps:
        1. Django's own method generates the operation for a new field; an
           AdditionProbe takes the questions, and nothing is added.
        2. Where nothing was asked, the wrapped autodetector generates it once
           more, in earnest. Where something was, a backfill is added, in two
           phases one for a nullable field and one that makes it required.
           For a field that exists, an AlterationProbe does the same.
        3. The operations of the app are sorted so that a row has all it can
           have when populate is called.
        4. Each migration is split, so that a backfill is alone in its own.
    """

    two_phase: ClassVar[bool] = False

    _probe: AdditionProbe | None = None
    _alteration_probe: AlterationProbe | None = None

    def _generate_added_field(
        self, app_label: str, model_name: str, field_name: str
    ) -> None:
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        probe = self._probe_addition(app_label, model_name, field_name)
        if probe.question is None or not can_be_backfilled(field):
            super()._generate_added_field(app_label, model_name, field_name)
            return
        populate = None
        if probe.question != "unique_callable_default":
            populate = Stub(
                model_name=model_state.name,
                field_name=field_name,
                returns_now=probe.question == "auto_now_add",
            )
        first_field = field
        if is_in_two_phases := self.two_phase and not field.null:
            first_field = field.clone()
            first_field.null = True
        # Past the wrapped autodetector: it may take any AddField apart, as
        # django-syzygy does.
        MigrationAutodetector.add_operation(
            self,
            app_label,
            AddFieldWithBackfill(model_name, field_name, first_field, populate),
            dependencies=probe.dependencies,
        )
        if is_in_two_phases:
            if populate is not None:
                populate = ImportedStub(populate.model_name, field_name)
            dependency: Any = OperationDependency(
                app_label, model_name, field_name, OperationDependency.Type.CREATE
            )
            MigrationAutodetector.add_operation(
                self,
                app_label,
                AlterFieldWithBackfill(model_name, field_name, field, populate),
                dependencies=[dependency],
            )

    def _probe_addition(
        self, app_label: str, model_name: str, field_name: str
    ) -> AdditionProbe:
        """Return what Django would ask and add for a new field."""
        original = self.questioner
        self._probe = self.questioner = probe = AdditionProbe(original)
        try:
            MigrationAutodetector._generate_added_field(  # type: ignore[attr-defined] # private
                self, app_label, model_name, field_name
            )
        finally:
            self.questioner = original
            self._probe = None
        return probe

    def generate_altered_fields(self) -> None:
        """Generate AlterField operations, or backfills in their place."""
        original = self.questioner
        self._alteration_probe = self.questioner = AlterationProbe(original)
        try:
            super().generate_altered_fields()
        finally:
            self.questioner = original
            self._alteration_probe = None

    def add_operation(
        self,
        app_label: str,
        operation: Operation,
        dependencies: Any = None,
        beginning: bool = False,
    ) -> None:
        """Add an operation, unless a probe has noted that Django would ask."""
        if self._probe is not None:
            self._probe.dependencies = dependencies
            return
        probe = self._alteration_probe
        if probe is None or not probe.is_asked:
            super().add_operation(app_label, operation, dependencies, beginning)
            return
        probe.is_asked = False
        MigrationAutodetector.add_operation(
            self,
            app_label,
            self._replace_alteration(app_label, operation, probe),
            dependencies=dependencies,
        )

    def _replace_alteration(
        self, app_label: str, operation: Any, probe: AlterationProbe
    ) -> Operation:
        """Return a backfill for an AlterField, or what Django makes of the answer."""
        model_name, field_name = operation.model_name, operation.name
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        if can_be_backfilled(field):
            stub = Stub(model_state.name, field_name, is_null=True)
            return AlterFieldWithBackfill(model_name, field_name, field, stub)
        answer = probe.questioner.ask_not_null_alteration(field_name, model_name)
        if answer is NOT_PROVIDED:
            return cast("Operation", operation)
        field = field.clone()
        field.default = answer
        return AlterField(model_name, field_name, field, preserve_default=False)

    def _build_migration_list(self, graph: Any = None) -> None:
        original = {
            app_label: list(operations)
            for app_label, operations in self.generated_operations.items()
        }
        for app_label, operations in original.items():
            if any(isinstance(operation, BACKFILLS) for operation in operations):
                self.generated_operations[app_label] = sort_operations(
                    self, app_label, operations
                )
        try:
            super()._build_migration_list(graph)
        except ValueError:
            # Two apps that need something of each other can be caught in a
            # circle by the new order: Django's own is as good to migrate.
            self.generated_operations = original
            super()._build_migration_list(graph)
        self._split_migrations()

    def _split_migrations(self) -> None:
        """Give each backfill a migration of its own."""
        new_names = {}
        for app_label, migrations in self.migrations.items():
            if not any(map(get_backfills, migrations)):
                continue
            parts: list[Migration] = []
            for migration in migrations:
                parts_of_one = split_migration(migration)
                parts += parts_of_one
                # Whoever depends on the migration depends on all of it.
                new_names[app_label, migration.name] = parts_of_one[-1]
            self.migrations[app_label] = parts
            for number, part in enumerate(parts, 1):
                part.name = f"auto_{number}"
            self._describe_rows(app_label, parts)
            link_phases(parts)
        for migrations in self.migrations.values():
            for migration in migrations:
                migration.dependencies = [
                    (
                        (dependency[0], new_names[dependency].name)
                        if dependency in new_names
                        else dependency
                    )
                    for dependency in migration.dependencies
                ]

    def _describe_rows(self, app_label: str, migrations: list[Migration]) -> None:
        """Tell each stub which fields a row has when it is called."""
        operations = [
            operation for migration in migrations for operation in migration.operations
        ]
        for migration in migrations:
            set_stubs(
                migration,
                lambda operation, stub: stub.with_source_fields(
                    get_row_fields(self.from_state, app_label, operations, operation)
                ),
            )


def link_phases(migrations: list[Migration]) -> None:
    """Tell each second phase which of the migrations has its function."""

    def link_stub(operation: Any, stub: Stub) -> Stub:
        if not isinstance(stub, ImportedStub):
            return stub
        homes = (
            migration
            for migration in migrations
            for other in get_backfills(migration)
            if is_first_phase(other, operation)
        )
        return replace(stub, home=next(homes))

    for migration in migrations:
        set_stubs(migration, link_stub)


def can_be_backfilled(field: Any) -> bool:
    """Return whether Django's question about `field` is for safefield to answer."""
    return refusal(field, needs_values=False) is None


def split_migration(migration: Migration) -> list[Migration]:
    """Return the parts of a migration, in order; the first has its dependencies."""
    if not get_backfills(migration):
        return [migration]
    parts: list[Any] = []
    for operations in split_operations(migration.operations):
        part: Any = type(migration)(migration.name, migration.app_label)
        part.operations = operations
        part.dependencies = []
        part.initial = migration.initial
        part.atomic = not isinstance(operations[0], BACKFILLS)
        parts.append(part)
    parts[0].dependencies = migration.dependencies
    return parts
