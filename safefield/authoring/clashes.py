"""Which fields that go cannot stand beside which fields that come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.migrations.operations import (
    AddField,
    AlterField,
    AlterOrderWithRespectTo,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
)
from django.db.migrations.state import ModelState
from django.db.migrations.utils import resolve_relation
from django.db.models import ForeignKey
from django.db.models.fields.proxy import OrderWrt

from safefield.authoring.columns import get_column
from safefield.authoring.nodes import Key, Node

#: In what two fields clash: the name within a model, its parents and its children;
#: the column; the name by which a related object leads back.
NAME, COLUMN, REVERSE = "name", "column", "reverse"


@dataclass(frozen=True)
class Spot:
    """One field of one model."""

    #: The model, by the name that it ends with.
    key: Key
    name: str
    field: Any
    #: What it takes of the names of the model.
    names: frozenset[str] = frozenset()
    #: The column that it has or takes, in lower case.
    column: str | None = None
    #: The model that it leads to; None if it leads nowhere.
    target: Key | None = None
    #: The name by which a related object leads back, in lower case; None if it does
    #: not.
    accessor: str | None = None


class Models:
    """The models before and after, by the names that they end with."""

    def __init__(self, autodetector: Any) -> None:
        self._new_names: dict[Key, str] = {
            (app_label, old): new
            for (app_label, new), old in autodetector.renamed_models.items()
        }
        self.before: dict[Key, ModelState] = {
            self._rename(key): model
            for key, model in autodetector.from_state.models.items()
        }
        self.after: dict[Key, ModelState] = autodetector.to_state.models
        self._ancestors: dict[Key, set[Key]] = {}
        self._kin: dict[Key, set[Key]] = {}

    def _rename(self, key: Key) -> Key:
        return key[0], self._new_names.get(key, key[1])

    def find_old_field(self, key: Key, name: str) -> Any:
        """Return a field from before by its name of then; None if there is none."""
        return self.before[key].fields.get(name) if key in self.before else None

    def find_kin(self, key: Key) -> set[Key]:
        """Return the model, its parents and its children, near and far."""
        if key not in self._kin:
            children = {
                other
                for other in {*self.before, *self.after}
                if key in self._find_ancestors(other)
            }
            self._kin[key] = {key} | self._find_ancestors(key) | children
        return self._kin[key]

    def _find_ancestors(self, key: Key) -> set[Key]:
        if key not in self._ancestors:
            model = self.before.get(key) or self.after.get(key)
            parents = {
                self._rename(resolve_relation(base))
                for base in (model.bases if model else ())
                if isinstance(base, str) and "." in base
            }
            self._ancestors[key] = parents.union(*map(self._find_ancestors, parents))
        return self._ancestors[key]

    def _make_spot(self, key: Key, name: str, field: Any, model: ModelState) -> Spot:
        """Return a field that has its name, its column and its reverse name."""
        # Lower case: to SQLite, MySQL and Django's optimizer the case makes no
        # difference.
        names = {name.lower()}
        if isinstance(field, ForeignKey):
            names.add(f"{name}_id".lower())
        column = get_column(field, name)
        target = None
        if field.remote_field is not None and field.remote_field.model:
            target = resolve_relation(field.remote_field.model, *key)
            if model is not self.after.get(key):
                target = self._rename(target)
        return Spot(
            key,
            name,
            field,
            frozenset(names),
            column and column.lower(),
            target,
            find_accessor(key, field, model) if target is not None else None,
        )

    def is_referred_to(self, spot: Spot) -> bool:
        """Return whether a foreign key refers to a field by its name."""
        return any(
            getattr(field.remote_field, "field_name", None) == spot.name
            and self._make_spot(key, name, field, model).target == spot.key
            for models in (self.before, self.after)
            for key, model in models.items()
            for name, field in model.fields.items()
            if field.remote_field is not None
        )

    # What operations take and give

    def list_removed(self, node: Node) -> list[Spot]:
        """Return the fields that an operation takes, or what it takes of them."""
        key, operation = node.key, node.operation
        if isinstance(operation, AlterField):
            old, _ = self._compare(node)
            return [old] if old is not None and (old.target or old.column) else []
        if isinstance(operation, AlterOrderWithRespectTo):
            return [self._make_order(key)] if self._is_ordered(key) == (1, 0) else []
        if not isinstance(operation, (RemoveField, DeleteModel)):
            return []
        if key not in self.before:
            return []
        is_removal = isinstance(operation, RemoveField)
        return [
            self._make_spot(key, name, field, self.before[key])
            for name, field in self.before[key].fields.items()
            # Relations of a deleted model have a RemoveField of their own.
            if (name == operation.name if is_removal else not field.is_relation)
        ]

    def list_given(self, node: Node) -> list[Spot]:
        """Return the fields for which an operation takes a name or a column."""
        key, operation = node.key, node.operation
        if isinstance(operation, AlterField):
            _, new = self._compare(node)
            return [new] if new is not None and (new.target or new.column) else []
        if isinstance(operation, AlterOrderWithRespectTo):
            return [self._make_order(key)] if self._is_ordered(key) == (0, 1) else []
        if isinstance(operation, CreateModel):
            return [
                self._make_spot(key, name, field, self.after[key])
                for name, field in operation.fields
            ]
        if isinstance(operation, AddField):
            field: Any = operation.field
            return [self._make_spot(key, operation.name, field, self.after[key])]
        if isinstance(operation, RenameField) and key in self.after:
            name, model = operation.new_name, self.after[key]
            if name in model.fields:
                new = self._make_spot(key, name, model.fields[name], model)
                return [replace(new, target=None, accessor=None)]
        return []

    def _compare(self, node: Node) -> tuple[Spot | None, Spot | None]:
        """Return an altered field before and after, without what stays as it is."""
        key, operation = node.key, node.operation
        field = self.find_old_field(key, operation.name)
        if field is None or key not in self.after:
            return None, None
        old = self._make_spot(key, operation.name, field, self.before[key])
        new = self._make_spot(key, operation.name, operation.field, self.after[key])
        same: dict[str, Any] = {"names": frozenset()}
        if (old.target, old.accessor) == (new.target, new.accessor):
            same.update(target=None, accessor=None)
        # The column of a backfill has been moved already.
        is_moved = old.column and new.column and not node.is_backfill
        if not is_moved or old.column == new.column:
            same["column"] = None
        return replace(old, **same), replace(new, **same)

    def _is_ordered(self, key: Key) -> tuple[bool, bool]:
        """Return whether a model has _order, before and after."""
        before, after = (
            key in models and bool(models[key].options.get("order_with_respect_to"))
            for models in (self.before, self.after)
        )
        return before, after

    def _make_order(self, key: Key) -> Spot:
        return Spot(key, "_order", OrderWrt(), frozenset({"_order"}), "_order")

    # What clashes

    def find_clashes(self, old: Spot, new: Spot) -> set[str]:
        """Return in what a field that goes and one that comes clash."""
        clashes = set()
        if new.key in self.find_kin(old.key) and old.names & new.names:
            clashes.add(NAME)
        if old.key == new.key and old.column and old.column == new.column:
            clashes.add(COLUMN)
        # The new one leads back by the name of the old one.
        if new.accessor in old.names and new.target in self.find_kin(old.key):
            clashes.add(NAME)
        if old.accessor is not None and old.target is not None:
            kin = self.find_kin(old.target)
            if new.key in kin and old.accessor in new.names:
                clashes.add(REVERSE)
            if new.target in kin and old.accessor == new.accessor:
                clashes.add(REVERSE)
        return clashes

    def find_free_name(self, wanted: str, key: Key) -> str:
        """Return a name that nothing has in a model, its parents and its children."""
        taken = set(self._find_names(self.find_kin(key)))
        # PostgreSQL cuts what is longer than 63 bytes.
        stem = f"old_{wanted.strip('_')}"[:50].rstrip("_")
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        return name

    def _find_names(self, kin: set[Key]) -> Iterator[str]:
        for models in (self.before, self.after):
            for key, model in models.items():
                for name, field in model.fields.items():
                    spot = self._make_spot(key, name, field, model)
                    if key in kin:
                        yield from spot.names
                    if spot.target in kin:
                        yield spot.accessor or ""


def find_accessor(key: Key, field: Any, model: ModelState) -> str | None:
    """Return the name by which a related object leads back; None if it does not."""
    # A relation to itself leads back by the name of the field.
    if field.many_to_many and field.remote_field.symmetrical:
        return None
    name = field.remote_field.related_name
    name = name or model.options.get("default_related_name")
    if name is None:
        return model.name_lower + ("" if field.one_to_one else "_set")
    if name.endswith("+"):
        return None
    replacements = {
        "class": model.name_lower,
        "model_name": model.name_lower,
        "app_label": key[0].lower(),
    }
    return str(name % replacements).lower()
