"""Find values from an expression that the field itself would have refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, Field, Func, Q, QuerySet
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThan

from safefield.backends import get_backend
from safefield.backends.base.misfits import ALWAYS
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BadRow
from safefield.filling.comparison import LIMITED_TEXTS
from safefield.filling.problems import BLANK
from safefield.filling.rows import read_values
from safefield.plan import Plan
from safefield.reports import shorten

#: What a value is called in a query: the hyphen keeps it from meeting a field.
RAW = "safefield-raw"


class ComputedValues:
    """Look at values that the database has computed."""

    def __init__(self, plan: Plan, schema: Schema, *, refuses_blank: bool) -> None:
        self.plan = plan
        #: Whether an empty text is told here.
        self.refuses_blank = refuses_blank
        field, connection = plan.field, schema.connection
        self.column = field.attname
        #: The length to which the column itself holds no text, if there is one.
        self.max_length = None
        if field.max_length and field.get_internal_type() in LIMITED_TEXTS:
            kind = str(field.db_type(connection))
            if not (schema.limits_texts and f"({field.max_length})" in kind):
                self.max_length = field.max_length
        #: The choices, if there are any.
        self.choices = [value for value, _ in field.flatchoices or ()]
        #: What may not even be read through the field.
        self.misfits = get_backend(connection).find_misfits(connection, field)

    def find_misfits(self, rows: QuerySet[Any]) -> Iterator[BadRow]:
        """Yield the rows whose value save() would refuse, or store otherwise."""
        if self.misfits is None:
            return
        # As it is there: neither the field nor sqlite3, which looks at the type of a
        # column, may be able to read it.
        raw = Func(
            F(self.column),
            template="coalesce(%(expressions)s, NULL)",
            output_field=Field(),
        )
        suspects = rows.filter(self.misfits, **{f"{self.column}__isnull": False})
        found = suspects.order_by("pk").annotate(**{RAW: raw})
        for pk, value in read_values(found, RAW):
            if self.misfits is ALWAYS and self._is_stored_so(value):
                continue
            yield BadRow(
                pk,
                f"{self.plan.source_name} gave a value that save() would not store in "
                f"this field",
                shorten(value) if get_configuration().SHOW_VALUES else "",
            )

    def _is_stored_so(self, value: Any) -> bool:
        field = self.plan.field
        try:
            if field.get_internal_type() == "UUIDField":
                return UUID(value).hex == str(value)
            field.run_validators(value)
            return bool(field.to_python(value) == value)
        except (ValidationError, ValueError):
            return False

    def find_refused(self, rows: QuerySet[Any]) -> Iterator[BadRow]:
        """Yield the rows whose value Field.clean() would refuse."""
        suspects = Q()
        if self.max_length:
            suspects |= Q(GreaterThan(Length(self.column), self.max_length))
        if self.choices:
            suspects |= ~Q(**{f"{self.column}__in": self.choices})
        if self.refuses_blank:
            suspects |= Q(**{self.column: ""})
        if not suspects:
            return
        filled = rows.filter(suspects, **{f"{self.column}__isnull": False})
        for pk, value in read_values(filled.order_by("pk"), self.column):
            if fault := self._find_fault(value):
                yield BadRow(pk, fault)

    def _find_fault(self, value: Any) -> str | None:
        field, source = self.plan.field, self.plan.source_name
        if self.refuses_blank and value == "":
            return BLANK
        if self.max_length and len(str(value)) > self.max_length:
            return f"{source} gave a text of more than {self.max_length} characters"
        if self.choices and value not in [*self.choices, *field.empty_values]:
            return f"{source} gave a value that is not one of the choices"
        return None
