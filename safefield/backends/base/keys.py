"""Indexes and constraints on one column alone, and which of them are Django's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple

from django.db.backends.utils import strip_quotes
from django.db.models import Index

from safefield.backends.base.sql import find_column_names
from safefield.fields import AnyField
from safefield.plan import Plan

#: How the names end that Django gives to what a field has: a hash, and a suffix for
#: PostgreSQL's LIKE, for PostGIS, and for the index that MySQL makes for a foreign key.
DJANGOS_NAME = re.compile(r"_[0-9a-f]{8}(_like|_id|_fk.*)?\Z")


class Kind(Enum):
    """What a key does, of all rows of the table."""

    UNIQUE = "unique"
    INDEX = "index"
    LIKE = "like"
    SPATIAL = "spatial"
    FOREIGN_KEY = "foreign key"


class Key(NamedTuple):
    """An index or a constraint on one column, of a kind that Django makes."""

    name: str
    kind: Kind
    #: False for an index that is unique by itself, where the database tells it from a
    #: constraint.
    is_constraint: bool = True
    #: Table and column that a foreign key refers to.
    target: tuple[Any, Any] | None = None

    @property
    def has_djangos_name(self) -> bool:
        """Whether Django gave it its name; other indexes are somebody's own."""
        return DJANGOS_NAME.search(self.name) is not None


class Keys:
    """
    The keys on the column of a plan.

    What somebody made in another way (partial, by an expression, in another order or
    collation, of another method, deferrable, over more columns) is not among them.
    """

    def __init__(self, editor: Any, plan: Plan) -> None:
        self.editor = editor
        self.connection: Any = editor.connection
        self.plan = plan

    def find(self) -> list[Key]:
        """Return all keys that the catalogue has on this column alone."""
        introspection = self.connection.introspection
        name = introspection.identifier_converter(self.plan.field.column)
        with self.connection.cursor() as cursor:
            found = introspection.get_constraints(cursor, self.plan.table)
        keys = []
        for key, constraint in found.items():
            if constraint["columns"] != [name] or constraint["primary_key"]:
                continue
            if constraint["foreign_key"]:
                target = tuple(constraint["foreign_key"])
                keys.append(Key(key, Kind.FOREIGN_KEY, target=target))
            elif constraint["unique"]:
                keys.append(Key(key, Kind.UNIQUE))
            elif (
                constraint["index"]
                and constraint.get("type") in (None, Index.suffix)
                and "DESC" not in constraint.get("orders", [])
            ):
                keys.append(Key(key, Kind.INDEX))
        return keys

    def find_own(self) -> list[Key]:
        """Return the keys but for those in the Meta of the model."""
        options = self.plan.model._meta
        named = {item.name for item in (*options.constraints, *options.indexes)}
        return [key for key in self.find() if key.name not in named]

    def find_foreign_keys(self) -> list[Key]:
        """Return the foreign keys that refer to what the field refers to."""
        if self.plan.field.remote_field is None:
            return []
        target = self.get_target(self.plan.field)
        found = [key for key in self.find_own() if key.target]
        same = [key for key in found if key.target == target]
        # A later migration, of another app, may have given it another name.
        return same if same or not found or self.has_target() else found

    def has_target(self) -> bool:
        """Return whether what a foreign key is to refer to is there by its name."""
        target = self.plan.field.target_field
        table = target.model._meta.db_table
        return self.has_table(table) and target.column in find_column_names(
            self.connection, table
        )

    def has_table(self, table: str) -> bool:
        """Return whether a table is there; its name may have quotes already."""
        return strip_quotes(table) in self.connection.introspection.table_names()

    def get_target(self, field: AnyField) -> tuple[Any, Any] | None:
        """Return what a foreign key of `field` refers to, spelled as Key.target."""
        if field is None or field.remote_field is None:
            return None
        converter = self.connection.introspection.identifier_converter
        target = field.target_field
        return converter(target.model._meta.db_table), converter(target.column)

    def counts_as_index(self, key: Key) -> bool:
        """Return whether a key is the index that db_index=True asks for."""
        old = self.plan.old_field
        # Django makes no other one where there was one before, whoever made it.
        was_indexed = old is not None and old.db_index and not old.unique
        return key.kind is Kind.INDEX and (key.has_djangos_name or was_indexed)

    def find_leftover(self, wanted: Sequence[str]) -> list[str]:
        """Return the indexes that an altered column had, less those wanted, by name."""
        old, final = self.plan.old_field, self.plan.final_field
        kinds = set()
        if old is not None and old.db_index and not old.unique:
            kinds |= {Kind.INDEX, Kind.LIKE}
        if getattr(old, "spatial_index", False) and not final.spatial_index:
            kinds |= {Kind.SPATIAL}
        if not kinds:
            return []
        return [
            key.name
            for key in self.find_own()
            if key.kind in kinds
            and (key.has_djangos_name or key.kind is Kind.SPATIAL)
            and key.name not in wanted
        ]

    @contextmanager
    def keep_others(self) -> Iterator[None]:
        """Let alter_field() drop nothing but what Django made for this field."""
        find_names = self.editor._constraint_names
        column = self.plan.field.column
        targets = {
            self.get_target(self.plan.field),
            self.get_target(self.plan.old_field),
        }
        own = {
            key.name
            for key in self.find_own()
            if (key.has_djangos_name or key.kind in (Kind.UNIQUE, Kind.FOREIGN_KEY))
            and (key.target is None or key.target in targets)
        }

        def find_own_names(
            model: Any, column_names: Any = None, **options: Any
        ) -> list[str]:
            names: list[str] = find_names(model, column_names, **options)
            if column_names != [column] or options.get("check"):
                return names
            return [name for name in names if name in own]

        self.editor._constraint_names = find_own_names
        try:
            yield
        finally:
            del self.editor._constraint_names
