"""Recognise values that the database takes as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from django.core.validators import MaxLengthValidator, RegexValidator
from django.db.models import CharField, Field, SlugField, TextField

from safefield.fields import AnyField

#: What a field runs between populate and the database.
METHODS = (
    "clean",
    "to_python",
    "validate",
    "run_validators",
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
)


def refuse_all(value: Any) -> bool:
    """Leave every value to the field itself."""
    return False


def get_acceptor(field: AnyField) -> Callable[[Any], bool]:
    """
    Return a test for values that `field` would clean and prepare to themselves.

    It never says yes where Field.clean() says no; where it says no, Field.clean()
    decides. Most values of a fill are good strings, and Field.clean() with
    get_db_prep_save() takes half as long as all else that Python does for a row.
    """
    if not is_stock_text(field):
        return refuse_all
    most = sys.maxsize if field.max_length is None else field.max_length
    searches: list[Callable[[str], Any]] = []
    for validator in field.validators:
        if type(validator) is MaxLengthValidator:
            limit = validator.limit_value
            if not isinstance(limit, int):
                return refuse_all
            most = min(most, limit)
        elif type(validator) is RegexValidator and not validator.inverse_match:
            pattern: Any = validator.regex  # compiled by __init__
            searches.append(pattern.search)
        else:
            return refuse_all
    # Most have one, as slugs do: without a generator.
    search = searches[0] if len(searches) == 1 else _join(searches)

    def accepts(value: Any) -> bool:
        # isprintable() leaves out what databases may refuse in a text: the zero
        # byte and lone surrogates.
        return (
            type(value) is str
            and 0 < len(value) <= most
            and value.isprintable()
            and search(value) is not None
        )

    return accepts


def _join(searches: Sequence[Callable[[str], Any]]) -> Callable[[str], Any]:
    return lambda text: all(search(text) for search in searches) or None


def is_stock_text(field: AnyField) -> bool:
    """Return whether `field` does to a text what Django's own text fields do."""
    kind = type(field)
    for base in (CharField, TextField, SlugField):
        if isinstance(field, base) and all(
            getattr(kind, name) is getattr(base, name) and name not in vars(field)
            for name in METHODS
        ):
            return not field.choices and field.empty_values == Field.empty_values
    return False
