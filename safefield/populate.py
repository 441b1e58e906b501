"""What populate and reverse may be, and how they are called."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable
from typing import Any

from django.apps.registry import Apps

__all__ = [
    "bind",
    "check_callable",
    "function_name",
    "is_unwritten",
    "unwritten_message",
]

_RETURNS = {"RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR"}


def function_name(function: Any) -> str:
    """Return how a message names `function`: `populate_movie_slug()`."""
    if isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return f"{name}()"


def check_callable(function: Any, argument: str, operation: str) -> None:
    """
    Refuse what can be called neither with a row nor with a row and apps.

    Raises:
        TypeError: `function` is not callable or takes other arguments.
    """
    if not callable(function):
        raise TypeError(
            f"{operation}: {argument} must be a function of one row, not {function!r}."
        )
    if _arity(function) is None:
        raise TypeError(
            f"{operation}: {argument}={function_name(function)} must take one "
            f"argument (row) or two (row, apps); its signature is "
            f"{inspect.signature(function)}."
        )


def bind(function: Callable[..., Any], apps: Apps) -> Callable[[Any], Any]:
    """Return `function` as a function of one row, `apps` filled in if wanted."""
    if _arity(function) == 2:
        return lambda row: function(row, apps)
    return function


def is_unwritten(function: Any) -> bool:
    """
    Return whether `function` can do nothing but raise NotImplementedError.

    Reads the bytecode and calls nothing. A function that raises it only for
    some rows is taken as written.
    """
    if isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or "NotImplementedError" not in code.co_names:
        return False
    return not any(
        instruction.opname in _RETURNS for instruction in dis.get_instructions(code)
    )


def unwritten_message(function: Callable[..., Any]) -> str:
    """Return the sentence that says which function is to be written, and where."""
    if isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    code = function.__code__
    name = function_name(function)
    return (
        f"{name} in {code.co_filename}, line {code.co_firstlineno}, is not written yet."
    )


def _arity(function: Callable[..., Any]) -> int | None:
    """
    Return 1 for `function(row)`, 2 for `function(row, apps)`, otherwise None.

    An optional second argument is used only if it is called "apps": a default
    such as `separator="-"` is not a place for the registry.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:
        # Some built-in functions have no signature to read.
        return 1
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    takes_apps = len(positional) > 1 and positional[1].name == "apps"
    for arity in (2,) if takes_apps else (1, 2):
        try:
            signature.bind(*[None] * arity)
        except TypeError:
            continue
        return arity
    return None
