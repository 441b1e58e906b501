"""From what populate returns to what the database is given."""

from __future__ import annotations

import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from safefield.acceptance import get_acceptor
from safefield.exceptions import BadValue
from safefield.fields import AnyField
from safefield.strictness import get_type_check, get_value_check

__all__ = ["Values"]


class Values:
    """
    Check and convert the values of one field.

    Args:
        field (Field): The field as it is to end.
        connection (BaseDatabaseWrapper): Where the values go.
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

    def prepare(self, value: Any) -> Any:
        """
        Return `value` as a query parameter.

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
            kind = type(self.field).__name__
            raise BadValue(f"{kind} cannot convert it ({type(exc).__name__})") from exc
        if isinstance(prepared, str):
            try:
                prepared.encode()
            except UnicodeEncodeError as exc:
                raise BadValue(f"it cannot be sent to a database: {exc}") from exc
        return prepared

    def clean(self, value: Any) -> Any:
        """Return `value` in Python terms, checked as a form would check it."""
        field = self.field
        if field.is_relation:
            value = self._key(value)
        if value is None:
            if field.null:
                return None
            raise BadValue("it is None, and the field is required")
        if fault := self.find_type_fault(self.target, value):
            raise BadValue(fault)
        cleaned = self._clean(value)
        if cleaned is None or self.find_value_fault is None:
            return cleaned
        if fault := self.find_value_fault(self.target, cleaned):
            raise BadValue(fault)
        return cleaned

    def _clean(self, value: Any) -> Any:
        field = self.field
        if field.is_relation:
            # Existence is checked in bulk when all rows are filled, so the
            # query that ForeignKey.validate() makes for each value is left out.
            return field.target_field.to_python(value)
        cleaned = self.strict.clean(value, None)
        if self._is_blank(cleaned):
            raise BadValue(
                "it is an empty text, and the field is required: if it is meant, add "
                "allow_blank=True to the operation"
            )
        return cleaned

    def _is_blank(self, value: Any) -> bool:
        """Return whether `value` is an empty text that is not meant."""
        field = self.field
        return (
            isinstance(value, str)
            and not value
            and not self.takes_blank
            # Whose values are not texts, but may be one.
            and field.get_internal_type() != "JSONField"
            # What each new row of the application gets cannot be wrong in old ones.
            and not (field.has_default() and field.get_default() == "")
        )

    def _key(self, value: Any) -> Any:
        """Return what a foreign key stores for an instance or a key."""
        if not isinstance(value, Model):
            return value
        target = self.field.target_field
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
        key = getattr(value, target.attname)
        if key is None or value._state.adding:
            raise BadValue(
                f"it is an instance of {value._meta.label} that was not saved"
            )
        return key


def make_strict(field: AnyField) -> AnyField:
    """
    Return a copy of `field` whose clean() looks at the values of all rows.

    Field.validate() asks nothing of a field with editable=False, and takes an
    empty list, dict or bytes for a form that nobody filled in. What an empty text
    is, is for Values to say.
    """
    # Not copy_field(): its validators are what __init__ left in a cached property.
    strict = copy.copy(field)
    strict.editable = strict.blank = True
    if getattr(field, "base_field", None) is not None:
        strict.base_field = make_strict(field.base_field)
    return strict
