"""Find the rows that the final constraints would refuse, a problem for each reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db.models import (
    BooleanField,
    CheckConstraint,
    Exists,
    F,
    OuterRef,
    QuerySet,
    TextField,
    Value,
    Window,
)
from django.db.models.functions import Coalesce, Length, RowNumber
from django.db.models.lookups import Exact

from safefield.backends.base.schema import Schema
from safefield.filling.comparison import TEXTS
from safefield.filling.rows import (
    Found,
    find_losers,
    has_sharing_rows,
    key_names,
    read_values,
    rows_with_values,
    sharing_rows,
    sort_by_key,
)
from safefield.plan import Plan


@dataclass(frozen=True)
class Problem:
    """
    Rows that a constraint would refuse, for one reason.

    Args:
        reason (str): A clause that says what is wrong with each row.
    """

    reason: str
    schema: Schema
    rows: QuerySet[Any, Any]

    def exists(self) -> bool:
        """Return whether there are such rows."""
        return self.rows.exists()

    def read(self) -> Iterator[Found]:
        """Return the rows, by key, in one query."""
        rows = self.rows.order_by(*key_names(self.rows))
        return read_values(rows, self.schema.plan.field.attname)


@dataclass(frozen=True)
class Sharing(Problem):
    """
    Rows whose value another row has, which may keep it.

    Args:
        filled (Collection): Keys of rows that give way to those not among them.
    """

    filled: Collection[Any]

    def exists(self) -> bool:
        """Return whether there are such rows."""
        return has_sharing_rows(self.schema)

    def read(self) -> Iterator[Found]:
        """Return those of them that give way, by key, in one query."""
        if self.filled:
            losers = find_losers(self.schema, self.filled.__contains__)
            found = [(loser.key, loser.value) for loser in losers]
            return iter(sort_by_key(found, itemgetter(0)))
        # Which values are equal is for the database to say: its collation may
        # take "a" and "A" for the same.
        number = Window(
            RowNumber(),
            partition_by=list(map(F, self.schema.plan.unique_columns)),
            order_by=list(map(F, key_names(self.rows))),
        )
        rows = sharing_rows(self.schema).annotate(**{"safefield-number": number})
        later = rows.filter(**{"safefield-number__gt": 1})
        return Problem(self.reason, self.schema, later).read()


def find_problems(
    schema: Schema,
    filled: Collection[Any],
    *,
    is_filled: bool = True,
    leaves_duplicates: bool = False,
) -> list[Problem]:
    """
    Return what the final constraints would refuse, a problem for each reason.

    Args:
        filled (Collection): As in verify().
        is_filled (bool): Whether every row ought to have a value.
        leaves_duplicates (bool): Whether not to look for rows that share a value.
    """
    return [
        problem
        for problem in _list_possible(schema, filled, is_filled=is_filled)
        if not (leaves_duplicates and isinstance(problem, Sharing)) and problem.exists()
    ]


def _list_possible(
    schema: Schema, keys: Collection[Any], *, is_filled: bool
) -> Iterator[Problem]:
    plan = schema.plan
    field, column = plan.field, plan.field.attname
    rows = schema.rows().order_by()
    filled = rows.filter(**{f"{column}__isnull": False})
    if is_filled and not field.null and not schema.commits:
        # Where others write meanwhile, a row without a value is one that the
        # sweep comes back for.
        empty = rows.filter(**{f"{column}__isnull": True})
        yield Problem("there is no value", schema, empty)
    # A text that an existing field has already is not this operation's to judge.
    if plan.old_field is None and must_not_be_blank(schema):
        # As a text: the field may make something else of one. And a collation may take
        # a text of blanks for one of no characters.
        is_empty = Exact(F(column), Value("", TextField()))
        blank = filled.filter(is_empty, Exact(Length(column), 0))
        yield Problem(BLANK, schema, blank)
    if plan.unique_columns:
        yield Sharing(
            f"an earlier row has the same value, and the field is unique"
            f"{tell_group(plan)}",
            schema,
            rows_with_values(schema),
            keys,
        )
    if schema.wanted.has_foreign_key():
        target = field.target_field
        targets: QuerySet[Any, Any] = QuerySet(target.model, using=filled.db)
        dangling = ~Exists(targets.filter(**{target.attname: OuterRef(column)}))
        reason = f"there is no {target.model._meta.label} with this key"
        yield Problem(reason, schema, filled.filter(dangling))
    yield from _list_broken_checks(schema, filled)


def _list_broken_checks(schema: Schema, rows: QuerySet[Any, Any]) -> Iterator[Problem]:
    plan = schema.plan
    for constraint in plan.new_model._meta.constraints:
        if isinstance(constraint, CheckConstraint) and _names(plan, constraint):
            # SQL takes what a NULL leaves open, and exclude() alone would not.
            condition = Coalesce(
                constraint.condition, True, output_field=BooleanField()
            )
            reason = f"the check constraint {constraint.name} is broken"
            yield Problem(reason, schema, rows.exclude(condition))


def _names(plan: Plan, constraint: CheckConstraint) -> bool:
    references = plan.new_model._get_expr_references(constraint.condition)  # type: ignore[attr-defined]  # private, see test_django_contract.py
    return any(names[0] == plan.field_name for names in references)


def tell_group(plan: Plan) -> str:
    """Return what to say behind "unique", such as " together with author"."""
    names = ", ".join(plan.unique_with)
    return f" together with {names}" if names else ""


# Texts


#: What is wrong with an empty text.
BLANK = (
    "the value is an empty text, and the field is required: if it is meant, add "
    "allow_blank=True to the operation"
)


def must_not_be_blank(schema: Schema) -> bool:
    """Return whether an empty text is no value of the field."""
    field = schema.plan.field
    kind = field.get_internal_type()
    return (
        kind in TEXTS
        # Of no file, save() makes an empty text.
        and not (kind == "FileField" and field.null)
        and not (field.blank or schema.plan.allow_blank)
        # What each new row of the application gets cannot be wrong in old ones.
        and not (field.has_default() and field.get_default() == "")
        and not field.is_relation
        and not schema.connection.features.interprets_empty_strings_as_nulls
    )
