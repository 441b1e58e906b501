"""Fields of a project's own: types that Django has no field for, and own values."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from django.db import models


class TypedField(models.Field):
    """
    A column of any type, with the values as they are.

    Args:
        kind (str): Its type, as the database spells it.
    """

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, _, options = super().deconstruct()
        return name, path, [self.kind], options

    def db_type(self, connection: Any) -> str:
        return self.kind


class EmptyTextField(models.TextField):
    """Store an empty text for None, as wagtail's StreamField stores []."""

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        return "" if value is None else super().get_db_prep_value(value, connection)


class JSONTextField(models.TextField):
    """Store JSON in a text, as fields did before Django had one for it."""

    def to_python(self, value: Any) -> Any:
        return value

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else json.dumps(value)


class EncryptedField(models.TextField):
    """Store a text so that no two rows have the same, not even with one value."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else base64.b64decode(value)[8:].decode()

    def get_prep_value(self, value: Any) -> Any:
        text = super().get_prep_value(value)
        if text is None:
            return None
        return base64.b64encode(secrets.token_bytes(8) + text.encode()).decode()


class UpperField(models.CharField):
    """Change its value at the very end."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value.upper() if isinstance(value, str) else value


class PlacedField(models.CharField):
    """Want SQL around its value, as geometries do."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "LOWER(%s)"

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> Any:
        return "LOWER(%s)", (value,)


class CountedAttribute:
    """Set the number of characters in another column."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.__dict__[self.field.attname]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value
        if value is not None:
            instance.f_length = len(value)


class CountedField(models.CharField):
    """Set a second column when it is assigned, as django-money's field does."""

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kw: Any) -> None:
        super().contribute_to_class(cls, name, *args, **kw)
        setattr(cls, self.attname, CountedAttribute(self))
