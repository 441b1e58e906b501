"""Refuse what cannot be done, before anything is changed."""

from __future__ import annotations

from django.db import DatabaseError

from safefield.backends.base.catalogue import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.filling.assignment import refuse_assignment
from safefield.plan import Plan
from safefield.populate import is_unwritten, unwritten_message


def refuse_plan(plan: Plan) -> None:
    """Refuse what cannot be done, whatever is in the database."""
    refuse_unwritten(plan)
    refuse_another_column(plan)
    refuse_unknown_names(plan)
    refuse_assignment(plan)


def refuse_unwritten(plan: Plan) -> None:
    """
    Refuse a populate that is still as makemigrations wrote it.

    Also on an empty table: a green run on an empty test database must not
    hide it.
    """
    if callable(plan.populate) and is_unwritten(plan.populate):
        raise plan.error(
            f"{plan.title} cannot be backfilled: {unwritten_message(plan.populate)} "
            f"Make it return the value of one existing row, then run migrate "
            f"again. Nothing was changed."
        )


def refuse_another_column(plan: Plan) -> None:
    """Refuse to fill one column while another one is to be required."""
    if plan.old_field is None or plan.old_field.column == plan.field.column:
        return
    raise plan.error(
        f"{plan.title} cannot be altered: its column is {plan.old_field.column}, and "
        f"is to be {plan.field.column}. Rename it with migrations.AlterField in a "
        f"migration before this one. Nothing was changed."
    )


def refuse_unknown_names(plan: Plan) -> None:
    """Refuse a unique_with of which no constraint of the table can be made."""
    # What Model._check_local_fields() asks of a constraint.
    fields = {field.name: field for field in plan.new_model._meta.local_concrete_fields}
    names = [
        name
        for name in plan.unique_with
        if name not in fields or name == plan.field_name
    ]
    if names:
        raise plan.error(
            f"{plan.title}: unique_with names {', '.join(names)}, and each name in it "
            f"must be another field of {plan.label} that has a column in its table. "
            f"Correct unique_with, then run migrate again. Nothing was changed."
        )


def refuse_broken_transaction(plan: Plan, schema: Schema) -> None:
    """Refuse to go on in a transaction that could not be committed."""
    try:
        schema.settle()
    except DatabaseError as exc:
        said = ""
        if get_configuration().SHOW_VALUES:
            said = f" It said: {str(exc).partition(chr(10))[0]}."
        raise plan.error(
            f"{plan.title} cannot be filled: what this transaction did before it "
            f"breaks a constraint that waits for its end, and the database refuses "
            f"it.{said} Correct it in an operation before this one, then run migrate "
            f"again. Nothing was changed."
        ) from exc


def find_column(plan: Plan, schema: Schema) -> LiveColumn | None:
    """
    Return what the catalogue says of the column; None if it is not there.

    Raises:
        BackfillError: The table cannot have the column, or has another one.
    """
    schema.preflight.check_table()
    column = schema.catalogue.find_column()
    if column is not None and plan.old_field is None:
        schema.preflight.check_column(column)
    return column
