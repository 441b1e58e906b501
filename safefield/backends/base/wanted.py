"""What the final field of a plan asks of the database."""

from __future__ import annotations

from typing import Any

from django.db.models import NOT_PROVIDED

from safefield.backends.base.column import LiveColumn
from safefield.fields import AnyField
from safefield.plan import Plan


class Wanted:
    """The constraints and indexes of the final field of one plan."""

    def __init__(self, editor: Any, plan: Plan) -> None:
        self.editor = editor
        self.plan = plan
        self.field = plan.final_field

    def changes_default(self) -> bool:
        """Return whether an altered column gets or loses a default."""
        old = self.plan.old_field
        return old is not None and old.db_default != self.field.db_default

    def has_default(self) -> bool:
        """Return whether the database has a default for the field."""
        return self.field.db_default is not NOT_PROVIDED

    def needs_default(self, column: LiveColumn | None) -> bool:
        """Return whether the default of the column is another one, or is missing."""
        has_default = column is not None and column.has_default
        return self.changes_default() or (self.has_default() and not has_default)

    def has_index(self) -> bool:
        """Return whether the field has an index that is not unique."""
        return not getattr(self.field, "spatial_index", False) and bool(
            self.editor._field_should_be_indexed(self.plan.model, self.field)
        )

    def has_spatial_index(self) -> bool:
        """Return whether the field is a geometry with an index."""
        return getattr(self.field, "spatial_index", False) and bool(
            self.editor._field_indexes_sql(self.plan.model, self.field)
        )

    def has_foreign_key(self) -> bool:
        """Return whether the field has a constraint to another table."""
        return bool(
            self.editor.connection.features.supports_foreign_keys
            and self.field.remote_field
            and getattr(self.field, "db_constraint", False)
        )

    def get_index_names(self) -> list[str]:
        """Return the names of its indexes, that of PostgreSQL for LIKE among them."""
        return [
            str(statement.parts["name"]).strip('"')
            for statement in self.editor._field_indexes_sql(self.plan.model, self.field)
            if not isinstance(statement, str)
        ]

    def is_met(self, live: AnyField) -> bool:
        """Return whether the catalogue has all of it, as Catalogue.get_field() says."""
        final = self.field
        return (
            live.null == final.null
            and (live.unique or not final.unique)
            and (live.db_index or not self.has_index())
            and (not self.has_spatial_index() or live.spatial_index)
            and (getattr(live, "db_constraint", False) or not self.has_foreign_key())
            and (live.db_default is not NOT_PROVIDED or not self.has_default())
        )
