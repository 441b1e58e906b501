"""Tell why the database refused the final definition of a column."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import DatabaseError

from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.filling.problems import Problem
from safefield.filling.verify import verify
from safefield.filling.violations import Violation, find_violation
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS, count_rows, list_keys


def refused(
    plan: Plan, schema: Schema, exc: DatabaseError, filled: Collection[Any]
) -> BackfillError:
    """Return what to say of a constraint that the database refused to set."""
    violation = find_violation(exc)
    others = []
    if (
        violation is Violation.TOO_LONG_FOR_INDEX
        and (is_too_long := schema.too_long_for_index(exc)) is not None
    ):
        rows = schema.rows().filter(is_too_long)
        others.append(Problem(violation.value, schema, rows))
    # Rows share a value, or somebody else's row came in between: find them.
    try:
        verify(plan, schema, filled, others=others)
    except BackfillError as found:
        return found
    what = violation.value if violation else "it gave no reason that safefield knows"
    empty = find_empty_rows(plan, schema) if schema.commits else []
    advice = "Fix that, then run migrate again." if schema.commits else ""
    if empty:
        keys = list_keys([row.pk for row in empty], len(empty))
        advice = (
            f"{count_rows(len(empty))} came in meanwhile without a value ({keys}). Run "
            f"migrate again: they are filled then."
        )
    said = ""
    if get_configuration().SHOW_VALUES:
        # What PostgreSQL says below its first line may be a whole row.
        first_line = str(exc).partition("\n")[0]
        said = f" It said: {first_line}."
    return plan.error(
        f"{plan.title}: the database refused to enforce the final definition of "
        f"column {plan.field.column}: {what}.{said} {advice or 'Nothing was changed.'}",
        rows=empty,
    )


def find_empty_rows(plan: Plan, schema: Schema) -> list[BadRow]:
    """Return the first rows that have no value, and ought to have one."""
    if plan.field.null:
        return []
    empty = (
        schema.rows().filter(**{f"{plan.field.attname}__isnull": True}).order_by("pk")
    )
    keys = list(empty.values_list("pk", flat=True)[:MAX_BAD_ROWS])
    return [BadRow(pk, "there is no value") for pk in keys]
