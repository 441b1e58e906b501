"""What the catalogue says of the column of a plan, and what is wanted of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import NOT_PROVIDED, QuerySet

from safefield.backends.base.column import LiveColumn
from safefield.backends.base.keys import Keys, Kind
from safefield.backends.base.locks import Locks
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan


class LiveSchema:
    """
    The column of one plan, as it is there on one database.

    Args:
        editor (BaseDatabaseSchemaEditor): Django's schema editor.
        plan (Plan): What the operation asks for.
    """

    #: How the database waits for locks.
    locks_class: type[Locks] = Locks

    keys_class: type[Keys] = Keys

    #: Whether enforce() builds the unique index before the column becomes required.
    #: Where it does, the index finds what verify() would have to read the whole
    #: column for.
    is_unique_first = False

    #: Whether a table may come and go where no temporary one may be made.
    may_make_tables = True

    #: Whether a column refuses a text that is longer than its type says.
    limits_texts = True

    #: Whether rows that share a value are counted in a window, which names the table
    #: once, rather than found with IN.
    counts_in_windows = False

    #: Whether COUNT(DISTINCT ...) is quicker than GROUP BY, as it mostly is.
    counts_distinct_quickly = True

    def __init__(self, editor: BaseDatabaseSchemaEditor, plan: Plan) -> None:
        #: Any, because the stubs leave out the private methods that build SQL.
        self.editor: Any = editor
        self.connection: Any = editor.connection
        self.plan = plan
        #: Whether each batch and each statement is committed on its own.
        self.commits = not self.connection.in_atomic_block
        self.locks = self.locks_class(self.connection, plan)
        self.keys = self.keys_class(editor, plan)

    def estimated_rows(self) -> int:
        """Return about how many rows the table has."""
        return QuerySet(self.plan.model, using=self.connection.alias).count()

    def is_empty(self) -> bool:
        """Return whether the table has no rows."""
        return not QuerySet(self.plan.model, using=self.connection.alias).exists()

    def can_add_at_once(self) -> bool:
        """
        Return whether the table has neither rows nor the column.

        It may leave the column to add_final(), where that fails as a whole.
        """
        return self.live_column() is None and self.is_empty()

    def live_column(self) -> LiveColumn | None:
        """Return what the catalogue says of the column; None if it is not there."""
        introspection = self.connection.introspection
        wanted = introspection.identifier_converter(self.plan.field.column)
        with self.connection.cursor() as cursor:
            for column in introspection.get_table_description(cursor, self.plan.table):
                if introspection.identifier_converter(column.name) == wanted:
                    return LiveColumn(bool(column.null_ok), column.default is not None)
        return None

    def expected_type(self) -> str | None:
        """Return the type that the column is to have, spelled as LiveColumn.type."""
        return None

    def live_field(self, column: LiveColumn) -> AnyField:
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
            target = self.keys.get_target(self.plan.field)
            live.db_constraint = any(key.target == target for key in keys)
        live.db_default = NOT_PROVIDED
        if column.has_default:
            live.db_default = self.plan.interim_field.db_default
            if live.db_default is NOT_PROVIDED:
                live.db_default = self.plan.final_field.db_default
        return live

    def leftover_indexes(self) -> list[str]:
        """Return the names of the indexes that an altered column had and loses."""
        if self.wants_index():
            return []
        # Not the one of PostgreSQL for LIKE, which a unique text has too.
        return self.keys.find_leftover(
            [
                str(statement.parts["name"]).strip('"')
                for statement in self.editor._field_indexes_sql(
                    self.plan.model, self.plan.final_field
                )
                if not isinstance(statement, str)
            ]
        )

    def default_changes(self) -> bool:
        """Return whether an altered column gets or loses a default."""
        old = self.plan.old_field
        return old is not None and old.db_default != self.plan.final_field.db_default

    def is_enforced(self, live: AnyField) -> bool:
        """Return whether the catalogue has all that the final field asks for."""
        final = self.plan.final_field
        return (
            live.null == final.null
            and (live.unique or not final.unique)
            and (live.db_index or not self.wants_index())
            and (not self.wants_spatial_index() or live.spatial_index)
            and (getattr(live, "db_constraint", False) or not self.wants_foreign_key())
            and (
                live.db_default is not NOT_PROVIDED or final.db_default is NOT_PROVIDED
            )
        )

    def has_unique(self) -> bool:
        """Return whether the database sees to it that the column is unique."""
        return any(key.kind is Kind.UNIQUE for key in self.keys.find())

    def wants_index(self) -> bool:
        """Return whether the final field has an index that is not unique."""
        final = self.plan.final_field
        return not getattr(final, "spatial_index", False) and bool(
            self.editor._field_should_be_indexed(self.plan.model, final)
        )

    def wants_spatial_index(self) -> bool:
        """Return whether the final field is a geometry with an index."""
        final = self.plan.final_field
        return getattr(final, "spatial_index", False) and bool(
            self.editor._field_indexes_sql(self.plan.model, final)
        )

    def wants_foreign_key(self) -> bool:
        """Return whether the final field has a constraint to another table."""
        return bool(
            self.connection.features.supports_foreign_keys
            and self.plan.final_field.remote_field
            and getattr(self.plan.final_field, "db_constraint", False)
        )

    def is_restored(self, column: LiveColumn) -> bool:
        """Return whether the definition from before an alteration stands."""
        old = self.plan.old_field
        assert old is not None
        live = self.live_field(column)
        has_constraint = bool(getattr(old, "db_constraint", False))
        backwards = replace(
            self.plan, model=self.plan.new_model, new_model=self.plan.model
        )
        return (
            column.null == old.null
            and column.type == type(self)(self.editor, backwards).expected_type()
            and column.has_default == (old.db_default is not NOT_PROVIDED)
            and (old.unique or not live.unique)
            # MySQL indexes a foreign key by itself.
            and (
                has_constraint
                or bool(self.editor._field_indexes_sql(self.plan.model, old))
                or not live.db_index
            )
            and (has_constraint or not getattr(live, "db_constraint", False))
            and self._has_texts_of(old)
        )

    def _has_texts_of(self, field: AnyField) -> bool:
        """Return whether the column has the comment and the collation of a field."""
        live_comment, live_collation = self.live_texts(field)
        if self.connection.features.supports_comments and (live_comment or "") != (
            field.db_comment or ""
        ):
            return False
        collation = getattr(field, "db_collation", None)
        # None stands for the collation of the table, whichever that is.
        return (
            collation == getattr(self.plan.field, "db_collation", None)
            or collation == live_collation
        )

    def live_texts(self, field: AnyField) -> tuple[str | None, str | None]:
        """Return the comment and the collation of the column of a field."""
        introspection = self.connection.introspection
        name = introspection.identifier_converter(field.column)
        with self.connection.cursor() as cursor:
            (info,) = (
                info
                for info in introspection.get_table_description(cursor, self.plan.table)
                if introspection.identifier_converter(info.name) == name
            )
        return getattr(info, "comment", None), info.collation
