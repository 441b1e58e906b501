"""Refuse what the final constraints would refuse, before they are set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django.db import transaction

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.fields import NULL
from safefield.filling.bad_rows import tell_kept
from safefield.filling.problems import Problem, find_problems
from safefield.filling.rows import Found, lock_unchanged
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS, Finding, make_error, shorten

#: Internal types of fields whose texts safefield.numbered can number.
NUMBERED_TYPES = {"CharField", "SlugField", "TextField"}

#: Rows emptied in one transaction, see BATCH_SECONDS in batch_size.py.
EMPTIED_ROWS = 500


def verify(
    plan: Plan,
    schema: Schema,
    filled: Collection[Any] = (),
    *,
    leaves_duplicates: bool = False,
    others: Sequence[Problem] = (),
) -> None:
    """
    Refuse a filled column that its constraints would refuse, all reasons in one error.

    Rows that were filled and would be refused are emptied again where what was
    filled stays, so that the next run fills them.

    Args:
        filled (Collection): Keys of the rows that were filled, in a column that
            was there before.
        leaves_duplicates (bool): Whether rows that share a value are left to
            the unique index to find.
        others (Sequence[Problem]): What was found besides.
    """
    problems = find_problems(schema, filled, leaves_duplicates=leaves_duplicates)
    if problems and leaves_duplicates:
        problems = find_problems(schema, filled)
    problems += others
    if not problems:
        return
    if plan.unique_with and schema.commits and (plan.old_field is None or filled):
        # Rows that came behind the last look may be found when it is required.
        schema.relax()
    findings, kept, advice = tell(plan, schema, problems, filled)
    # None if others have changed the rows since.
    if findings:
        raise make_error(
            plan,
            " has values that its constraints would refuse",
            findings,
            f"{kept} {'. '.join(advice)}, then run migrate again.",
        )


def tell(
    plan: Plan, schema: Schema, problems: Sequence[Problem], filled: Collection[Any]
) -> tuple[list[Finding], str, list[str]]:
    """
    Empty the rows that would be refused, if they were filled.

    Returns what to say of them all, what became of them, and what to do about them.
    """
    findings: list[Finding] = []
    is_new = plan.old_field is None
    was = "was" if getattr(filled, "is_whole", True) else "may have been"
    has_ours = has_theirs = False
    for problem in problems:
        ours = _Tally(problem.reason)
        theirs = _Tally(f"{problem.reason}, and this value {was} there before")
        emptied: list[Found] = []
        for found in problem.read():
            is_ours = is_new or found[0] in filled
            (ours if is_ours else theirs).add(*found)
            if is_ours and schema.commits:
                emptied.append(found)
            if len(emptied) == EMPTIED_ROWS:
                empty_rows(plan, schema, emptied)
                emptied = []
        empty_rows(plan, schema, emptied)
        findings += [tally.finding() for tally in (ours, theirs) if tally.rows]
        has_ours, has_theirs = has_ours or ours.rows > 0, has_theirs or theirs.rows > 0
    kept = "Their values were not changed."
    if has_ours:
        kept = tell_emptied(has_others=has_theirs)
    advice = [_advice(plan, is_ours=True)] if has_ours else []
    advice += [_advice(plan, is_ours=False)] if has_theirs else []
    return findings, tell_kept(schema, kept), advice


class _Tally:
    """Counts rows, and keeps the keys of the first."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.rows = 0
        self.keys: list[Any] = []
        self.detail = ""

    def add(self, key: Any, value: Any) -> None:
        # The reason itself says of no value, and of an empty text, what was found.
        if not self.rows and not (value is None or value == ""):
            self.detail = shorten(value) if get_configuration().SHOW_VALUES else ""
        self.rows += 1
        if len(self.keys) < MAX_BAD_ROWS:
            self.keys.append(key)

    def finding(self) -> Finding:
        return Finding(self.reason, self.rows, self.keys, self.detail)


def tell_emptied(*, has_others: bool) -> str:
    """Return what became of bad rows, and of others that had a value before."""
    but = ", but for values that were there before" if has_others else ""
    return f"The other rows keep their values, and these are NULL again{but}."


def empty_rows(plan: Plan, schema: Schema, found: Sequence[Found]) -> None:
    """Set the column to NULL in rows that still have the value that was found."""
    if not found:
        return
    writer = get_backend(schema.connection).writer(
        schema.connection, plan.new_model, [plan.field]
    )

    def empty() -> None:
        with transaction.atomic(using=schema.connection.alias):
            schema.locks.limit_wait()
            same = lock_unchanged(schema, dict(found))
            writer.update(schema.rows().filter(pk__in=same), NULL)

    schema.locks.change_rows(empty)


def _advice(plan: Plan, *, is_ours: bool) -> str:
    is_alone = bool(plan.unique_columns) and plan.deduplicate is None
    numbered = ", or add deduplicate, a function of row, value and n, to the operation"
    if plan.field.get_internal_type() in NUMBERED_TYPES:
        numbered = ", or add deduplicate=safefield.numbered to the operation"
    if not is_ours:
        return "Correct the values that were there before" + numbered * is_alone
    if is_alone:
        rows = "each row"
        if plan.unique_with:
            rows += f" of the same {' and '.join(plan.unique_with)}"
        return f"Make {plan.source_name} give {rows} its own value{numbered}"
    return f"Fix {plan.source_name}"
