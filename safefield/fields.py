"""The forms that a field takes on the way, and what they can be asked."""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

from django.db.models import (
    NOT_PROVIDED,
    AutoField,
    BooleanField,
    CharField,
    DateField,
    DecimalField,
    DurationField,
    FloatField,
    ForeignKey,
    IntegerField,
    Model,
    TimeField,
    UUIDField,
    Value,
)
from django.utils.functional import cached_property

#: A model field. django-stubs leaves out db_index, db_constraint, target_field
#: and others that every column, or every foreign key, has.
AnyField: TypeAlias = Any

#: NULL for an UPDATE. Of None a field may make something else, such as
#: JSON's null or an empty text. JSONField asks a Value for its type.
NULL = Value(None, IntegerField())

#: Fields whose values have always a few bytes.
SMALL_FIELDS = (
    BooleanField,
    DateField,
    DecimalField,
    DurationField,
    FloatField,
    ForeignKey,
    IntegerField,
    TimeField,
    UUIDField,
)

#: Characters of a text that is small, too.
SMALL_LENGTH = 500


def make_interim(field: AnyField, old_field: AnyField | None) -> AnyField:
    """
    Return `field` nullable and bare: what the column is while it is filled.

    An index or a default on this column would be built or written before the
    values are there. What `old_field` has already is kept, for the application
    relies on it, but not a constraint that the final field does without: a value
    of populate may break it.
    """
    interim = strip_default(field)
    interim.null = field.null or old_field is None or old_field.null
    interim.db_default = NOT_PROVIDED if old_field is None else old_field.db_default
    interim._unique = old_field is not None and old_field.unique and field.unique
    interim.db_index = (
        old_field is not None and old_field.db_index and not old_field.unique
    )
    if interim.remote_field is not None:
        interim.db_constraint = (
            getattr(old_field, "db_constraint", False)
            and field.db_constraint
            and not refer_otherwise(old_field, field)
        )
    if hasattr(interim, "spatial_index"):
        interim.spatial_index = getattr(old_field, "spatial_index", False)
    return interim


def refer_otherwise(one: AnyField, other: AnyField) -> bool:
    """Return whether two fields are foreign keys, and not the same one."""
    return bool(
        one.remote_field
        and other.remote_field
        and _describe_key(one) != _describe_key(other)
    )


def _describe_key(field: AnyField) -> tuple[str, str, Any]:
    """Return what the foreign key of a field says beside its column."""
    target, on_delete = field.target_field, field.remote_field.on_delete
    # Of the others, only Python knows.
    is_by_database = hasattr(on_delete, "on_delete_sql")  # Django 6.1
    return target.model._meta.db_table, target.column, is_by_database and on_delete


def is_small(field: AnyField) -> bool:
    """Return whether no value of the field takes long to read."""
    if isinstance(field, CharField):
        return field.max_length is not None and field.max_length <= SMALL_LENGTH
    return isinstance(field, SMALL_FIELDS)


def strip_default(field: AnyField) -> AnyField:
    """
    Return a copy of `field` that makes Django's schema editor write no value.

    The schema editor takes a constant from default, from blank (the empty
    string), from auto_now and auto_now_add, and from what the field stores for
    None. A class of the project's own may always say that it has a default.
    """
    bare = copy_field(field)
    bare.default = NOT_PROVIDED
    bare.has_default = lambda: False
    bare.blank = False
    for name in ("auto_now", "auto_now_add"):
        if hasattr(bare, name):
            setattr(bare, name, False)

    def get_db_prep_save(value: Any, connection: Any) -> Any:
        if value is None:
            return None
        return field.get_db_prep_save(value, connection)

    bare.get_db_prep_save = get_db_prep_save
    return bare


def copy_field(field: AnyField) -> AnyField:
    """Return a copy of `field`, bound to the same model, that may be changed."""
    duplicate = copy.deepcopy(field)
    for name in list(duplicate.__dict__):
        # Such as `unique` and `_get_default`, which would keep saying what the
        # original says.
        if isinstance(getattr(type(duplicate), name, None), cached_property):
            del duplicate.__dict__[name]
    return duplicate


def list_references(expression: Any) -> list[str]:
    """Return the names of the fields that an expression refers to."""
    references = Model._get_expr_references(expression)  # type: ignore[attr-defined] # private
    return [name for name, *_ in references]


def is_stock_integer(field: AnyField) -> bool:
    """Return whether an int of `field` is itself what the database is given."""
    while field.remote_field is not None:
        field = field.target_field
    kind = type(field)
    return isinstance(field, IntegerField) and all(
        any(
            getattr(kind, name) is getattr(base, name)
            for base in (IntegerField, AutoField)
        )
        and name not in vars(field)
        for name in ("get_prep_value", "get_db_prep_value")
    )
