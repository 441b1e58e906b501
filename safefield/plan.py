"""What one operation asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.apps.registry import Apps
from django.db.migrations.state import ProjectState
from django.db.models import Model

from safefield.exceptions import BackfillError, BadRow
from safefield.fields import AnyField, make_interim, strip_default
from safefield.populate import bind, function_name


@dataclass(frozen=True)
class Plan:
    """Everything that the steps need to know of one operation."""

    #: The operation itself, by which its migration is found.
    origin: Any
    #: The models from before it, and their registry.
    old_state: ProjectState
    migration_apps: Apps
    #: The one from before it, whose instances are the rows that populate gets.
    model: type[Model]
    #: The one from after it.
    new_model: type[Model]
    #: Label of the model, such as "films.Movie".
    label: str
    field_name: str

    # Its other arguments.
    populate: Any
    reverse: Callable[..., Any] | None
    deduplicate: Callable[..., Any] | None
    select_related: tuple[str, ...]
    prefetch_related: tuple[str, ...]
    batch_size: int | None
    unique_with: tuple[str, ...]
    allow_blank: bool

    def reloaded(self) -> Plan:
        """
        Return the plan with all models as they are by now, for populate.

        Django leaves some as they were before an operation that concerns them from
        afar, until somebody needs them: see RunPython.
        """
        if not self.old_state.is_delayed:
            return self
        self.old_state.clear_delayed_apps_cache()
        apps = self.old_state.apps
        meta = self.model._meta
        model = apps.get_model(meta.app_label, meta.object_name)
        return replace(self, migration_apps=apps, model=model)

    @property
    def title(self) -> str:
        """How messages name the field: "films.Movie.slug"."""
        return f"{self.label}.{self.field_name}"

    @property
    def table(self) -> str:
        """Unquoted name of the table."""
        return self.new_model._meta.db_table

    def error(self, message: str, rows: Sequence[BadRow] = ()) -> BackfillError:
        """Return an error of this backfill, see BackfillError."""
        return BackfillError(
            message, model=self.label, field=self.field_name, rows=rows
        )

    @cached_property
    def field(self) -> AnyField:
        """The field as it is to end, bound to the new model."""
        return self.new_model._meta.get_field(self.field_name)

    @cached_property
    def old_field(self) -> AnyField | None:
        """The field from before the operation; None when it is being added."""
        # get_field() takes a reverse relation of this name for it, the foreign key that
        # has such a column, and what a parent has had.
        fields = {field.name: field for field in self.model._meta.local_fields}
        return fields.get(self.field_name)

    @cached_property
    def interim_field(self) -> AnyField:
        """The field as it is while rows are being filled: nullable and bare."""
        return make_interim(self.field, self.old_field)

    @cached_property
    def final_field(self) -> AnyField:
        """
        The field as it is to end, less the defaults of Python.

        A final ALTER that sees a default papers over missed rows with it.
        """
        return strip_default(self.field)

    @cached_property
    def unique_columns(self) -> tuple[str, ...]:
        """
        Attributes of the fields that are to be unique together, this one first.

        Empty where rows may share a value.
        """
        if not (self.final_field.unique or self.unique_with):
            return ()
        fields: list[AnyField] = [
            self.field,
            *map(self.new_model._meta.get_field, self.unique_with),
        ]
        return tuple(field.attname for field in fields)

    @property
    def source_name(self) -> str:
        """How messages name what the values come from."""
        if callable(self.populate):
            return function_name(self.populate)
        if self.is_expression:
            return str(self.populate)
        if not self.field.has_default():
            # Of an altered field: it enforces what the rows have.
            return f"the missing populate of {self.title}"
        return f"the default of {self.title}"

    @cached_property
    def value_of(self) -> Callable[[Any], Any]:
        """Populate as a function of one row."""
        if self.populate is None:
            # A callable default is called again for each row.
            has_default = self.field.has_default()
            return lambda row: self.field.get_default() if has_default else None
        return bind(self.populate, self.migration_apps)

    @property
    def is_expression(self) -> bool:
        """Whether the database computes the values."""
        return hasattr(self.populate, "resolve_expression")
