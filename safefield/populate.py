"""What populate and reverse may be, and how they are called."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import iscoroutinefunction
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
    if _arity(function) is None:
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
    signature = _get_signature(function)
    if signature is not None and not _takes(signature, 3):
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


def bind(function: Callable[..., Any], apps: Apps) -> Callable[[Any], Any]:
    """Return `function` as a function of one row, `apps` filled in if wanted."""
    if _arity(function) == 2:
        return lambda row: function(row, apps)
    return function


@contextmanager
def allow_unwritten() -> Iterator[None]:
    """Leave unwritten functions out of the checks that run meanwhile."""
    token = is_unwritten_allowed.set(True)
    try:
        yield
    finally:
        is_unwritten_allowed.reset(token)


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
    signature = _get_signature(function)
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
        if _takes(signature, arity):
            return arity
    return None


def _get_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of `function`; some built-in functions have none to read."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def _takes(signature: inspect.Signature, count: int) -> bool:
    """Return whether a function of `signature` can be called with `count` arguments."""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
