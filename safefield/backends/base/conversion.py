"""What the values of a column become in another type, as the database says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.db import DatabaseError
from django.db.models import F, Model, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from safefield.backends.base.rights import Rights
from safefield.backends.base.sql import execute, putting_away
from safefield.backends.base.values_table import ValuesTable
from safefield.fields import AnyField
from safefield.plan import Plan


class Conversion:
    """What the values of an altered column become, by a cast."""

    #: Whether a text stays as it is in a column of dates and the like.
    leaves_texts = False

    def __init__(self, connection: Any, plan: Plan) -> None:
        self.connection = connection
        self.plan = plan
        self.old_field: AnyField = plan.old_field

    def open(self) -> AbstractContextManager[None]:
        """Return the context in which rows can be converted."""
        return nullcontext()

    def convert(self, rows: QuerySet[Model]) -> list[tuple[Any, Any, Any]]:
        """Return key, old value and new value of each row, if the type takes them."""
        name = self.old_field.attname
        new = rows.annotate(safefield_new=self._expression())
        return list(new.values_list("pk", name, "safefield_new"))

    def get_mark(self) -> Any:
        """Return what tells this moment; None where the database cannot say."""
        return None

    def filter_changed(self, rows: QuerySet[Model], mark: Any) -> QuerySet[Model]:
        """Return those of `rows` that were written after `mark`, and perhaps more."""
        raise NotImplementedError

    def _expression(self) -> Any:
        return Cast(F(self.old_field.attname), self.plan.field)


class TableConversion(Conversion):
    """
    What the values of an altered column become, by way of a temporary table.

    For a database whose casts go other ways than its ALTER TABLE.
    """

    rights_class: type[Rights] = Rights
    table_class: type[ValuesTable] = ValuesTable

    def __init__(self, connection: Any, plan: Plan) -> None:
        super().__init__(connection, plan)
        self.table = self.table_class(connection, plan.model)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Provide the temporary table, if this user may create one."""
        try:
            execute(self.connection, self._definition())
        except DatabaseError as exc:
            rights = self.rights_class(self.connection)
            if not rights.is_refusal(exc):
                raise
            raise self.plan.error(
                f"{self.plan.title} cannot be altered: to compare its values with "
                f"those of the new type takes a temporary table, which the database "
                f"refused. {rights.describe_temporary(exc)}. Nothing was changed."
            ) from exc
        with putting_away(self.table.drop):
            yield

    def convert(self, rows: QuerySet[Model]) -> list[tuple[Any, Any, Any]]:
        """Return key, old value and new value of each row."""
        keys = [key.attname for key in self.plan.model._meta.pk_fields]
        self.table.empty()
        self.table.insert(rows.order_by().values_list(*keys, self._old_value()))
        return super().convert(rows)

    def _expression(self) -> Any:
        return RawSQL(self.table.value_sql, (), output_field=self.plan.field)

    def _old_value(self) -> Any:
        """Return what is inserted into the table, as ALTER TABLE would take it."""
        return F(self.old_field.attname)

    def _definition(self) -> str:
        """Return the statement that makes the table: key0, key1, ..., value."""
        raise NotImplementedError
