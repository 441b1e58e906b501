"""Read rows as instances of historical models at the cost of a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ref

from django.db.models import Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

#: Attributes of an instance that are nothing but an entry in its __dict__.
PLAIN_ATTRIBUTES = (DeferredAttribute, ForeignKeyDeferredAttribute)


def read_quickly(queryset: QuerySet[Model]) -> QuerySet[Model]:
    """
    Let `queryset` make its instances without Model.__init__, if nobody can tell.

    Args:
        queryset (QuerySet): All columns of a model and nothing besides, but for
            what select_related() joins; these rows take Django's own way.

    Model.__init__ takes as long again as all else from the database to Python. Where
    it may do more than fill __dict__, everything stays as it is.
    """
    if not queryset.query.select_related and is_plain(queryset.model):
        queryset._iterable_class = PlainIterable  # private, see test_django_contract.py
    return queryset


def has_relations(model: type[Model]) -> bool:
    """Return whether a row of `model` may have others that belong to it."""
    return any(field.is_relation for field in model._meta.get_fields())


class PlainIterable(ModelIterable):  # type: ignore[type-arg] # generic in the stubs
    """Yield instances that are their columns and a ModelState, as from_db() does."""

    def __iter__(self) -> Iterator[Any]:
        queryset = self.queryset
        model = queryset.model
        alias = queryset.db
        names = [field.attname for field in model._meta.concrete_fields]
        # Which would look, for each row, whether it had another key before.
        has_setters = ForeignKeyDeferredAttribute in get_attribute_types(model)
        fetch_mode = getattr(queryset, "_fetch_mode", None)  # Django 6.1
        peers: list[Any] = []
        new = object.__new__
        rows = queryset.query.get_compiler(using=alias).results_iter(
            chunked_fetch=self.chunked_fetch, chunk_size=self.chunk_size
        )
        for values in rows:
            instance = new(model)
            instance._state = state = ModelState()
            state.db = alias
            state.adding = False
            if fetch_mode is not None:
                state.fetch_mode = fetch_mode
                if fetch_mode.track_peers:
                    peers.append(ref(instance))
                    state.peers = peers
            if has_setters:
                instance.__dict__.update(zip(names, values, strict=True))
            else:
                # An instance that was never asked for its __dict__ keeps the values
                # in an array, which is filled, read and freed faster.
                for name, value in zip(names, values, strict=True):
                    setattr(instance, name, value)
            yield instance


def is_plain(model: type[Model]) -> bool:
    """Return whether reading a row of `model` does no more than fill __dict__."""
    return (
        model.__init__ is Model.__init__
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined] # a classmethod
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
        and all(kind in PLAIN_ATTRIBUTES for kind in get_attribute_types(model))
    )


def get_attribute_types(model: type[Model]) -> list[type]:
    """Return of what kind the class attribute of each column is."""
    return [
        type(vars(field.model).get(field.attname))
        for field in model._meta.concrete_fields
    ]
