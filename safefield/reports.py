"""How rows that stand in the way are told to a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import NOT_PROVIDED

from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.plan import Plan

__all__ = [
    "MAX_BAD_ROWS",
    "Finding",
    "count_rows",
    "group_rows",
    "make_bad_row",
    "make_error",
    "shorten",
]

#: Bad rows after which a fill stops early, and that BackfillError.rows holds.
#: Source: design.md, section 4.
MAX_BAD_ROWS = 1_000

#: Primary keys in the text of an error for each reason. Source: design.md,
#: section 4.
SHOWN_KEYS = 20

#: Characters of a value, or of an exception's text, that are shown.
MAX_DETAIL = 60

#: Stands for a row's own number while a message is made.
_MARK = 987_654_321

_WHITESPACE = re.compile(r"\s+")


class Finding(NamedTuple):
    """
    Rows that are bad for the same reason.

    Args:
        reason (str): A clause that says what is wrong with each row.
        rows (int): How many rows there are.
        keys (Sequence): Primary keys of the first of them.
        detail (str): What was found in the first row, if it may be shown.
    """

    reason: str
    rows: int
    keys: Sequence[Any]
    detail: str = ""


def make_bad_row(pk: Any, source: str, exc: Exception, value: Any) -> BadRow:
    """
    Return what to say of a row whose value is not to be had or not good.

    Args:
        pk (Any): Primary key of the row.
        source (str): What the value comes from, such as a function's name.
        exc (Exception): What was raised.
        value (Any): The value that was refused; NOT_PROVIDED if it did not
            come to one.
    """
    shows_values = get_configuration().SHOW_VALUES
    if isinstance(exc, ValidationError):
        texts = " ".join(map(_describe_refusal, exc.error_list))
        has_value = value is not NOT_PROVIDED and value is not None
        if has_value and not shows_values and str(value):
            # A validator of the project may have put it into its own text.
            texts = texts.replace(str(value), "…")
        shown = shorten(value) if has_value and shows_values else ""
        return BadRow(pk, f"{source} gave a bad value: {texts}", shown)
    # What PostgreSQL says below its first line may be a whole row.
    text = str(exc).partition("\n")[0]
    detail = _WHITESPACE.sub(" ", text).strip() if shows_values else ""
    return BadRow(pk, f"{source} raised {type(exc).__name__}", detail[:MAX_DETAIL])


def shorten(value: Any) -> str:
    """Return `value` as Python writes it, cut to MAX_DETAIL characters."""
    text = repr(value)
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL - 1]}…"


def _describe_refusal(error: ValidationError) -> str:
    """Return the message of one error without what it says of this row's value."""
    params = dict(error.params or {})
    if "value" in params:
        params["value"] = "…"
    if "show_value" in params:
        params["show_value"] = _MARK
    text = str(error.message % params if params else error.message)
    # Such as "(it has 74)".
    text = re.sub(rf"\s*\([^()]*{_MARK}[^()]*\)", "", text)
    return text.replace(str(_MARK), "…").strip()


def count_rows(count: int) -> str:
    """Return "1 row" or "3,183 rows"."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def group_rows(bad_rows: Iterable[BadRow]) -> list[Finding]:
    """Return a finding for each reason, in the order of their first rows."""
    groups: dict[str, list[BadRow]] = {}
    for row in bad_rows:
        groups.setdefault(row.reason, []).append(row)
    return [
        Finding(reason, len(rows), [row.pk for row in rows], rows[0].detail)
        for reason, rows in groups.items()
    ]


def make_error(
    plan: Plan,
    head: str,
    findings: Sequence[Finding],
    advice: str,
    bad_rows: Sequence[BadRow] = (),
) -> BackfillError:
    """
    Return one error for all that was found.

    Args:
        plan (Plan): What the operation asks for.
        head (str): What could not be done, a clause behind the field's name.
        findings (Sequence[Finding]): The rows.
        advice (str): What became of the other rows, and what to do next.
        bad_rows (Sequence[BadRow]): What is known of the first rows.
    """
    known = {(row.pk, row.reason) for row in bad_rows}
    others = [
        BadRow(key, finding.reason)
        for finding in findings
        for key in finding.keys
        if (key, finding.reason) not in known
    ]
    rows = [*bad_rows, *others]
    return BackfillError(
        "\n".join(
            [f"{plan.title}{head}:", *map(_describe, findings), advice],
        ),
        model=plan.label,
        field=plan.field_name,
        rows=rows[:MAX_BAD_ROWS],
    )


def _describe(finding: Finding) -> str:
    keys = ", ".join(map(repr, finding.keys[:SHOWN_KEYS]))
    more = ", …" if finding.rows > SHOWN_KEYS else ""
    example = f"; such as {finding.detail}" if finding.detail else ""
    rows = count_rows(finding.rows)
    return f"  {rows}: {finding.reason} (primary key {keys}{more}{example})"
