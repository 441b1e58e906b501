"""How makemigrations comes to write backfills instead of asking questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from django.db.migrations.autodetector import (
    MigrationAutodetector,
    OperationDependency,
)
from django.db.migrations.operations import AlterField
from django.db.migrations.operations.base import Operation

from safefield.arguments import refusal
from safefield.authoring.columns import get_column, move_column
from safefield.authoring.dependencies import OnOperation
from safefield.authoring.questions import Listener, answer
from safefield.authoring.stubs import ImportedStub, Stub
from safefield.authoring.unasked import Values, find_addition, find_alteration
from safefield.authoring.widening import holds_no_keys
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
)

# django-stubs lacks what is private to Django's autodetector.
_Base: Any = object


def wrap_autodetector(
    autodetector: type[MigrationAutodetector], *, two_phase: bool = False
) -> type[MigrationAutodetector]:
    """Return a subclass of `autodetector` that writes backfills."""
    return type(
        "BackfillAutodetector",
        (BackfillAutodetector, autodetector),
        {"two_phase": two_phase},
    )


class BackfillAutodetector(_Base):  # type: ignore[misc] # as above
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

    questioner: Any
    generated_operations: dict[str, list[Operation]]

    _listener: Listener | None = None
    #: The apps that get migrations; None for all.
    _selected: set[str] | None = None

    def _generate_added_field(
        self, app_label: str, model_name: str, field_name: str
    ) -> None:
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        if refusal(field, needs_values=False) is not None:
            super()._generate_added_field(app_label, model_name, field_name)
            return
        saved = self._copy_operations()
        with self._listen() as listener:
            super()._generate_added_field(app_label, model_name, field_name)
        values = listener.values or find_addition(model_state, field_name)
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
        if self.two_phase and not field.null:
            first_field = field.clone()
            first_field.null = True
        first = AddFieldWithBackfill(model_name, field_name, first_field, populate)
        # Past the wrapped autodetector: it may take any AddField apart, as
        # django-syzygy does.
        add = partial(MigrationAutodetector.add_operation, self, app_label)
        add(first, dependencies=replaced._auto_deps)
        if first_field is not field:
            if populate is not None:
                populate = ImportedStub(populate.model_name, field_name)
            second = AlterFieldWithBackfill(model_name, field_name, field, populate)
            dependency: Any = OnOperation(app_label, first)
            add(second, dependencies=[dependency])

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
        is_asked, listener.values = listener.values is not None, None
        backfill = self._get_alteration(app_label, operation, is_asked=is_asked)
        if backfill is None:
            if is_asked:
                operation = answer(listener.questioner, operation)
            super().add_operation(app_label, operation, dependencies, beginning)
            return
        saved = self._copy_operations()
        super().add_operation(app_label, operation, dependencies, beginning)
        if self._take_back(app_label, saved):
            self._add_alteration(app_label, backfill, dependencies)

    def _get_old_field(self, app_label: str, operation: AlterField) -> Any:
        model_name = operation.model_name
        old_name = self.renamed_models.get((app_label, model_name), model_name)
        return self.from_state.models[app_label, old_name].get_field(operation.name)

    def _add_alteration(
        self, app_label: str, backfill: AlterFieldWithBackfill, dependencies: Any
    ) -> None:
        """Add the backfill of an altered field, and before it what it stands on."""
        model_name, name, field = backfill.model_name, backfill.name, backfill.field
        old_field = self._get_old_field(app_label, backfill)
        if holds_no_keys(self.to_state, (app_label, model_name), old_field, field):
            # A function finds the row that has such a text.
            self._generate_removed_field(app_label, model_name, name)
            self._generate_added_field(app_label, model_name, name)
            return
        column = get_column(field, name)
        if column is not None and column != get_column(old_field, name):
            moved = move_column(old_field, name, column)
            move = AlterField(model_name, name, moved)
            MigrationAutodetector.add_operation(self, app_label, move)
            dependencies = [*(dependencies or ()), OnOperation(app_label, move)]
        MigrationAutodetector.add_operation(
            self, app_label, backfill, dependencies=dependencies
        )

    def _get_alteration(
        self, app_label: str, operation: AlterField, *, is_asked: bool
    ) -> AlterFieldWithBackfill | None:
        """Return the backfill that is to take the place of an AlterField, if any."""
        model_name, field_name = operation.model_name, operation.name
        model_state = self.to_state.models[app_label, model_name]
        field = model_state.get_field(field_name)
        if refusal(field, needs_values=False) is not None:
            return None
        values: Values | None = Values.FUNCTION
        if not is_asked:
            old_field = self._get_old_field(app_label, operation)
            values = find_alteration(model_state, field_name, old_field)
        if values is None:
            return None
        stub = None
        if values is Values.FUNCTION:
            stub = Stub(model_state.name, field_name, is_null=True)
        return AlterFieldWithBackfill(model_name, field_name, field, stub)

    def changes(
        self,
        graph: Any,
        trim_to_apps: Any = None,
        convert_apps: Any = None,
        migration_name: str | None = None,
    ) -> Any:
        """Return the changes, having noted for which apps they are."""
        self._selected = set(trim_to_apps) if trim_to_apps else None
        return super().changes(graph, trim_to_apps, convert_apps, migration_name)

    def check_dependency(self, operation: Operation, dependency: Any) -> bool:
        """Return whether an operation is what a dependency is on."""
        if isinstance(dependency, OnOperation):
            return operation is dependency.operation
        return bool(super().check_dependency(operation, dependency)) or (
            # Its name_lower is equal to nothing. Packages have dependencies of
            # their own, without a type.
            getattr(dependency, "type", None) == OperationDependency.Type.ALTER
            and isinstance(operation, AlterFieldWithBackfill)
            and operation.model_name_lower == dependency.model_name_lower
            and operation.name.lower() == dependency.field_name_lower
        )

    def _build_migration_list(self, graph: Any = None) -> None:
        if not any(
            isinstance(operation, BACKFILLS)
            for operations in self.generated_operations.values()
            for operation in operations
        ):
            super()._build_migration_list(graph)
            return
        # Here, because most runs find no backfill, as `makemigrations --check` does.
        from safefield.authoring.ordering import sort_operations
        from safefield.authoring.parts import split_migrations

        ordered = sort_operations(self, self._selected)
        super()._build_migration_list(graph)
        split_migrations(self, ordered, graph)
