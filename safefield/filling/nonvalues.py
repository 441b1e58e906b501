"""Tell objects that are no value of any field: what was meant is one step away."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import types
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

#: What is said of an expression: whatever function gave it, it is no value.
EXPRESSION = "it is an expression, which only the database can compute"

#: What is said of None in a required field.
NONE = "it is None, and the field is required"

#: Types whose objects are values and nothing else, the subclasses left out.
PLAIN_TYPES = {
    *(bool, bytes, dict, float, int, list, set, str, tuple),
    *(Decimal, UUID, dt.date, dt.datetime, dt.time, dt.timedelta),
}


def find_nonvalue(value: Any) -> str | None:
    """
    Return a clause that says why `value` is no value, whatever the field; or None.

    A text field would store the repr of it.
    """
    if type(value) in PLAIN_TYPES:
        return None
    if isinstance(value, type):
        return f"it is a class, {value.__name__}, and not a value"
    if isinstance(value, (types.MethodType, types.MethodWrapperType)) or (
        inspect.isbuiltin(value) and not inspect.ismodule(value.__self__)
    ):
        return "it is a method: call it with ()"
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return "it is a function: call it with ()"
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "it is a generator: return one value, and yield none"
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            # Nobody will wait for it, and Python is not to warn of that.
            value.close()
        return "it is a coroutine: a function with async def gives no value here"
    if isinstance(value, Model):
        return (
            f"it is an instance of {value._meta.label}, and the field is not a relation"
        )
    if isinstance(value, QuerySet):
        return "it is a queryset: give a value of one of its rows"
    if isinstance(value, BaseManager):
        return "it is a manager: give a value of one of its rows"
    if hasattr(value, "resolve_expression"):
        return EXPRESSION
    return None


def find_stray_object(value: Any) -> str | None:
    """Return a clause that says why no field of Django's takes `value`; or None."""
    if type(value) in PLAIN_TYPES:
        return None
    if isinstance(value, Enum) and not isinstance(value, (str, int, float, Decimal)):
        return f"it is a member of {type(value).__name__}: give its .value"
    if isinstance(value, Iterator):
        return f"it is an iterator of type {type(value).__name__}: give a value"
    return None
