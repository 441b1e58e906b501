"""The questions that Django has about existing rows, and what is done instead."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AlterField
from django.db.models import NOT_PROVIDED

from safefield.authoring.unasked import Values

#: How a backfill comes by its values, by what Django asks.
_VALUES = {
    "ask_not_null_addition": Values.FUNCTION,
    "ask_auto_now_add_addition": Values.NOW,
    "ask_unique_callable_default_addition": Values.DEFAULT,
    "ask_not_null_alteration": Values.FUNCTION,
}


class Listener:
    """Takes note of the questions that Django has about existing rows."""

    def __init__(self, questioner: Any) -> None:
        self.questioner = questioner
        #: What rows need, by the last question; None if there was none.
        self.values: Values | None = None

    def __getattr__(self, name: str) -> Any:
        if name not in _VALUES:
            return getattr(self.questioner, name)

        def take_note(field_name: str, model_name: str) -> Any:
            self.values = _VALUES[name]
            # Nothing comes of it: the operation that it gets into is replaced.
            return NOT_PROVIDED

        return take_note


def answer(questioner: Any, operation: AlterField) -> AlterField:
    """Return what Django makes of the answer to its question about an AlterField."""
    default = questioner.ask_not_null_alteration(operation.name, operation.model_name)
    if default is NOT_PROVIDED:
        return operation
    field = operation.field.clone()
    field.default = default
    return AlterField(
        operation.model_name, operation.name, field, preserve_default=False
    )
