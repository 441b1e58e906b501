"""Tell which rows went wrong, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import DatabaseError, Error, transaction
from django.db.models import NOT_PROVIDED

from safefield.backends.base.schema import Schema
from safefield.exceptions import BackfillError, BadRow
from safefield.filling.violations import Violation, find_violation
from safefield.plan import Plan
from safefield.reports import (
    MAX_BAD_ROWS,
    Finding,
    group_rows,
    make_bad_row,
    make_error,
)


def blame_row(
    schema: Schema, pk: Any, source: str, exc: Exception, value: Any = NOT_PROVIDED
) -> BadRow:
    """
    Return what to say of a row that has no good value.

    Args:
        value (Any): The value that was refused, if it came to one.

    Raises:
        Exception: `exc` is not about the row: the connection is lost, or there is no
            memory.
    """
    if isinstance(exc, MemoryError):
        raise exc
    if isinstance(exc, Error) and schema.locks.session.is_lost():
        raise exc
    return make_bad_row(pk, source, exc, value)


def blame_value(schema: Schema, pk: Any, exc: Exception) -> BadRow:
    """
    Return what to say of a row whose value the database, or its driver, refused.

    Raises:
        Exception: `exc` is not about the row.
    """
    if not isinstance(exc, DatabaseError):
        return blame_row(schema, pk, "the database driver", exc)
    violation = find_violation(exc)
    if violation is None:
        return blame_row(schema, pk, "the database", exc)
    field = schema.plan.field
    if violation is Violation.FOREIGN_KEY and field.is_relation:
        # As verify says it, where the constraint comes after the values.
        label = field.target_field.model._meta.label
        return BadRow(pk, f"there is no {label} with this key")
    return BadRow(pk, f"the database refused it: {violation.value}")


def try_each(
    schema: Schema,
    keys: Iterable[Any],
    function: Callable[[Any], Sequence[BadRow] | None],
) -> list[BadRow]:
    """
    Call `function` with each key, in a savepoint of its own; return the bad rows.

    Args:
        function (Callable): Returns the row if it is bad, or raises what the database
            has against it.
    """
    bad_rows: list[BadRow] = []
    for key in keys:
        try:
            with transaction.atomic(using=schema.connection.alias):
                bad_rows += function(key) or ()
        except Exception as exc:
            bad_rows.append(blame_value(schema, key, exc))
    return bad_rows


def keep_apart(function: Callable[[Any], Any], alias: str) -> Callable[[Any], Any]:
    """Return `function`, each call in a savepoint of its own."""

    def call(row: Any) -> Any:
        with transaction.atomic(using=alias):
            return function(row)

    return call


def tell_kept(schema: Schema, kept: str) -> str:
    """Return what became of the other rows: `kept`, where anything is."""
    return kept if schema.commits else "Nothing was changed."


def make_bad_rows_error(
    plan: Plan,
    bad_rows: Sequence[BadRow],
    head: str,
    advice: str,
    others: Sequence[Finding] = (),
) -> BackfillError:
    """
    Return one error for all rows that went wrong.

    Args:
        head (str): What could not be done, a clause behind the field's name.
        advice (str): What became of the other rows, and what to do next.
        others (Sequence[Finding]): What else was found.
    """
    if len(bad_rows) >= MAX_BAD_ROWS:
        head += f". After {MAX_BAD_ROWS:,} bad rows no more were tried"
    bad_rows = bad_rows[:MAX_BAD_ROWS]
    findings = [*group_rows(bad_rows), *others]
    return make_error(plan, head, findings, advice, bad_rows)
