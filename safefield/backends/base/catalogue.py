"""What the catalogue of a database says of the column of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import NOT_PROVIDED, F, QuerySet
from django.db.models.lookups import IsNull

from safefield.backends.base.keys import Keys, Kind
from safefield.backends.base.wanted import Wanted, WantedName
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan


@dataclass(frozen=True)
class LiveColumn:
    """What the catalogue says of a column."""

    null: bool
    has_default: bool
    #: As the database spells it; None where types are not compared.
    type: str | None = None
    comment: str | None = None
    #: None for that of the table.
    collation: str | None = None


class Catalogue:
    """What is there of the column of one plan, on one database."""

    keys_class: type[Keys] = Keys

    def __init__(self, editor: Any, plan: Plan) -> None:
        self.editor = editor
        self.connection = editor.connection
        self.plan = plan
        self.keys = self.keys_class(editor, plan)
        self.wanted = Wanted(editor, plan)

    def estimate_rows(self) -> int:
        """Return about how many rows the table has."""
        return QuerySet(self.plan.model, using=self.connection.alias).count()

    def is_bare(self) -> bool:
        """Return whether the table has neither rows nor the column."""
        rows: QuerySet[Any] = QuerySet(self.plan.model, using=self.connection.alias)
        return self.find_column() is None and not rows.exists()

    def find_column(self) -> LiveColumn | None:
        """Return what the catalogue says of the column; None if it is not there."""
        introspection = self.connection.introspection
        wanted = introspection.identifier_converter(self.plan.field.column)
        with self.connection.cursor() as cursor:
            for info in introspection.get_table_description(cursor, self.plan.table):
                if introspection.identifier_converter(info.name) == wanted:
                    return LiveColumn(
                        bool(info.null_ok),
                        info.default is not None,
                        comment=getattr(info, "comment", None),
                        collation=info.collation,
                    )
        return None

    def find_missing_check(self) -> str | None:
        """Return the check that the column's type asks for, if it has not got it."""
        check: str | None = self.plan.field.db_check(self.connection)
        if not check:
            return None
        introspection = self.connection.introspection
        name = introspection.identifier_converter(self.plan.field.column)
        with self.connection.cursor() as cursor:
            found = introspection.get_constraints(cursor, self.plan.table)
        has_check = any(
            each["check"] and list(each["columns"] or ()) == [name]
            for each in found.values()
        )
        return None if has_check else check

    def spell_type(self, *, may_make_tables: bool = True) -> str | None:
        """
        Return the type that the column is to have, spelled as LiveColumn.type.

        Args:
            may_make_tables (bool): Whether a table may come and go to find out, where
                no temporary one may be made.
        """
        return None

    def get_field(self, column: LiveColumn) -> AnyField:
        """Return the field as the catalogue has it: what is enforced already."""
        keys = self.keys.find_own()
        live = copy_field(self.plan.interim_field)
        live.null = column.null
        live._unique = any(
            key.kind is Kind.UNIQUE and key.is_constraint for key in keys
        )
        live.db_index = any(map(self.keys.counts_as_index, keys))
        if hasattr(live, "spatial_index"):
            live.spatial_index = any(key.kind is Kind.SPATIAL for key in keys)
        if live.remote_field is not None:
            live.db_constraint = bool(self.keys.find_foreign_keys())
        live.db_default = NOT_PROVIDED
        if column.has_default:
            live.db_default = self.plan.interim_field.db_default
            if live.db_default is NOT_PROVIDED:
                live.db_default = self.plan.final_field.db_default
        return live

    def get_altered(self) -> AnyField:
        """Return an altered field as the catalogue has it, its default included."""
        column = self.find_column()
        if column is None:
            return self.plan.field
        altered = self.get_field(column)
        if column.has_default and self.wanted.changes_default():
            altered.db_default = self.plan.final_field.db_default
        return altered

    def has_value(self) -> bool:
        """Return whether the first row has a value in the column."""
        rows: Any = QuerySet(self.plan.new_model, using=self.connection.alias)
        is_null = IsNull(F(self.plan.field.attname), True)
        first = rows.order_by("pk").annotate(**{"safefield-null": is_null})[:1]
        return False in first.values_list("safefield-null", flat=True)

    def has_unique(self) -> bool:
        """Return whether the database sees to it that the column is unique."""
        return any(key.kind is Kind.UNIQUE for key in self.keys.find())

    def has_unique_constraint(self) -> bool:
        """Return whether the column has the constraint of a unique field."""
        return any(
            key.kind is Kind.UNIQUE and key.is_constraint
            for key in self.keys.find_own()
        )

    def find_leftover_indexes(self) -> list[str]:
        """Return the names of the indexes that an altered column had and loses."""
        if self.wanted.has_index():
            return []
        return self.keys.find_leftover(self.wanted.get_index_names())

    def find_taken_names(self, wanted: Sequence[WantedName]) -> Iterable[str]:
        """Return the wanted names that something else has, each with what has it."""
        return ()

    def is_restored(self, column: LiveColumn) -> bool:
        """Return whether the column has the definition from before an alteration."""
        old = self.plan.old_field
        assert old is not None
        live = self.get_field(column)
        has_constraint = bool(getattr(old, "db_constraint", False))
        backwards = replace(
            self.plan, model=self.plan.new_model, new_model=self.plan.model
        )
        return (
            column.null == old.null
            and column.type == type(self)(self.editor, backwards).spell_type()
            and column.has_default == (old.db_default is not NOT_PROVIDED)
            and (old.unique or not live.unique)
            # MySQL indexes a foreign key by itself.
            and (
                has_constraint
                or bool(self.editor._field_indexes_sql(self.plan.model, old))
                or not live.db_index
            )
            and (has_constraint or not getattr(live, "db_constraint", False))
            and self._has_key_of(old)
            and self._has_texts_of(old, column)
        )

    def _has_key_of(self, old: AnyField) -> bool:
        """Return whether a foreign key is there that a run would have dropped."""
        if not getattr(old, "db_constraint", False) or getattr(
            self.plan.interim_field, "db_constraint", False
        ):
            return True
        wanted = self.keys.get_target(old)
        found = {key.target for key in self.keys.find_own() if key.target}
        return wanted in found and self.keys.get_target(self.plan.field) not in (
            found - {wanted}
        )

    def _has_texts_of(self, field: AnyField, column: LiveColumn) -> bool:
        """Return whether the column has the comment and the collation of a field."""
        has_comments = self.connection.features.supports_comments
        if has_comments and (column.comment or "") != (field.db_comment or ""):
            return False
        collation = getattr(field, "db_collation", None)
        # None stands for the collation of the table, whichever that is.
        return collation in (
            getattr(self.plan.field, "db_collation", None),
            column.collation,
        )
