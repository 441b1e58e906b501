"""Read rows as instances of historical models at the cost of a dictionary."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

__all__ = ["pause_collector", "quick_instances"]

#: Attributes of an instance that are nothing but an entry in its __dict__.
PLAIN_ATTRIBUTES = (DeferredAttribute, ForeignKeyDeferredAttribute)


@contextmanager
def quick_instances(model: type[Model]) -> Iterator[None]:
    """
    Read rows of `model` without running Model.__init__ for each.

    Measured on 2026-11-20: 0.4 µs for an instance of four fields, not 1.4 µs;
    reading a row and computing its slug takes 4.9 µs with Model.__init__. Where
    __init__ may do more than fill __dict__, everything stays as it is.
    """
    if not is_plain(model):
        yield
        return
    setattr(model, "from_db", classmethod(_get_from_db(model)))  # noqa: B010 # mypy
    try:
        yield
    finally:
        del model.from_db


@contextmanager
def pause_collector() -> Iterator[None]:
    """
    Keep the garbage collector from looking at the rows of a batch.

    They are freed by their reference counts. Looking at each of them, often more
    than once, took 2 µs of the 11 µs that a row took in all (2026-11-20).
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def is_plain(model: type[Model]) -> bool:
    """Return whether reading a row of `model` does no more than fill __dict__."""
    return (
        model.__init__ is Model.__init__
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined] # a classmethod
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
        and all(
            type(vars(field.model).get(field.attname)) in PLAIN_ATTRIBUTES
            for field in model._meta.concrete_fields
        )
    )


def _get_from_db(model: type[Model]) -> Any:
    names = [field.attname for field in model._meta.concrete_fields]
    original = Model.from_db.__func__  # type: ignore[attr-defined] # a classmethod
    new = object.__new__

    def from_db(
        cls: type[Model],
        db: str,
        field_names: Sequence[str],
        values: Sequence[Any],
        **options: Any,
    ) -> Model:
        if cls is not model or len(values) != len(names):
            return original(cls, db, field_names, values, **options)  # type: ignore[no-any-return] # untyped
        instance = new(cls)
        instance._state = state = ModelState()
        state.db = db
        state.adding = False
        if (fetch_mode := options.get("fetch_mode")) is not None:  # Django 6.1
            state.fetch_mode = fetch_mode
        instance.__dict__.update(zip(names, values, strict=True))
        return instance

    return from_db
