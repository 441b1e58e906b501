"""What deduplicate says of a row, and whether that is free."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from operator import contains
from typing import Any, NamedTuple

from django.db.models import Model

from safefield.backends.base.schema import Schema
from safefield.filling.assignment import snapshot
from safefield.filling.preparation import Preparation
from safefield.filling.rows import rows_with_values

#: Colliding rows numbered together, and answers in one question to the
#: database. Each question reads the column once, for there is no index yet.
#: Below the 32,766 parameters that SQLite takes, the least of all. Source:
#: https://www.sqlite.org/limits.html.
QUESTION_VALUES = 10_000


class Answer(NamedTuple):
    """
    What deduplicate says.

    Args:
        value (Any): As Django reads it from the column.
        prepared (tuple): Ready for the database, see Preparation.prepare().
        group (tuple): The values of the columns that it is unique together with.
        key (tuple): Stands for group and value in a dictionary.
    """

    value: Any
    prepared: tuple[Any, ...]
    group: tuple[Any, ...]
    key: tuple[Any, ...]


class Answers:
    """Ask deduplicate for answers, and the database which of them are free."""

    def __init__(
        self, function: Callable[..., Any], preparation: Preparation, schema: Schema
    ) -> None:
        self.plan = preparation.plan
        self.function = bind_max_length(function, self.plan.field.max_length)
        self.preparation = preparation
        self.schema = schema
        #: Answers in one question.
        self.limit = QUESTION_VALUES // len(self.plan.unique_columns)
        #: Whether an answer is free, for the answers that were asked about.
        self.known: dict[Any, bool] = {}

    def ask(
        self, row: Model, value: Any, number: int, group: tuple[Any, ...]
    ) -> Answer:
        """
        Return the answer for one number.

        Raises:
            ValidationError: It is not a good value.
        """
        # A copy: the function may change it, and is asked again.
        answer = self.function(row, snapshot(value), number)
        instance = self.preparation.copy(row)
        answer, prepared = self.preparation.prepare(instance, answer)
        answer = self.preparation.get_stored(answer)
        return Answer(answer, prepared, group, freeze((answer, *group)))

    def learn(self, answers: Iterable[Answer]) -> None:
        """Ask the database which of the answers are free."""
        unknown: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for answer in answers:
            if answer.key not in self.known:
                # The first of equal ones: that is what the key was made of.
                unknown.setdefault(answer.key, (answer.value, *answer.group))
        if not unknown:
            return
        columns = self.plan.unique_columns
        rows = rows_with_values(self.schema)
        for position, column in enumerate(columns):
            # Lists and dicts are free until the database says otherwise: not every
            # database, nor driver, takes them in such a question.
            values = {
                key[position]
                for key, found in unknown.items()
                if key[position] is found[position]
            }
            if values or position == 0:
                rows = rows.filter(**{f"{column}__in": values})
        taken = set(map(freeze, rows.values_list(*columns)))
        # A value that was not asked for in this spelling is one that the
        # collation takes for the same; most often it is about the case. Of a group
        # that is spelled otherwise still, it may be in any.
        asked = [set(spellings) for spellings in zip(*unknown, strict=True)]
        groups = {_fold(key[1:]) for key in unknown}
        folded = {
            key if key[1:] in groups else key[:1]
            for key in map(
                _fold, (k for k in taken if not all(map(contains, asked, k)))
            )
        }
        for key in unknown:
            fold = _fold(key)
            self.known[key] = key not in taken and folded.isdisjoint((fold, fold[:1]))


def freeze(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return what stands for `values` as a key of a dictionary."""
    return tuple(map(_freeze, values))


def _freeze(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        # Lists of an array, and what JSON is made of.
        return repr(value)
    return value


def _fold(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.casefold() if isinstance(value, str) else value for value in key)


def bind_max_length(
    function: Callable[..., Any], max_length: int | None
) -> Callable[[Any, Any, int], Any]:
    """Give `function` the field's max_length if it takes one."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        # Some built-in functions have no signature to read.
        return function
    if "max_length" not in parameters:
        return function
    return lambda row, value, n: function(row, value, n, max_length=max_length)
