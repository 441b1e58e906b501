"""How populate and reverse are called, and what is not written yet."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.apps.registry import Apps

_RETURNS = {"RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR"}

#: Whether the checks leave out functions that are still to be written.
is_unwritten_allowed: ContextVar[bool] = ContextVar("unwritten", default=False)


def function_name(function: Any) -> str:
    """Return how a message names `function`: `populate_movie_slug()`."""
    if isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return f"{name}()"


def bind(function: Callable[..., Any], apps: Apps) -> Callable[[Any], Any]:
    """Return `function` as a function of one row, `apps` filled in if wanted."""
    if get_arity(function) == 2:
        return lambda row: function(row, apps)
    return function


def is_unwritten(function: Any) -> bool:
    """
    Return whether `function` can do nothing but raise NotImplementedError.

    Reads the bytecode and calls nothing. A function that raises it only for
    some rows is taken as written.
    """
    code = getattr(_unwrap(function), "__code__", None)
    if code is None or "NotImplementedError" not in code.co_names:
        return False
    return not any(
        instruction.opname in _RETURNS for instruction in dis.get_instructions(code)
    )


def unwritten_message(function: Callable[..., Any]) -> str:
    """Return the sentence that says which function is to be written, and where."""
    function = _unwrap(function)
    code = function.__code__
    name = function_name(function)
    return f"{name} in {code.co_filename}:{code.co_firstlineno} is not written yet."


def _unwrap(function: Any) -> Any:
    """Return the function within a partial or a decorator."""
    if isinstance(function, functools.partial):
        function = function.func
    return inspect.unwrap(function)


def get_arity(function: Callable[..., Any]) -> int | None:
    """
    Return 1 for `function(row)`, 2 for `function(row, apps)`, otherwise None.

    An optional second argument is used only if it is called "apps": a default
    such as `separator="-"` is not a place for the registry.
    """
    signature = get_signature(function)
    if signature is None:
        return 1
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    takes_apps = len(positional) > 1 and positional[1].name == "apps"
    for arity in (2,) if takes_apps else (1, 2):
        if takes(signature, arity):
            return arity
    return None


def get_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of `function`; some built-in functions have none to read."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def takes(signature: inspect.Signature, count: int) -> bool:
    """Return whether a function of `signature` can be called with `count` arguments."""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
