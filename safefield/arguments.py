"""What the arguments of an operation may be."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db.models import AutoField, Field, ForeignKey, ForeignObject

from safefield.populate import function_name, get_arity, get_signature, takes


def refusal(field: Any, *, needs_values: bool) -> str | None:
    """
    Return why `field` cannot be backfilled and what to use; None if it can.

    `needs_values` says that its own default is all there is to fill it with.
    """
    if isinstance(field, type) and issubclass(field, Field):
        return (
            f"field must be a model field, not {field!r}. Give an instance: "
            f"{field.__name__}(...)."
        )
    if not isinstance(field, Field) and not hasattr(field, "many_to_many"):
        return f"field must be a model field, not {field!r}."
    if (sentence := _refuse_columnless(field)) is not None:
        return sentence
    if field.remote_field and field.remote_field.parent_link:
        return (
            "a parent link is the key of a row in another table. Create that row "
            "and the link in a migration of your own."
        )
    kind = type(field).__name__
    if getattr(field, "generated", False):
        return f"{kind} is computed by the database. Use migrations.AddField."
    if getattr(field, "primary_key", False):
        return (
            "a primary key cannot be backfilled. Add a unique field with this "
            "operation, then make it the primary key with migrations.AlterField."
        )
    if isinstance(field, AutoField):
        return f"{kind} gets its values from the database. Use migrations.AddField."
    if needs_values and not field.has_default():
        return (
            "populate is missing, and the field has no default to be called once "
            "a row. Give populate=, a function of one row."
        )
    return None


def _refuse_columnless(field: Any) -> str | None:
    """Return what to use for a field that has no column; None if it has one."""
    kind = type(field).__name__
    # Not by class: contenttypes can only be imported where it is installed.
    if hasattr(field, "ct_field"):
        return (
            f"{kind} has no column to fill. Use this operation for its two fields, "
            f"the content type and the key."
        )
    if field.many_to_many:
        return (
            f"{kind} has no column to fill. Use migrations.AddField, then "
            f"migrations.RunPython to add the related rows."
        )
    if isinstance(field, ForeignObject) and not isinstance(field, ForeignKey):
        return f"{kind} has no column to fill. Use migrations.AddField."
    return None


def check_callable(function: Any, argument: str, operation: str) -> None:
    """
    Refuse what can be called neither with a row nor with a row and apps.

    Raises:
        TypeError: `function` is not callable, takes other arguments, or answers
            with something that has to be awaited or iterated.
    """
    if not callable(function):
        raise TypeError(
            f"{operation}: {argument} must be a function of one row, not {function!r}."
        )
    refuse_delayed(function, argument, operation)
    if get_arity(function) is None:
        raise TypeError(
            f"{operation}: {argument}={function_name(function)} must take one "
            f"argument (row) or two (row, apps); its signature is "
            f"{inspect.signature(function)}."
        )


def check_deduplicate(function: Any, operation: str) -> None:
    """
    Refuse what cannot be called with a row, a value and a number.

    Raises:
        TypeError: As of check_callable().
    """
    if not callable(function):
        raise TypeError(
            f"{operation}: deduplicate must be a function of row, value and n, "
            f"not {function!r}."
        )
    refuse_delayed(function, "deduplicate", operation)
    signature = get_signature(function)
    if signature is not None and not takes(signature, 3):
        raise TypeError(
            f"{operation}: deduplicate={function_name(function)} must take three "
            f"arguments (row, value, n); its signature is {signature}."
        )


def refuse_delayed(function: Any, argument: str, operation: str) -> None:
    """
    Refuse a function whose answer is not there when it returns.

    Raises:
        TypeError: It is a coroutine function or a generator function.
    """
    while isinstance(function, functools.partial):
        function = function.func
    # An instance is called by a method of its class.
    called = function if inspect.isroutine(function) else type(function).__call__
    if isinstance(function, type):
        return
    named = f"{operation}: {argument}={function_name(function)}"
    if any(
        iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate)
        for candidate in (function, called)
    ):
        raise TypeError(
            f"{named} is a coroutine function, and nothing would await what it "
            f"returns. Write it with def, without async; asgiref's async_to_sync() "
            f"makes one of it."
        )
    if any(map(inspect.isgeneratorfunction, (function, called))):
        raise TypeError(
            f"{named} is a generator function. Return one value for the row, and "
            f"yield none."
        )


def check_names(names: Sequence[str], argument: str, operation: str) -> None:
    """
    Refuse what is no list or tuple of names.

    Raises:
        TypeError: It is a string, or one of its members is none.
    """
    found = f"the string {names!r}" if isinstance(names, str) else repr(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"{operation}: {argument} must be a list or tuple of names, not {found}."
        )


def check_batch_size(batch_size: int | None, operation: str) -> None:
    """
    Refuse what is no number of rows.

    Raises:
        TypeError: It is no int.
        ValueError: It is less than 1.
    """
    if batch_size is None:
        return
    sentence = (
        f"{operation}: batch_size must be a whole number of rows, at least 1, "
        f"not {batch_size!r}."
    )
    if type(batch_size) is not int:
        raise TypeError(sentence)
    if batch_size < 1:
        raise ValueError(sentence)


def check_flag(value: bool, argument: str, operation: str) -> None:
    """
    Refuse what is neither True nor False.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(
            f"{operation}: {argument} must be True or False, not {value!r}."
        )
