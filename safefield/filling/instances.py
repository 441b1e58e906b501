"""Read rows as instances of historical models at the cost of a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import ref

from django.db.models import Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from safefield.fields import AnyField, is_small

#: Columns that a row has at the most, if all are small, for it to be read as a whole.
FEW_COLUMNS = 8

#: Attributes of an instance that are nothing but an entry in its __dict__.
PLAIN_ATTRIBUTES = (DeferredAttribute, ForeignKeyDeferredAttribute)


def read_quickly(queryset: QuerySet[Model]) -> QuerySet[Model]:
    """
    Let `queryset` make its instances without Model.__init__, if nobody can tell.

    That takes as long again as all else from the database to Python. Where it may do
    more than fill __dict__, or select_related() joins others, all stays as it is.
    """
    if not queryset.query.select_related and is_plain(queryset.model):
        queryset._iterable_class = PlainIterable  # private, see test_django_contract.py
    return queryset


class PlainIterable(ModelIterable):  # type: ignore[type-arg] # generic in the stubs
    """Yield instances that are their columns and a ModelState, as from_db() does."""

    def __iter__(self) -> Iterator[Any]:
        queryset = self.queryset
        model = queryset.model
        alias = queryset.db
        fetch_mode = getattr(queryset, "_fetch_mode", None)  # Django 6.1
        has_peers = fetch_mode is not None and fetch_mode.track_peers
        peers: list[Any] = []
        compiler = queryset.query.get_compiler(using=alias)
        rows = compiler.results_iter(
            chunked_fetch=self.chunked_fetch, chunk_size=self.chunk_size
        )
        fields = [column.target for column, *_ in compiler.select]
        names = [field.attname for field in fields]
        # Which would look, for each row, whether it had another key before.
        has_setters = any(field.is_relation for field in fields)
        for values in rows:
            instance, state = make_instance(
                model, alias, fetch_mode, names, values, has_setters
            )
            if has_peers:
                peers.append(ref(instance))
                state.peers = peers
            yield instance


def make_instance(
    model: type[Model],
    alias: str,
    fetch_mode: Any,
    names: Sequence[str],
    values: Sequence[Any],
    has_setters: bool,
) -> tuple[Model, Any]:
    """Return a row that is its columns, as from_db() makes it, and its _state."""
    instance = object.__new__(model)
    instance._state = state = ModelState()
    state.db = alias
    state.adding = False
    if fetch_mode is not None:
        state.fetch_mode = fetch_mode
    if has_setters:
        get_values(instance).update(zip(names, values, strict=True))
    else:
        # An instance that was never asked for its __dict__ keeps the values in an
        # array, which is filled, read and freed faster.
        for name, value in zip(names, values, strict=True):
            setattr(instance, name, value)
    return instance, state


def is_plain(model: type[Model]) -> bool:
    """Return whether reading a row of `model` does no more than fill __dict__."""
    return is_made_plainly(model) and all(
        kind in PLAIN_ATTRIBUTES for kind in get_attribute_types(model)
    )


def is_made_plainly(model: type[Model]) -> bool:
    """Return whether making a row of `model` does no more than set its columns."""
    return (
        model.__init__ is Model.__init__
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined] # a classmethod
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
    )


def get_values(row: Model) -> dict[str, Any]:
    """Return what `row` keeps, as vars() does, but unseen by ColumnsRead."""
    values: dict[str, Any] = object.__getattribute__(row, "__dict__")
    return values


def get_attribute_types(model: type[Model]) -> list[type]:
    """Return of what kind the class attribute of each column is."""
    return [
        type(vars(field.model).get(field.attname))
        for field in model._meta.concrete_fields
    ]


def is_watchable(model: type[Model]) -> bool:
    """Return whether it can be told what somebody wants to know of a row."""
    return (
        is_made_plainly(model)
        and model.__getattribute__ is object.__getattribute__
        and not hasattr(model, "__getattr__")
    )


def is_wide(model: type[Model]) -> bool:
    """Return whether it is worth while to leave out columns of a row."""
    fields = model._meta.concrete_fields
    return len(fields) > FEW_COLUMNS or not all(map(is_small, fields))


def find_keys(model: type[Model]) -> set[str]:
    """
    Return the columns that are always read.

    They are keys, by which Django finds other rows, and a row itself; and what has an
    attribute of its own, which may look for other columns.
    """
    meta: AnyField = model._meta
    fields = meta.concrete_fields
    keys = {field.attname for field in fields if field.is_relation}
    for each in (model, *meta.all_parents):
        keys.update(field.attname for field in each._meta.pk_fields)
    for relation in meta.related_objects:
        # A relation to many has none: it leads by the primary key.
        others = getattr(relation.field, "foreign_related_fields", ())
        keys.update(field.attname for field in others)
    # The keys of contenttypes.
    keys.update(
        field.fk_field for field in meta.private_fields if hasattr(field, "fk_field")
    )
    kinds = zip(fields, get_attribute_types(model), strict=True)
    keys.update(field.attname for field, k in kinds if k not in PLAIN_ATTRIBUTES)
    return keys & {field.attname for field in fields}
