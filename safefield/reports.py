"""Report bad rows to a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import NOT_PROVIDED

from safefield.conf import get_configuration
from safefield.exceptions import (
    BackfillError,
    BadRow,
    BadValue,
    FailedAssignment,
    escape,
)
from safefield.plan import Plan

#: Bad rows after which a fill stops early, and that BackfillError.rows holds.
MAX_BAD_ROWS = 1_000

#: Primary keys in the text of an error for each reason.
SHOWN_KEYS = 20

#: Characters of a value that are shown.
MAX_DETAIL = 60

#: Characters of an exception's text that are shown: it may name what it is about at
#: its end.
MAX_TEXT = 200

#: Stands for a row's own number while a message is made.
_MARK = 987_654_321

#: How Django's messages quote the value, which stands after the message here.
_QUOTED_VALUE = re.compile(r"“…” value|“…”|Value ['“]…['”]")

_WHITESPACE = re.compile(r"\s+")

#: The end of a reason whose detail is the text of an exception.
_RAISED = re.compile(r" raised \w+$")

#: What Django says of an app that the migration does not know.
_NO_APP = re.compile(r"No installed app with label '(\w+)'")

#: The end of a reason: the app is in the project.
NOT_DEPENDED_ON = "and the migration does not depend on it"


class Finding(NamedTuple):
    """Rows that are bad for the same reason."""

    #: A clause that says what is wrong with each row.
    reason: str
    rows: int
    #: Primary keys of the first of them.
    keys: Sequence[Any]
    #: What was found in the first row, if it may be shown.
    detail: str = ""
    #: Whether something else was found in another row.
    differs: bool = False


def make_bad_row(pk: Any, source: str, exc: Exception, value: Any) -> BadRow:
    """
    Return what to say of a row whose value is not to be had or not good.

    `value` is what was refused; NOT_PROVIDED where it did not come to one.
    """
    shows_values = get_configuration().SHOW_VALUES
    if isinstance(exc, ValidationError):
        has_value = value is not NOT_PROVIDED and value is not None
        shown = shorten(value) if has_value and shows_values else ""
        if shows_values and isinstance(exc, FailedAssignment) and exc.__cause__:
            shown = quote_error(exc.__cause__)
        return BadRow(pk, f"{source} gave a bad value: {describe_refusal(exc)}", shown)
    missing = _NO_APP.match(str(exc)) if isinstance(exc, LookupError) else None
    if missing is not None and missing[1] in apps.app_configs:
        return BadRow(pk, f"{source} asked for app {missing[1]}, {NOT_DEPENDED_ON}")
    detail = quote_error(exc) if shows_values else ""
    return BadRow(pk, f"{source} raised {type(exc).__name__}", detail)


def shorten(value: Any) -> str:
    """Return `value` as Python writes it, cut to MAX_DETAIL characters."""
    try:
        text = escape(repr(value))
    except Exception:
        # A __repr__ that raises; the value is refused for something else.
        text = object.__repr__(value)
    return _cut(text, MAX_DETAIL)


def quote_error(exc: BaseException) -> str:
    """Return the text of `exc` in one line."""
    try:
        # What PostgreSQL says below its first line may be a whole row.
        text = str(exc).partition("\n")[0]
    except Exception:
        # A __str__ that raises; the class has to do.
        return ""
    return _cut(_in_one_line(text), MAX_TEXT)


def describe_refusal(exc: ValidationError) -> str:
    """Return what a ValidationError says, without what it says of this row's value."""
    if not hasattr(exc, "error_dict"):
        return " ".join(map(_describe_message, exc.error_list))
    # What a function names there need not be a field.
    shows_names = get_configuration().SHOW_VALUES
    return " ".join(
        (f"{name}: " if shows_names else "") + " ".join(map(_describe_message, errors))
        for name, errors in exc.error_dict.items()
    )


def _describe_message(error: Any) -> str:
    """Return what one error says, or who raised it if the value may be in that."""
    if not get_configuration().SHOW_VALUES and not isinstance(error, BadValue):
        code = f" ({error.code})" if error.code else ""
        return f"{_find_validator(error)} refused it{code}"
    params = dict(error.params or {})
    if "value" in params:
        params["value"] = "…"
    if "show_value" in params:
        params["show_value"] = _MARK
    text = str(error.message)
    if params:
        # Django leaves alone a text that has no params, and so does this one that
        # does not fit them.
        with suppress(TypeError, ValueError, KeyError):
            text = str(error.message % params)
    # Such as "(it has 74)".
    text = re.sub(rf"\s*\([^()]*{_MARK}[^()]*\)", "", text)
    # As Django quotes a value: “…” value, Value '…'.
    text = _QUOTED_VALUE.sub("the value", text)
    return _in_one_line(text.replace(str(_MARK), "…"))


def _find_validator(error: ValidationError) -> str:
    """Return the name of what raised `error`: a class or a function."""
    traceback = error.__traceback__
    if traceback is None:
        return "a validator"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    if "self" in frame.f_locals:
        return type(frame.f_locals["self"]).__name__
    return f"{frame.f_code.co_name}()"


def _in_one_line(text: str) -> str:
    return escape(_WHITESPACE.sub(" ", text).strip())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def count_rows(count: int) -> str:
    """Return "1 row" or "3,183 rows"."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def group_rows(bad_rows: Iterable[BadRow]) -> list[Finding]:
    """Return a finding for each reason, in the order of their first rows."""
    groups: dict[str, list[BadRow]] = {}
    for row in bad_rows:
        groups.setdefault(row.reason, []).append(row)
    return [
        Finding(
            reason,
            len(rows),
            [row.pk for row in rows],
            rows[0].detail,
            any(row.detail != rows[0].detail for row in rows),
        )
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
        head (str): What could not be done, a clause after the field's name.
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
    lines = [f"{plan.title}{head}:", *map(_describe, findings), advice]
    return plan.error("\n".join(lines), rows[:MAX_BAD_ROWS])


def _describe(finding: Finding) -> str:
    reason, example = finding.reason, ""
    if finding.detail and _RAISED.search(reason):
        # An error in somebody's function is read from its text.
        reason += f": {finding.detail}"
        if finding.differs:
            example = "; the text is that of the first"
    elif finding.detail:
        example = ": " if finding.rows == 1 else "; for example "
        example += finding.detail
    rows = count_rows(finding.rows)
    return f"  {rows}: {reason} ({list_keys(finding.keys, finding.rows)}{example})"


def list_keys(keys: Sequence[Any], rows: int) -> str:
    """Return, for example, "pk 1, 2, …", or why they are not shown."""
    shown = keys[:SHOWN_KEYS]
    if not all(map(may_show_key, shown)):
        return "their primary keys are data, and SHOW_VALUES is False"
    more = ", …" if rows > SHOWN_KEYS else ""
    return f"pk {', '.join(map(repr, shown))}{more}"


def may_show_key(key: Any) -> bool:
    """Return whether a primary key says nothing about anybody, or may."""
    if get_configuration().SHOW_VALUES:
        return True
    if isinstance(key, tuple):
        return all(map(may_show_key, key))
    return isinstance(key, (int, UUID))
