"""Refuse an alteration in which values that are there would become others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, NotSupportedError, transaction
from django.db.models import Field, Model, QuerySet

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.fields import AnyField
from safefield.filling.bad_rows import make_bad_rows_error
from safefield.filling.comparison import TEXTS, Comparison
from safefield.filling.key_pages import cut
from safefield.plan import Plan
from safefield.progress import step
from safefield.reports import MAX_BAD_ROWS, shorten

#: Rows that are converted at once. Not measured: a page of this size is read in a few
#: milliseconds, and where one row of it is refused, each is asked about.
PAGE_ROWS = 1_000

#: What is said of a value that is not converted, or that the new field cannot read.
UNTAKEN = "the new type does not take the value"


def turn_round(plan: Plan) -> Plan:
    """Return the plan of the way back."""
    return replace(plan, model=plan.new_model, new_model=plan.model)


def _may_narrow(plan: Plan, schema: Schema) -> bool:
    old: AnyField = plan.old_field
    new: AnyField = plan.field
    if _only_widens(old, new, schema):
        return False
    column = schema.catalogue.find_column()
    if column is None:
        return False
    kinds = {old.get_internal_type(), new.get_internal_type()}
    types = {field.db_type(schema.connection) for field in (old, new)}
    if len(types) == 1:
        # On SQLite the types of many fields are the same, and decimals have no digits;
        # a field that is positive has a check besides.
        return len(kinds) > 1 or kinds == {"DecimalField"}
    expected = schema.catalogue.spell_type()
    if column.type is None or column.type != expected:
        return True
    # An earlier run, which was stopped, has come further; or, as of JSON on MariaDB, to
    # the server it is the same type.
    before = type(schema.catalogue)(schema.editor, turn_round(plan))
    return before.spell_type() == expected


def _only_widens(old: AnyField, new: AnyField, schema: Schema) -> bool:
    """Return whether every value of the old type is one of the new, by their sizes."""
    if any(type(field).db_type is not Field.db_type for field in (old, new)):
        return False
    kinds = {old.get_internal_type(), new.get_internal_type()}
    if kinds <= TEXTS:
        return new.get_internal_type() == "TextField" or bool(
            old.max_length and new.max_length and new.max_length >= old.max_length
        )
    if kinds == {"DecimalField"} and old.max_digits and new.max_digits:
        more = new.decimal_places - old.decimal_places
        return bool(0 <= more <= new.max_digits - old.max_digits)
    ranges = schema.connection.ops.integer_field_ranges
    if kinds <= ranges.keys():
        least, greatest = ranges[new.get_internal_type()]
        old_least, old_greatest = ranges[old.get_internal_type()]
        return bool(least <= old_least and old_greatest <= greatest)
    return False


class Narrowing:
    """
    Refuse a new type that does not keep each value as it is.

    Django's AlterField rounds and cuts without a word what the new type has no
    room for, and on SQLite leaves what its field cannot read.
    """

    def __init__(self, plan: Plan, schema: Schema) -> None:
        self.plan = plan
        self.schema = schema
        self.alias = schema.connection.alias
        self.connection = schema.connection
        self.is_possible = plan.old_field is not None and _may_narrow(plan, schema)
        if self.is_possible:
            make = get_backend(self.connection).conversion
            self.conversion = make(self.connection, plan)
            self.attname = self.conversion.old_field.attname
            self.comparison = Comparison(plan, self.conversion)
        #: When the last comparison began, where the database can say so.
        self.mark: Any = None

    def begin(self) -> None:
        """Let no value come that would be compared by nobody."""
        if not self.is_possible:
            return
        if self.schema.commits:
            self.mark = self.conversion.get_mark()
        else:
            self.schema.keep_writers_away()

    def refuse(self) -> None:
        """Compare each value with what its new type makes of it."""
        if not self.is_possible:
            return
        with step(f"Comparing {self.plan.title} with its new type"):
            bad_rows = self._find_bad_rows()
        self._raise(bad_rows)

    def refuse_changed(self) -> None:
        """Compare the values that have come since the last comparison."""
        if self.mark is None:
            return
        mark, self.mark = self.mark, self.conversion.get_mark()
        rows = self.conversion.filter_changed(self._rows(), mark)
        self._raise(self._check(rows.order_by("pk")))

    def _raise(self, bad_rows: Sequence[BadRow]) -> None:
        if bad_rows:
            kind = self.plan.field.db_type(self.connection)
            raise make_bad_rows_error(
                self.plan,
                bad_rows,
                f" cannot be altered: in its new type, {kind}, values would not be the "
                f"same",
                "Nothing was changed. Change these values or the type of the field, "
                "then run migrate again.",
            )

    def _rows(self) -> QuerySet[Model]:
        rows: QuerySet[Model] = QuerySet(self.plan.model, using=self.alias)
        return rows.filter(**{f"{self.attname}__isnull": False})

    def _find_bad_rows(self) -> list[BadRow]:
        """Return the rows whose value would be another, or be refused."""
        rows = self._rows()
        bad_rows: list[BadRow] = []
        with self.conversion.open():
            for page in cut(QuerySet(self.plan.model, using=self.alias), PAGE_ROWS):
                bad_rows += self._check(page.bound(rows).order_by("pk"))
                if len(bad_rows) >= MAX_BAD_ROWS:
                    break
        return bad_rows

    def _check(self, rows: QuerySet[Model], *, is_single: bool = False) -> list[BadRow]:
        try:
            with transaction.atomic(using=self.alias):
                converted = self.conversion.convert(rows)
        except Exception as exc:
            if isinstance(exc, DatabaseError) and (
                self.schema.locks.is_passing(exc) or not self.connection.is_usable()
            ):
                raise
            found = list(rows.values_list("pk", self.attname))
            if is_single:
                return [self._describe(pk, value, value) for pk, value in found]
            return [
                bad
                for pk, _ in found
                for bad in self._check(rows.filter(pk=pk), is_single=True)
            ]
        return [
            self._describe(pk, old, new)
            for pk, old, new in converted
            if not self.comparison.is_kept(old, new)
        ]

    def _describe(self, pk: Any, old: Any, new: Any) -> BadRow:
        shows = get_configuration().SHOW_VALUES
        if type(old) is type(new) and repr(old) == repr(new):
            # The database refuses it, or would keep it, and the new field not take it.
            return BadRow(pk, UNTAKEN, shorten(old) if shows else "")
        shown = tell_change(old, new) if shows else ""
        return BadRow(pk, "the value would be another", shown)


def tell_change(old: Any, new: Any) -> str:
    """Return what would become of a value, so that the difference is seen."""
    before, after = shorten(old), shorten(new)
    if before != after:
        return f"{before} would become {after}"
    if type(old) is not type(new):
        kinds = type(old).__name__, type(new).__name__
        return f"{before} of type {kinds[0]} would become one of type {kinds[1]}"
    # Their ends, which are not shown, differ.
    lengths = len(repr(old)), len(repr(new))
    if isinstance(old, (str, bytes)):
        lengths = len(old), len(new)
    return (
        f"{before}, {lengths[0]:,} characters, would become {lengths[1]:,} characters"
    )


def make_refusal(plan: Plan, exc: DatabaseError) -> BackfillError:
    """Return what to say of a database that refused the new definition."""
    text, _, rest = str(exc).partition("\n")
    advice = "Change the definition or what stands in its way, then run migrate again."
    if isinstance(exc, NotSupportedError):
        # PostgreSQL names there the view, the trigger or the policy.
        detail = rest.partition("DETAIL:")[2].strip()
        text += f" ({detail})" if detail else ""
        advice = (
            "Drop what needs the column in a migration before this one, create it "
            "again in one after it, then run migrate again."
        )
    elif not get_configuration().SHOW_VALUES:
        # It may have a value in it.
        text = type(exc).__name__
    return plan.error(
        f"{plan.title} cannot be altered: the database refused the new definition of "
        f"column {plan.field.column}. It said: {text}. {advice} No value was changed."
    )
