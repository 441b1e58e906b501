"""The operations that are written into migration files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import (
    AddField,
    AlterField,
    FieldOperation,
    RemoveField,
)
from django.db.migrations.operations.models import DeleteModel
from django.db.migrations.state import ProjectState
from django.db.models.expressions import Combinable

from safefield.arguments import (
    check_batch_size,
    check_flags,
    check_functions,
    check_names,
    check_uniqueness,
    refusal,
)
from safefield.plan import Plan
from safefield.populate import function_name

__all__ = ["BACKFILLS", "AddFieldWithBackfill", "AlterFieldWithBackfill"]

#: A function of a row, a function of a row and apps, or a query expression.
Populate: TypeAlias = Callable[..., Any] | Combinable

#: The arguments that a plan has too, in their order.
ARGUMENTS = (
    "populate",
    "reverse",
    "deduplicate",
    "select_related",
    "prefetch_related",
    "batch_size",
    "unique_with",
    "allow_blank",
)

if TYPE_CHECKING:
    _Base = FieldOperation
else:
    _Base = object


class BackfillOperation(_Base):
    """What both operations share: the arguments and the barrier."""

    _phrase: ClassVar[str]
    #: Whether the field is new. An altered one without populate enforces what the rows
    #: have already.
    _is_new: ClassVar[bool]
    field: models.Field[Any, Any]
    #: Not `elidable`: of an operation that has that, Django leaves nothing.
    is_elidable: bool

    # Spelled out, because OperationWriter writes only the arguments that it
    # finds in the signature of __init__.
    def __init__(
        self,
        model_name: str,
        name: str,
        field: models.Field[Any, Any],
        populate: Populate | None = None,
        reverse: Callable[..., Any] | None = None,
        *,
        deduplicate: Callable[..., Any] | None = None,
        select_related: Sequence[str] = (),
        prefetch_related: Sequence[str] = (),
        batch_size: int | None = None,
        unique_with: Sequence[str] = (),
        allow_blank: bool = False,
        elidable: bool = False,
    ) -> None:
        operation = f"{type(self).__name__}({model_name!r}, {name!r})"
        sentence = refusal(field, needs_values=self._is_new and populate is None)
        if sentence is not None:
            raise ValueError(f"{operation}: {sentence}")
        check_functions(operation, populate, reverse, deduplicate)
        check_names(
            operation,
            select_related=select_related,
            prefetch_related=prefetch_related,
            unique_with=unique_with,
        )
        check_uniqueness(operation, field, deduplicate, unique_with)
        check_batch_size(operation, batch_size)
        check_flags(operation, allow_blank=allow_blank, elidable=elidable)
        self.populate = populate
        self.reverse = reverse
        self.deduplicate = deduplicate
        self.select_related = tuple(select_related)
        self.prefetch_related = tuple(prefetch_related)
        self.batch_size = batch_size
        self.unique_with = tuple(unique_with)
        self.allow_blank = allow_blank
        self.is_elidable = elidable
        super().__init__(model_name, name, field)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        kwargs: dict[str, Any] = {
            "model_name": self.model_name,
            "name": self.name,
            "field": self.field,
        }
        # Written only where they say something else than the default.
        for argument in ARGUMENTS:
            if (value := getattr(self, argument)) not in (None, (), False):
                kwargs[argument] = value
        if self.is_elidable:
            kwargs["elidable"] = True
        return type(self).__name__, [], kwargs

    def describe(self) -> str:
        description = self._phrase % (self.name, self.model_name)
        if callable(self.populate):
            name = function_name(self.populate).removesuffix("()")
            return f"{description}, backfilled by {name}"
        if self.populate is None:
            # An altered field without one keeps what the rows have.
            has_default = self.field.has_default()
            return description + (", backfilled by its default" * has_default)
        return f"{description}, backfilled by {self.populate}"

    # A barrier: populate may read any field of any model, so no operation may
    # be moved across this one. CreateModel still absorbs it: there are no rows
    # to fill then. One that is elidable is optimized as Django's own operation is.
    def references_model(self, name: str, app_label: str) -> bool:
        return not self.is_elidable or super().references_model(name, app_label)

    def references_field(self, model_name: str, name: str, app_label: str) -> bool:
        return not self.is_elidable or super().references_field(
            model_name, name, app_label
        )

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        if self.is_elidable:
            return super().reduce(operation, app_label)
        if (
            isinstance(operation, RemoveField)
            and operation.model_name_lower == self.model_name_lower
            and operation.name_lower == self.name.lower()
        ):
            return [] if self._is_new else [operation]
        if (
            isinstance(operation, DeleteModel)
            and operation.name_lower == self.model_name_lower
        ):
            return [operation]
        if operation.elidable:
            return [self]
        return False

    def make_plan(
        self,
        app_label: str,
        old_state: ProjectState,
        new_state: ProjectState,
    ) -> Plan:
        """Return what is to be done between two states."""
        # In this order: on SQLite the columns of a remade table are in the
        # order in which their fields were made.
        old_apps, new_apps = old_state.apps, new_state.apps
        new_model = new_apps.get_model(app_label, self.model_name)
        return Plan(
            origin=self,
            old_state=old_state,
            migration_apps=old_apps,
            model=old_apps.get_model(app_label, self.model_name),
            new_model=new_model,
            label=new_model._meta.label,
            field_name=self.name,
            **{argument: getattr(self, argument) for argument in ARGUMENTS},
        )

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        plan = self.make_plan(app_label, from_state, to_state)
        if self.allow_migrate_model(schema_editor.connection.alias, plan.new_model):
            # Here, as below: every command that runs the checks imports migrations,
            # and most fill nothing.
            from safefield import steps

            steps.forwards(plan, schema_editor)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        plan = self.make_plan(app_label, to_state, from_state)
        if self.allow_migrate_model(schema_editor.connection.alias, plan.new_model):
            from safefield import steps

            steps.backwards(plan, schema_editor)


class AddFieldWithBackfill(BackfillOperation, AddField):
    """
    Add a field and give each existing row its own value.

    Args:
        model_name (str): Name of the model.
        name (str): Name of the field.
        field (Field): The field, exactly as in models.py.
        populate (Callable | Expression | None): `populate(row)` or
            `populate(row, apps)`, which returns the value of one row. `row` and
            `apps` are historical, from before this operation. Or a query
            expression. None: the field's own default, called for each row.
        reverse (Callable | None): `reverse(row)` or `reverse(row, apps)`,
            called for each row before the column is dropped. Returns a mapping
            of other fields to the values to write into them, or None.
        deduplicate (Callable | None): `deduplicate(row, value, n)`, called
            with n = 2, 3, ... until it returns a value that is free. None:
            duplicates are refused. For a unique field, or with unique_with.
        select_related (Sequence[str]): Names for QuerySet.select_related().
        prefetch_related (Sequence[str]): Names for
            QuerySet.prefetch_related().
        batch_size (int | None): Rows in a batch, at least 1. None: as many as
            take about 0.03 s, because a row is locked as long as its batch.
        unique_with (Sequence[str]): Other fields that the value must be unique
            together with, for a constraint that a later operation adds.
        allow_blank (bool): Whether rows may get '' although the field has no
            blank=True.
        elidable (bool): Whether it has run everywhere, so that
            squashmigrations may optimize it as Django's own operation.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The field cannot be backfilled; the text says what to use.
    """

    _phrase = "Add field %s to %s"
    _is_new = True


class _OwnName(str):
    """A name that is equal to no other, not even to itself."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


class AlterFieldWithBackfill(BackfillOperation, AlterField):
    """
    Make an existing field required or unique, or both.

    Only rows whose value is NULL are filled. The arguments are those of
    AddFieldWithBackfill.
    """

    _phrase = "Alter field %s on %s"
    _is_new = False

    @property
    def name_lower(self) -> str:
        """
        The name of the field, which is_same_field_operation() does not find.

        AddField.reduce() and AlterField.reduce() merge with every AlterField
        of the same field, and populate would be lost: the table would get a
        required column without values. CreateModel.reduce() looks at `name`.
        """
        name = self.name.lower()
        return name if self.is_elidable else _OwnName(name)


#: The operations that fill rows, for isinstance().
BACKFILLS = (AddFieldWithBackfill, AlterFieldWithBackfill)
