"""From what populate returns to what the database is given."""

from __future__ import annotations

import copy
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    DecimalField,
    Field,
    FileField,
    IntegerField,
    JSONField,
    Model,
    Value,
)
from django.db.models.fields.files import FieldFile
from django.utils.functional import Promise

from safefield.backends import get_backend
from safefield.exceptions import BadValue
from safefield.fields import AnyField
from safefield.filling.acceptance import get_acceptor
from safefield.filling.nonvalues import NONE
from safefield.filling.strictness import (
    find_surrogate,
    get_type_check,
    get_value_check,
    is_djangos,
)


class Values:
    """
    Check and convert the values of one field.

    Args:
        field (Field): The field as it is to end.
        allow_blank (bool): Whether an empty text is a value of a required field.
    """

    def __init__(
        self,
        field: AnyField,
        connection: BaseDatabaseWrapper,
        *,
        allow_blank: bool = False,
    ) -> None:
        self.field = field
        self.connection = connection
        self.takes_blank = field.blank or allow_blank or field.is_relation
        self.strict = make_strict(field)
        #: Whose values they are: those of a foreign key are its target's.
        self.target: AnyField = field.target_field if field.is_relation else field
        self.find_type_fault = get_type_check(self.target)
        self.find_value_fault = get_value_check(self.target, connection)
        #: Says of a value that prepare() would return it as it is.
        self.accepts = get_acceptor(field)
        #: Makes a value that can still change one that cannot, by its type.
        self.freezers = get_backend(connection).writer.get_freezers(connection)
        self._is_djangos = is_djangos(self.target)
        #: What checks the items, if the values are lists.
        self.items: Values | None = None
        if self._is_djangos and field.get_internal_type() == "ArrayField":
            self.items = Values(field.base_field, connection, allow_blank=True)

    def prepare(self, value: Any) -> Any:
        """
        Return `value` as a query parameter, which does not change any more.

        Raises:
            ValidationError: The value is not one that the field takes, or a text
                that cannot be sent to a database.
        """
        if self.accepts(value):
            return value
        try:
            prepared = self.field.get_db_prep_save(self.clean(value), self.connection)
        except (ValidationError, DatabaseError):
            raise
        except Exception as exc:
            # int() or decimal.Decimal() of something else altogether.
            raise BadValue(
                f"{type(self.field).__name__} cannot convert it, a value of type "
                f"{type(value).__name__} ({type(exc).__name__})"
            ) from exc
        if prepared is None and value is not None and not self.field.null:
            raise BadValue("the field makes NULL of it, and is required")
        if isinstance(prepared, str) and (fault := find_surrogate(prepared)):
            raise BadValue(fault)
        freeze = self.freezers.get(type(prepared))
        return prepared if freeze is None else freeze(prepared)

    def clean(self, value: Any) -> Any:
        """Return `value` in Python terms, checked as a form would check it."""
        field = self.field
        if field.is_relation:
            value = self._key(value)
        value = self._as_assigned(value)
        if value is None:
            if field.null:
                return None
            raise BadValue(NONE)
        if isinstance(field, JSONField) and is_json(value):
            # JSON null, which Field.clean() would take for NULL.
            return value
        if fault := self.find_type_fault(self.target, value):
            raise BadValue(fault)
        cleaned = self._clean(value)
        if cleaned is None or self.find_value_fault is None:
            return cleaned
        if fault := self.find_value_fault(self.target, cleaned):
            raise BadValue(fault)
        return cleaned

    def _as_assigned(self, value: Any) -> Any:
        """Return what save() would find where `value` was assigned to a row."""
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        if isinstance(value, Promise):
            return value._proxy____cast()  # type: ignore[attr-defined]  # private, see test_django_contract.py
        field = self.field
        if isinstance(field, FileField) and (
            type(value) is str or (value is None and (field.null or self.takes_blank))
        ):
            # Of no file, save() makes an empty text.
            return field.attr_class(None, field, value)  # type: ignore[arg-type]  # no row is needed
        if isinstance(field, JSONField) and is_json(value) and value.value is not None:
            return value.value
        return value

    def _clean(self, value: Any) -> Any:
        field = self.field
        if field.is_relation:
            # Existence is checked in bulk when all rows are filled, so the
            # query that ForeignKey.validate() makes for each value is left out.
            return self.target.to_python(value)
        if self.items is not None and isinstance(value, (list, tuple)):
            value = [self._clean_item(*item) for item in enumerate(value, 1)]
        if self._is_djangos and isinstance(value, str) and is_read_by_server(field):
            return self._clean_literal(value)
        if isinstance(field, DecimalField) and isinstance(value, float):
            return self._clean_float(value)
        cleaned = self.strict.clean(value, None)
        if self._is_blank(cleaned):
            raise BadValue(
                "it is an empty text, and the field is required: if it is meant, add "
                "allow_blank=True to the operation"
            )
        return cleaned

    def _clean_item(self, position: int, item: Any) -> Any:
        if item is None:
            return None
        assert self.items is not None
        try:
            return self.items.clean(item)
        except ValidationError as exc:
            raise ValidationError([BadValue(f"item {position} of it:"), exc]) from exc

    def _clean_literal(self, value: str) -> str:
        """Return a text that the server reads, as it is: Django hands it on."""
        if has_own_validators(self.field):
            raise BadValue(
                "it is a text, at which the validators cannot look; give a Python "
                "object"
            )
        return value

    def _clean_float(self, value: float) -> Any:
        """Return a float as Decimal; which of its decimal places count, save() says."""
        exact = self.field.to_python(value)
        places = self.field.decimal_places
        with suppress(InvalidOperation, TypeError):
            # What is no number, or too large, is for clean() to refuse.
            self.strict.clean(exact.quantize(Decimal(1).scaleb(-places)), None)
            return exact
        return self.strict.clean(exact, None)

    def _is_blank(self, value: Any) -> bool:
        """Return whether `value` is an empty text that is not meant."""
        field = self.field
        text = value.name if isinstance(value, FieldFile) else value
        return (
            isinstance(text, str)
            and not text
            and not self.takes_blank
            # Whose values are not texts, and of whose empty text prepare() can tell.
            and field.get_internal_type() not in {"JSONField", "GenericIPAddressField"}
            # What each new row of the application gets cannot be wrong in old ones.
            and not (field.has_default() and field.get_default() == "")
        )

    def _key(self, value: Any) -> Any:
        """Return what a foreign key stores for an instance or a key."""
        if isinstance(value, tuple):
            raise BadValue("it is a tuple, as get_or_create() returns: return its [0]")
        if not isinstance(value, Model):
            return value
        # Compared by label: the same model has another class in each state.
        related = value._meta.concrete_model or type(value)
        labels = {related._meta.label_lower} | {
            parent._meta.label_lower for parent in related._meta.all_parents
        }
        if self.field.related_model._meta.label_lower not in labels:
            raise BadValue(
                f"it is an instance of {value._meta.label}, not of "
                f"{self.field.related_model._meta.label}"
            )
        key = getattr(value, self.target.attname)
        if key is None or value._state.adding:
            raise BadValue(
                f"it is an instance of {value._meta.label} that was not saved"
            )
        return key


class EmptyValues(list[Any]):
    """What a field calls empty, which takes any value for a question."""

    def __contains__(self, value: object) -> bool:
        try:
            return super().__contains__(value)
        except ValueError:
            # NumPy compares with a list item by item, and says neither yes nor no.
            return False


def make_strict(field: AnyField) -> AnyField:
    """
    Return a copy of `field` whose clean() looks at the values of all rows.

    Field.validate() asks nothing of a field with editable=False, and takes an
    empty list, dict or bytes for a form that nobody filled in. What an empty text
    is, is for Values to say, and what the range of an integer is, for
    get_value_check().
    """
    # Not copy_field(): its validators are what __init__ left in a cached property.
    strict = copy.copy(field)
    strict.editable = strict.blank = True
    strict.empty_values = EmptyValues(field.empty_values)
    if getattr(type(field), "validators", None) is IntegerField.validators:
        # Those of the range are the default database's, whichever is migrated.
        strict.validators = [*field.default_validators, *field._validators]
    if hasattr(field, "base_field"):
        strict.base_field = make_strict(field.base_field)
        # The items have been looked at by then.
        strict.base_field.validators = []
    return strict


def is_json(value: Any) -> bool:
    """Return whether `value` is a Value(…, JSONField()), or JSONNull of Django 6.1."""
    if not isinstance(value, Value):
        return False
    output: Any = value._output_field_or_none  # type: ignore[attr-defined]  # private, see test_django_contract.py
    return isinstance(output, JSONField)


def is_read_by_server(field: AnyField) -> bool:
    """Return whether a text for `field` is a literal, such as "[1,3)" for a range."""
    # By name, for the module of these fields cannot be imported without psycopg.
    return field.get_internal_type() in {"ArrayField", "HStoreField"} or hasattr(
        field, "range_type"
    )


def has_own_validators(field: AnyField) -> bool:
    """Return whether somebody gave `field`, or its items, validators."""
    base = getattr(field, "base_field", None)
    return bool(
        field._validators  # private, see test_django_contract.py
        or getattr(field, "size", None)
        or (isinstance(base, Field) and has_own_validators(base))
    )
