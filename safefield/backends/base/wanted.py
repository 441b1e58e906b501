"""What the final field of a plan asks of the database."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from django.db.models import NOT_PROVIDED

from safefield.fields import AnyField
from safefield.plan import Plan

#: How Django's CREATE INDEX names another method than the usual one.
METHOD = re.compile(r" USING (\w+)")


class WantedName(NamedTuple):
    """A name that the final field needs, and that something else may have."""

    #: Not quoted.
    name: str
    #: "unique constraint", "index" or "foreign key".
    kind: str
    #: Of an index.
    method: str = "btree"


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

    def needs_default(self, *, has_one: bool) -> bool:
        """Return whether the default of the column is another one, or is missing."""
        return self.changes_default() or (self.has_default() and not has_one)

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
        return [_unquote(parts["name"]) for parts in self._get_index_parts(self.field)]

    def find_names(self) -> list[WantedName]:
        """Return the names that Django gives to what the field has, and had not."""
        final, old = self.field, self.plan.old_field
        names = []
        if final.unique and not (old is not None and old.unique):
            name = self.editor._unique_constraint_name(self.plan.table, [final.column])
            names.append(WantedName(_unquote(name), "unique constraint"))
        had = [] if old is None else self._get_index_parts(old)
        for parts in self._get_index_parts(final):
            if parts not in had:
                found = METHOD.search(parts.get("using", ""))
                method = found[1].lower() if found else "btree"
                names.append(WantedName(_unquote(parts["name"]), "index", method))
        if (
            self.editor.sql_create_fk
            and final.remote_field
            and getattr(final, "db_constraint", False)
            and not getattr(old, "db_constraint", False)
        ):
            statement = self.editor._create_fk_sql(
                self.plan.model, final, "_fk_%(to_table)s_%(to_column)s"
            )
            names.append(WantedName(_unquote(statement.parts["name"]), "foreign key"))
        return names

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

    def _get_index_parts(self, field: AnyField) -> list[dict[str, str]]:
        """Return what the statements for the indexes of a field are made of."""
        # Not the statements: those of another package's backend may be several in one.
        return [
            {name: str(part) for name, part in statement.parts.items()}
            for statement in self.editor._field_indexes_sql(self.plan.model, field)
            # Those of geometries are texts already.
            if hasattr(statement, "parts")
        ]


def _unquote(name: Any) -> str:
    return str(name).strip('"`')
