"""Find the rows that the final constraints would refuse, before they are set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db import transaction
from django.db.models import (
    BooleanField,
    CheckConstraint,
    Exists,
    F,
    Model,
    OuterRef,
    QuerySet,
    TextField,
    Value,
    Window,
)
from django.db.models.functions import Coalesce, Length, RowNumber
from django.db.models.lookups import Exact

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.fields import NULL
from safefield.filling.rows import (
    Found,
    find_losers,
    has_sharing_rows,
    key_names,
    lock_rows,
    read_values,
    sharing_rows,
)
from safefield.plan import Plan
from safefield.reports import MAX_BAD_ROWS, Finding, make_error

#: Internal types of fields whose texts safefield.numbered can number.
NUMBERED_TYPES = {"CharField", "SlugField", "TextField"}

#: Rows emptied in one transaction, see BATCH_SECONDS in batch_size.py.
EMPTIED_ROWS = 500


@dataclass(frozen=True)
class Problem:
    """
    Rows that a constraint would refuse, for one reason.

    Args:
        reason (str): A clause that says what is wrong with each row.
        rows (QuerySet): The rows.
        column (str): Attribute of the field.
    """

    reason: str
    rows: QuerySet[Any, Any]
    column: str

    def exists(self) -> bool:
        """Return whether there are such rows."""
        return self.rows.exists()

    def read(self) -> Iterator[Found]:
        """Return the rows, by key, in one query."""
        return read_values(self.rows.order_by(*key_names(self.rows)), self.column)


@dataclass(frozen=True)
class Sharing(Problem):
    """
    Rows whose value another row has, which may keep it.

    Args:
        columns (Sequence[str]): What is unique together, `column` first.
        filled (Collection): Keys of rows that give way to those not among them.
    """

    columns: Sequence[str] = ()
    filled: Collection[Any] = ()

    def exists(self) -> bool:
        """Return whether there are such rows."""
        return has_sharing_rows(self.rows, self.columns)

    def read(self) -> Iterator[Found]:
        """Return those of them that give way, by key, in one query."""
        if self.filled:
            losers = find_losers(self.rows, self.columns, self.filled.__contains__)
            found = [(loser.key, loser.value) for loser in losers]
            return iter(sorted(found, key=itemgetter(0)))
        # Which values are equal is for the database to say: its collation may
        # take "a" and "A" for the same.
        number = Window(
            RowNumber(),
            partition_by=list(map(F, self.columns)),
            order_by=[F(name) for name in key_names(self.rows)],
        )
        rows = sharing_rows(self.rows, self.columns)
        later = rows.annotate(**{"safefield-number": number}).filter(
            **{"safefield-number__gt": 1}
        )
        return read_values(later.order_by(*key_names(later)), self.column)


def verify(
    plan: Plan,
    schema: Schema,
    filled: Collection[Any] = (),
    *,
    leaves_duplicates: bool = False,
    others: Sequence[Problem] = (),
) -> None:
    """
    Refuse a filled column that its constraints would refuse.

    Rows that were filled and would be refused are emptied again where what was
    filled stays, so that the next run fills them.

    Args:
        plan (Plan): What the operation asks for.
        schema (Schema): The column on its database.
        filled (Collection): Keys of the rows that were filled, in a column that
            was there before.
        leaves_duplicates (bool): Whether rows that share a value are left to
            the unique index to find.
        others (Sequence[Problem]): What was found besides.

    Raises:
        BackfillError: Such rows were found; all reasons are in one error.
    """
    problems = find_problems(plan, schema, filled, leaves_duplicates=leaves_duplicates)
    if problems and leaves_duplicates:
        problems = find_problems(plan, schema, filled)
    problems += others
    if not problems:
        return
    if plan.unique_with and schema.commits and (plan.old_field is None or filled):
        # Rows that came behind the last look may be found when it is required.
        schema.relax()
    findings, advice = tell(plan, schema, problems, filled)
    # None if others have changed the rows since.
    if findings:
        raise make_error(
            plan, " has values that its constraints would refuse", findings, advice
        )


def tell(
    plan: Plan, schema: Schema, problems: Sequence[Problem], filled: Collection[Any]
) -> tuple[list[Finding], str]:
    """
    Return what to say of rows that would be refused, and empty those that were filled.

    Returns:
        tuple[list[Finding], str]: The rows, and what to do next.
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
            (ours if is_ours else theirs).add(found[0])
            if is_ours and schema.commits:
                emptied.append(found)
            if len(emptied) == EMPTIED_ROWS:
                empty_rows(plan, schema, emptied)
                emptied = []
        empty_rows(plan, schema, emptied)
        findings += [tally.finding() for tally in (ours, theirs) if tally.rows]
        has_ours, has_theirs = has_ours or ours.rows > 0, has_theirs or theirs.rows > 0
    kept = "Nothing was changed."
    if schema.commits:
        kept = (
            "The other rows keep their values, and these are empty again"
            + (", but for values that were there before." if has_theirs else ".")
            if has_ours
            else "Their values were not changed."
        )
    advice = [_advice(plan, is_ours=True)] if has_ours else []
    advice += [_advice(plan, is_ours=False)] if has_theirs else []
    return findings, f"{kept} {'. '.join(advice)}, then run migrate again."


class _Tally:
    """Counts rows, and keeps the keys of the first."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.rows = 0
        self.keys: list[Any] = []

    def add(self, key: Any) -> None:
        self.rows += 1
        if len(self.keys) < MAX_BAD_ROWS:
            self.keys.append(key)

    def finding(self) -> Finding:
        return Finding(self.reason, self.rows, self.keys)


def empty_rows(plan: Plan, schema: Schema, found: Sequence[Found]) -> None:
    """Set the column to NULL in rows that still have the value that was found."""
    if not found:
        return
    alias = schema.connection.alias
    rows: QuerySet[Any, Any] = QuerySet(plan.new_model, using=alias)
    writer = get_backend(schema.connection).writer(
        schema.connection, plan.new_model, [plan.field]
    )

    def empty() -> None:
        with transaction.atomic(using=alias):
            schema.locks.limit_wait()
            locked = lock_rows(rows.filter(pk__in=[pk for pk, _ in found]))
            live = dict(read_values(locked, plan.field.attname))
            same = [pk for pk, value in found if pk in live and live[pk] == value]
            writer.update(rows.filter(pk__in=same), NULL)

    schema.locks.change_rows(empty)


def rows_with_values(plan: Plan, alias: str) -> QuerySet[Any, Any]:
    """Return the rows that can share a value: those with one in each column."""
    # As SQL has it: what is NULL in one of the columns is equal to nothing.
    rows: QuerySet[Any, Any] = QuerySet(plan.new_model, using=alias).order_by()
    return rows.filter(**{f"{name}__isnull": False for name in plan.unique_columns})


def tell_group(plan: Plan) -> str:
    """Return what to say behind "unique", such as " together with author"."""
    names = ", ".join(plan.unique_with)
    return f" together with {names}" if names else ""


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


def find_problems(
    plan: Plan,
    schema: Schema,
    filled: Collection[Any] = (),
    *,
    is_filled: bool = True,
    leaves_duplicates: bool = False,
) -> list[Problem]:
    """
    Return what the final constraints would refuse, a problem for each reason.

    Args:
        plan (Plan): What the operation asks for.
        schema (Schema): The column on its database.
        filled (Collection): As in verify().
        is_filled (bool): Whether every row ought to have a value.
        leaves_duplicates (bool): Whether not to look for rows that share a value.
    """
    return [
        problem
        for problem in _possible(plan, schema, filled, is_filled=is_filled)
        if not (leaves_duplicates and isinstance(problem, Sharing)) and problem.exists()
    ]


def _possible(
    plan: Plan, schema: Schema, keys: Collection[Any], *, is_filled: bool
) -> Iterator[Problem]:
    field = plan.field
    column = field.attname
    rows: QuerySet[Model] = QuerySet(
        plan.new_model, using=schema.connection.alias
    ).order_by()
    filled = rows.filter(**{f"{column}__isnull": False})
    if is_filled and not field.null and not schema.commits:
        # Where others write meanwhile, a row without a value is one that the
        # sweep comes back for.
        yield Problem(
            "there is no value", rows.filter(**{f"{column}__isnull": True}), column
        )
    # A text that an existing field has already is not this operation's to judge.
    if plan.old_field is None and must_not_be_blank(plan, schema):
        yield Problem(BLANK, filled.filter(*is_blank(column)), column)
    if plan.unique_columns:
        yield Sharing(
            f"an earlier row has the same value, and the field is unique"
            f"{tell_group(plan)}",
            rows_with_values(plan, schema.connection.alias),
            column,
            plan.unique_columns,
            keys,
        )
    if schema.wanted.has_foreign_key():
        target = field.target_field
        yield Problem(
            f"there is no {target.model._meta.label} with this key",
            filled.filter(
                ~Exists(
                    QuerySet(target.model, using=schema.connection.alias).filter(
                        **{target.attname: OuterRef(column)}
                    )
                )
            ),
            column,
        )
    for constraint in plan.new_model._meta.constraints:
        if isinstance(constraint, CheckConstraint) and _names(plan, constraint):
            # SQL takes what a NULL leaves open, and exclude() alone would not.
            condition = Coalesce(
                constraint.condition, True, output_field=BooleanField()
            )
            yield Problem(
                f"the check constraint {constraint.name} is broken",
                filled.exclude(condition),
                column,
            )


# Texts


#: What is wrong with an empty text.
BLANK = (
    "the value is an empty text, and the field is required: if it is meant, add "
    "allow_blank=True to the operation"
)


def is_blank(column: str) -> tuple[Any, ...]:
    """Return the conditions that a text is empty, in the eyes of Python."""
    # As a text: the field may make something else of one. And a collation may take a
    # text of blanks for one of no characters.
    empty = Value("", TextField())
    return Exact(F(column), empty), Exact(Length(column), 0)


def must_not_be_blank(plan: Plan, schema: Schema) -> bool:
    """Return whether an empty text is no value of the field."""
    field = plan.field
    return (
        not (field.blank or plan.allow_blank)
        # What each new row of the application gets cannot be wrong in old ones.
        and not (field.has_default() and field.get_default() == "")
        and not field.is_relation
        and not schema.connection.features.interprets_empty_strings_as_nulls
        and field.get_internal_type()
        in {"CharField", "EmailField", "SlugField", "TextField", "URLField"}
    )


def _names(plan: Plan, constraint: CheckConstraint) -> bool:
    references = plan.new_model._get_expr_references(constraint.condition)  # type: ignore[attr-defined]  # private, see test_django_contract.py
    return any(names[0] == plan.field_name for names in references)
