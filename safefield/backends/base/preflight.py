"""What is refused before anything is changed: the database would, perhaps later."""

from __future__ import annotations

from typing import Any

from django.db.backends.base import schema

from safefield.backends.base.catalogue import Catalogue, LiveColumn
from safefield.fields import AnyField


class Preflight:
    """What may be in the way of one plan, on one database."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.editor = catalogue.editor
        self.connection = catalogue.connection
        self.plan = catalogue.plan
        self.catalogue = catalogue

    def check_column(self, column: LiveColumn, *, may_make_tables: bool = True) -> None:
        """Refuse a column of the wanted name that is not the wanted column."""
        expected = self.catalogue.spell_type(may_make_tables=may_make_tables)
        if column.type is not None and column.type != expected:
            found = f"of type {column.type}, and {expected} was expected"
        elif missing := self.catalogue.find_missing_check():
            found = f"without CHECK ({missing}), which Django would make with it"
        else:
            return
        raise self.plan.error(
            f"{self.plan.title} cannot be added: table {self.plan.table} already has a "
            f"column {self.plan.field.column} {found}. Rename or drop that column, "
            f"then run migrate again. Nothing was changed."
        )

    def check_table(self) -> None:
        """Refuse a table that cannot have the final column."""
        self._refuse_taken_names()
        self._refuse_referring()

    def _refuse_taken_names(self) -> None:
        """Refuse indexes and constraints that could not have their names in the end."""
        wanted = self.catalogue.wanted.find_names()
        found = list(self.catalogue.find_taken_names(wanted))
        if not found:
            return
        names, them = ("a name", "it") if len(found) == 1 else ("names", "them")
        raise self.plan.error(
            f"{self.plan.title} needs {names} that something else has: "
            f"{', '.join(found)}. Rename or drop {them}, then run migrate again. "
            f"Nothing was changed."
        )

    def _refuse_referring(self) -> None:
        """
        Refuse another type for a column to which the models have foreign keys.

        Django's AlterField changes their columns too.
        """
        old, interim = self.plan.old_field, self.plan.interim_field
        if old is None or self._get_type(old) == self._get_type(interim):
            return
        related = schema._related_non_m2m_objects(old, interim)  # type: ignore[attr-defined]  # private, see test_django_contract.py
        names = sorted({str(after.field) for _, after in related})
        if names:
            raise self.plan.error(
                f"{self.plan.title} cannot be altered: its type changes, and that of "
                f"the foreign keys to it would have to ({', '.join(names)}). Change "
                f"the type by migrations.AlterField in a migration before this one, "
                f"then run migrate again. Nothing was changed."
            )

    def _get_type(self, field: AnyField) -> tuple[Any, Any]:
        parameters = field.db_parameters(self.connection)
        return parameters["type"], parameters.get("collation")

    def check_rights(self, *, goes_back: bool = False) -> None:
        """Refuse a table that this user may not change, perhaps only at the end."""

    def check_rows(self) -> None:
        """Refuse a table of which this user may not see every row."""

    def check_drop(self) -> None:
        """Refuse to drop a column that something else needs, or would be lost with."""

    def warn_of_locks(self) -> None:
        """Say what an atomic migration will lock, and for about how long."""
