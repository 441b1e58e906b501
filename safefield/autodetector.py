"""How makemigrations comes to write backfills instead of asking questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.migrations import Migration
from django.db.migrations.autodetector import (
    MigrationAutodetector,
    OperationDependency,
)
from django.db.migrations.operations import AlterField
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from safefield.fields import refusal
from safefield.grouping import find_unique_with
from safefield.migration_file import (
    change_backfills,
    get_backfills,
    is_first_phase,
    set_stubs,
)
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
)
from safefield.ordering import (
    get_column,
    get_row_fields,
    sort_operations,
    split_operations,
)
from safefield.stubs import ImportedStub, Stub
from safefield.unasked import Values, find_addition, find_alteration

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


#: What Django's questions about existing rows are answered with. Nothing comes of
#: it, for the operation that it gets into is replaced.
ANSWERS = {
    "ask_not_null_addition": None,
    "ask_auto_now_add_addition": None,
    "ask_unique_callable_default_addition": None,
    "ask_not_null_alteration": NOT_PROVIDED,
}

#: How a backfill comes by its values, by what Django asks.
VALUES = {
    "ask_not_null_addition": Values.FUNCTION,
    "ask_auto_now_add_addition": Values.NOW,
    "ask_unique_callable_default_addition": Values.DEFAULT,
    "ask_not_null_alteration": Values.FUNCTION,
}


class Listener:
    """
    Takes note of the questions that Django has about existing rows.

    Args:
        questioner (MigrationQuestioner): Answers whatever else is asked.
    """

    def __init__(self, questioner: Any) -> None:
        self.questioner = questioner
        #: The last question: the name of a method.
        self.question = ""

    def __getattr__(self, name: str) -> Any:
        if name not in ANSWERS:
            return getattr(self.questioner, name)

        def take_note(field_name: str, model_name: str) -> Any:
            self.question = name
            return ANSWERS[name]

        return take_note


class BackfillAutodetector(_Base):
    """
    Mixed in before an autodetector: writes backfills where Django would ask.

    Steps:
        1. The wrapped autodetector generates the operation for a field, while a
           Listener takes the questions.
        2. Where something was asked, or rows would stop the operation, a backfill
           takes the place of all that was generated, in two phases one for a
           nullable field and one that makes it required. Where nothing was
           generated, as for a field that the wrapped one leaves out, nothing is
           added.
        3. The operations of the app are sorted so that a row has all it can
           have when populate is called.
        4. Each migration is split, so that a backfill is alone in its own.
    """

    two_phase: ClassVar[bool] = False

    _listener: Listener | None = None

    def _generate_added_field(
        self, app_label: str, model_name: str, field_name: str
    ) -> None:
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        if not can_be_backfilled(field):
            super()._generate_added_field(app_label, model_name, field_name)
            return
        saved = self._copy_operations()
        with self._listen() as listener:
            super()._generate_added_field(app_label, model_name, field_name)
        values = VALUES.get(listener.question) or find_addition(model_state, field_name)
        if values is None:
            return
        added = self._take_back(app_label, saved)
        if added:
            self._add_backfills(app_label, model_name, field_name, values, added[0])

    @contextmanager
    def _listen(self) -> Iterator[Listener]:
        """Have a Listener take the questions."""
        original = self.questioner
        self.questioner = listener = Listener(original)
        try:
            yield listener
        finally:
            self.questioner = original

    def _copy_operations(self) -> dict[str, list[Operation]]:
        return {
            app_label: list(operations)
            for app_label, operations in self.generated_operations.items()
        }

    def _take_back(
        self, app_label: str, saved: dict[str, list[Operation]]
    ) -> list[Operation]:
        """Take back what was generated since; return what the app had of it."""
        known = {id(operation) for operation in saved.get(app_label, ())}
        operations = self.generated_operations.get(app_label, ())
        self.generated_operations = saved
        return [operation for operation in operations if id(operation) not in known]

    def _add_backfills(
        self,
        app_label: str,
        model_name: str,
        field_name: str,
        values: Values,
        replaced: Any,
    ) -> None:
        """Add the backfill of a new field, or its two phases."""
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        populate = None
        if values is not Values.DEFAULT:
            populate = Stub(
                model_name=model_state.name,
                field_name=field_name,
                returns_now=values is Values.NOW,
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
            dependencies=replaced._auto_deps,
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

    def generate_altered_fields(self) -> None:
        """Generate AlterField operations, or backfills in their place."""
        with self._listen() as self._listener:
            super().generate_altered_fields()
        self._listener = None

    def add_operation(
        self,
        app_label: str,
        operation: Operation,
        dependencies: Any = None,
        beginning: bool = False,
    ) -> None:
        """Add an operation, or a backfill for an AlterField that rows could stop."""
        listener = self._listener
        if listener is None or not isinstance(operation, AlterField):
            super().add_operation(app_label, operation, dependencies, beginning)
            return
        is_asked, listener.question = bool(listener.question), ""
        backfill = self._get_alteration(app_label, operation, is_asked=is_asked)
        if backfill is None:
            if is_asked:
                operation = answer(listener.questioner, operation)
            super().add_operation(app_label, operation, dependencies, beginning)
            return
        saved = self._copy_operations()
        super().add_operation(app_label, operation, dependencies, beginning)
        if self._take_back(app_label, saved):
            MigrationAutodetector.add_operation(
                self, app_label, backfill, dependencies=dependencies
            )

    def _get_alteration(
        self, app_label: str, operation: AlterField, *, is_asked: bool
    ) -> Operation | None:
        """Return the backfill that is to take the place of an AlterField, if any."""
        model_name, field_name = operation.model_name, operation.name
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        if not can_be_backfilled(field):
            return None
        old_name = self.renamed_models.get((app_label, model_name), model_name)
        old_field = self.from_state.models[app_label, old_name].get_field(field_name)
        if is_asked:
            values: Values | None = Values.FUNCTION
        elif get_column(old_field, field_name) != get_column(field, field_name):
            return None
        else:
            values = find_alteration(model_state, field_name, old_field)
        if values is None:
            return None
        stub = None
        if values is Values.FUNCTION:
            stub = Stub(model_state.name, field_name, is_null=True)
        return AlterFieldWithBackfill(model_name, field_name, field, stub)

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
        """Tell each backfill which fields a row has when it runs."""
        operations = [
            operation for migration in migrations for operation in migration.operations
        ]

        def describe(operation: Any) -> dict[str, Any]:
            names = get_row_fields(self.from_state, app_label, operations, operation)
            model_state = self.to_state.models[app_label, operation.model_name_lower]
            arguments: dict[str, Any] = {
                "unique_with": find_unique_with(model_state, operation.name, names)
            }
            if isinstance(operation.populate, Stub):
                arguments["populate"] = operation.populate.with_source_fields(names)
            return arguments

        for migration in migrations:
            change_backfills(migration, describe)


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


def answer(questioner: Any, operation: AlterField) -> AlterField:
    """Return what Django makes of the answer to its question about an AlterField."""
    default = questioner.ask_not_null_alteration(operation.name, operation.model_name)
    if default is NOT_PROVIDED:
        return operation
    field = operation.field.clone()
    field.default = default
    return AlterField(
        operation.model_name, operation.name, field, preserve_default=False
    )


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
    for dependency in migration.dependencies:
        part = next(
            (part for part in parts if has_own_dependency(part, dependency)), parts[0]
        )
        part.dependencies.append(dependency)
    return parts


def has_own_dependency(migration: Any, dependency: Any) -> bool:
    """Return whether an operation refers to a swappable model, by its setting."""
    return any(
        tuple(other)[:2] == tuple(dependency)
        for operation in migration.operations
        for other in operation._auto_deps
    )
