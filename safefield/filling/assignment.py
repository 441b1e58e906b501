"""What assigning a value to a field does to a row, beside setting one column."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from safefield.backends.base.writer import Row, Writer
from safefield.exceptions import BadValue, FailedAssignment
from safefield.fields import AnyField
from safefield.filling.nonvalues import find_nonvalue
from safefield.filling.values import Values
from safefield.plan import Plan

#: Whose content may change while the object stays the same.
MUTABLE_TYPES = (bytearray, dict, list, set)


def has_own_attribute(model: type[Model], field: AnyField) -> bool:
    """
    Return whether assigning `field` may do more than set its own column.

    As with django-money, whose attribute also sets the currency.
    """
    return model.__setattr__ is not object.__setattr__ or bool(
        get_setters(model, field)
    )


def get_setters(model: type[Model], field: AnyField) -> list[str]:
    """
    Return the names of what may set more than the column of `field`.

    Django's own attributes set one column each, but for an image that has its
    width and height in columns of their own.
    """
    names = []
    has_dimensions = any(
        getattr(field, name, None) for name in ("width_field", "height_field")
    )
    for name in dict.fromkeys([field.name, field.attname]):
        attribute = inspect.getattr_static(model, name, None)
        setter = getattr(type(attribute), "__set__", None)
        module = str(getattr(setter, "__module__", None))
        if setter is not None and (has_dimensions or not module.startswith("django.")):
            names.append(f"{type(attribute).__name__}.__set__()")
    return names


class Assignment:
    """Assign values to a row as `row.field = value` does, and see what changes."""

    def __init__(self, model: type[Model], connection: BaseDatabaseWrapper) -> None:
        #: Historical model whose attributes do it.
        self.model = model
        self.connection = connection
        #: Check and convert the values of a field. What is blank is not an answer of
        #: populate.
        self.get_values = cache(
            lambda field: Values(field, connection, allow_blank=True)
        )

    @cached_property
    def columns(self) -> list[AnyField]:
        """The fields that a row is made of and that can be written."""
        return [
            field for field in self.model._meta.concrete_fields if not field.generated
        ]

    def copy(self, row: Model) -> Model:
        """Return `row` as an instance of the model, as a query would give it."""
        return copy_row(self.model, row, self.connection.alias)

    def assign(self, instance: Model, answer: Mapping[str, Any]) -> dict[AnyField, Any]:
        """
        Assign the values of `answer` to `instance`.

        Args:
            instance (Model): From copy(); it is changed.
            answer (Mapping[str, Any]): Values by the names of fields.

        Returns:
            dict[Field, Any]: What each of the fields holds then, in the order of
                `answer`, and behind them the fields that changed besides.

        Raises:
            ValidationError: A value cannot be assigned, or what assigning it
                changes besides cannot be written.
        """
        before = {
            field.attname: snapshot(vars(instance).get(field.attname))
            for field in self.columns
        }
        fields: list[AnyField] = [self.model._meta.get_field(name) for name in answer]
        for field, value in zip(fields, answer.values(), strict=True):
            try:
                self._set(instance, field, value)
            except (ValidationError, DatabaseError):
                raise
            except Exception as exc:
                raise FailedAssignment(
                    f"assigning it raised {type(exc).__name__}"
                ) from exc
        found = {field: getattr(instance, field.attname) for field in fields}
        for field in self.columns:
            if field in found or not self._has_changed(
                field, before[field.attname], vars(instance).get(field.attname)
            ):
                continue
            self._refuse_companion(field)
            found[field] = getattr(instance, field.attname)
        return found

    def prepare(self, field: AnyField, value: Any) -> Any:
        """
        Return `value` of another field than the one that was assigned, ready to write.

        Raises:
            ValidationError: The field does not take it.
        """
        try:
            return self.get_values(field).prepare(value)
        except ValidationError as exc:
            head = BadValue(f"assigning it also sets {field.name}:")
            raise ValidationError([head, exc]) from exc

    def _set(self, instance: Model, field: AnyField, value: Any) -> None:
        if not (field.is_relation and isinstance(value, Model)):
            # Before the attribute makes something of it.
            if fault := find_nonvalue(value):
                raise BadValue(fault)
            try:
                setattr(instance, field.attname, value)
            except AttributeError:
                # An attribute may take a first value and no other, as a protected one
                # of django-fsm does. What is assigned here is the first.
                if vars(instance).pop(field.attname, value) is not None:
                    raise
                setattr(instance, field.attname, value)
            return
        # Checked first: the attribute would take one that was not saved.
        Values(field, self.connection).prepare(value)
        # The attribute takes instances of its own registry alone.
        related = copy_row(field.related_model, value, self.connection.alias)
        setattr(instance, field.name, related)

    def _has_changed(self, field: AnyField, before: Any, after: Any) -> bool:
        if after is before or (type(after) is type(before) and after == before):
            return False
        # Also an attribute that is only read may put its own object in place of
        # what the database gave.
        prepared, again = (
            field.get_db_prep_save(value, self.connection) for value in (before, after)
        )
        return type(prepared) is not type(again) or bool(prepared != again)

    def _refuse_companion(self, field: AnyField) -> None:
        """Refuse a change that one UPDATE of the table cannot write."""
        if field.primary_key or field in self.model._meta.pk_fields:
            reason = "it is the primary key"
        elif field.model._meta.db_table != self.model._meta.db_table:
            reason = f"it is a column of another table, {field.model._meta.db_table}"
        else:
            return
        raise BadValue(
            f"assigning it also changes {field.name}, which cannot be written: {reason}"
        )


def copy_row(model: type[Model], row: Model, alias: str) -> Model:
    """
    Return an instance of `model` with the columns of `row`, a row read from it.

    What can change in place is copied: populate and reverse may change the row.
    """
    for name in row.get_deferred_fields():
        # Which reads it.
        getattr(row, name)
    values = vars(row)
    names = [field.attname for field in model._meta.concrete_fields]
    found = [snapshot(values.get(name)) for name in names]
    return model.from_db(alias, names, found)


def snapshot(value: Any) -> Any:
    """Return `value`, or a copy if it can change in place."""
    return copy.deepcopy(value) if isinstance(value, MUTABLE_TYPES) else value


class CompanionWriter(Writer):
    """
    Write rows that do not all write the same columns.

    The values of a row are that of the one field and, behind it, a mapping with
    those of others by their fields, if there are any.

    Args:
        writer_class (Callable): Makes a Writer, of rows with the same columns. All
            others are its arguments.
    """

    def __init__(
        self, writer_class: Callable[..., Writer], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._writer_class = writer_class
        self._writers: dict[tuple[AnyField, ...], Writer] = {}

    def write(self, rows: Sequence[Row]) -> int:
        """Write `rows`, see Writer."""
        groups: dict[tuple[AnyField, ...], list[Row]] = {}
        for key, (value, *others) in rows:
            companions: Mapping[AnyField, Any] = others[0] if others else {}
            groups.setdefault(tuple(companions), []).append(
                (key, (value, *companions.values()))
            )
        return sum(
            self._get_writer(fields).write(group) for fields, group in groups.items()
        )

    def _get_writer(self, companions: tuple[AnyField, ...]) -> Writer:
        if companions not in self._writers:
            self._writers[companions] = self._writer_class(
                self.connection,
                self.model,
                [*self.fields, *companions],
                only_null=self.only_null,
            )
        return self._writers[companions]


def refuse_assignment(plan: Plan) -> None:
    """Refuse a field whose other columns are not there, or would not be set."""
    there = {field.column for field in plan.model._meta.concrete_fields}
    missing = ", ".join(
        field.name
        for field in plan.new_model._meta.local_concrete_fields
        if field.column not in there and field.name != plan.field_name
    )
    if missing:
        sentence = (
            f"with it the model has {missing}, and no operation before this one adds "
            f"that. Put the operation that adds {missing} before this one"
        )
    elif plan.is_expression and (names := get_setters(plan.new_model, plan.field)):
        sentence = (
            f"assigning it calls {names[0]}, which may set other columns, and an "
            f"expression sets this one alone. Write populate as a function of a row"
        )
    else:
        return
    raise plan.error(
        f"{plan.title} cannot be filled: {sentence}, then run migrate again. Nothing "
        f"was changed."
    )
