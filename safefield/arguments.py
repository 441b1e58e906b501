"""What the arguments of an operation may be."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db.models import AutoField, Field, ForeignKey, ForeignObject

from safefield.populate import function_name, get_signature, takes


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


def check_functions(
    operation: str, populate: Any, reverse: Any, deduplicate: Any
) -> None:
    """Refuse with a TypeError what cannot be called as it will be, or answers late."""
    functions = {"populate": populate, "reverse": reverse, "deduplicate": deduplicate}
    for argument, function in functions.items():
        is_expression = hasattr(function, "resolve_expression")
        if function is not None and not (argument == "populate" and is_expression):
            check_callable(operation, argument, function)


def check_callable(operation: str, argument: str, function: Any) -> None:
    """Refuse what cannot be called with what this argument is called with."""
    what, counts = "one row", [1, 2]
    wanted = "must take one argument (row) or two (row, apps)"
    if argument == "deduplicate":
        what, counts = "row, value and n", [3]
        wanted = "must take three arguments (row, value, n)"
    if not callable(function):
        raise TypeError(
            f"{operation}: {argument} must be a function of {what}, not {function!r}."
        )
    refuse_delayed(operation, argument, function)
    signature = get_signature(function)
    if signature and not any(takes(signature, count) for count in counts):
        raise TypeError(
            f"{operation}: {argument}={function_name(function)} {wanted}; "
            f"its signature is {signature}."
        )


def refuse_delayed(operation: str, argument: str, function: Any) -> None:
    """Refuse a function whose answer is not there when it returns."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        return
    # An instance is called by a method of its class.
    called = function if inspect.isroutine(function) else type(function).__call__
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


def check_names(operation: str, **arguments: Sequence[str]) -> None:
    """Refuse with a TypeError what is no list or tuple of names."""
    for argument, names in arguments.items():
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            found = f"the string {names!r}" if isinstance(names, str) else repr(names)
            raise TypeError(
                f"{operation}: {argument} must be a list or tuple of names, not "
                f"{found}."
            )


def check_uniqueness(
    operation: str, field: Any, deduplicate: Any, unique_with: Sequence[str]
) -> None:
    """Refuse with a ValueError what contradicts the unique of the field."""
    if deduplicate is not None and not (field.unique or unique_with):
        raise ValueError(
            f"{operation}: deduplicate is for a field with unique=True, or for "
            f"unique_with; this one may hold a value twice. Leave deduplicate out."
        )
    if unique_with and field.unique:
        raise ValueError(
            f"{operation}: unique_with is for a field without unique=True; this "
            f"one is unique by itself. Leave unique_with out."
        )


def check_batch_size(operation: str, batch_size: int | None) -> None:
    """Refuse what is no number of rows: a TypeError, or a ValueError below 1."""
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


def check_flags(operation: str, **arguments: bool) -> None:
    """Refuse with a TypeError what is neither True nor False."""
    for argument, value in arguments.items():
        if not isinstance(value, bool):
            raise TypeError(
                f"{operation}: {argument} must be True or False, not {value!r}."
            )
