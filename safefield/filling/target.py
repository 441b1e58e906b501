"""Which rows get a value, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull

from safefield.backends.base.schema import Schema
from safefield.filling.batch_size import Timing
from safefield.plan import Plan

#: Rows on which populate is tried before anything is changed.
PREFLIGHT_ROWS = 5


@dataclass(frozen=True)
class Target:
    """
    The rows that are read, and the column that is written.

    A migration fills the column of the rows that it reads. A rehearsal may read one
    table, and write to another one that has the same keys.

    Args:
        schema (Schema): The column that is written, on its database.
        wanted (Any): The condition on the rows that are read; None for all rows.
        paged (QuerySet | None): What is cut into pages; None: the rows that are read.
        last_key (Any): The last row that is read; None for all rows.
        is_beside (bool): Whether the column is in another table than the rows.
        estimate_rows (Callable | None): Says how many rows there are, about; None: the
            catalogue does.
        on_batch (Callable | None): Is told how long each batch took.
    """

    plan: Plan
    schema: Schema
    wanted: Any = None
    paged: QuerySet[Any] | None = None
    last_key: Any = None
    is_beside: bool = False
    estimate_rows: Callable[[], int | None] | None = None
    clock: Callable[[], float] | None = None
    on_batch: Callable[[Timing], object] | None = None

    @property
    def alias(self) -> str:
        """Alias of the database."""
        return str(self.schema.connection.alias)

    def read_rows(self) -> QuerySet[Model]:
        """Return the rows that are read."""
        return QuerySet(self.plan.model, using=self.alias)

    def empty_rows(self) -> QuerySet[Any]:
        """Return the rows that have no value yet, where somebody may keep them so."""
        if self.is_beside:
            # Nothing undoes an UPDATE of the temporary table of a rehearsal.
            return self.schema.rows().none()
        return self.read_rows().filter(self.wanted)


def has_no_value(plan: Plan) -> IsNull:
    """Return the condition that a row has no value yet."""
    return IsNull(Col(plan.table, plan.interim_field), True)
