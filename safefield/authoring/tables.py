"""Which operations take the name of a table, and which free one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.operations import (
    AddField,
    AlterField,
    AlterModelTable,
    CreateModel,
    DeleteModel,
    RemoveField,
)
from django.db.migrations.state import ModelState

from safefield.authoring.clashes import Models
from safefield.authoring.nodes import Key, Node


def takes_table(models: Models, node: Node, other: Node) -> bool:
    """Return whether a table is to have a name that `other` frees."""
    if not isinstance(
        node.operation, (CreateModel, AlterModelTable, AddField, AlterField)
    ):
        return False
    return not set(_list_freed(models, other)).isdisjoint(_list_taken(models, node))


def _list_freed(models: Models, node: Node) -> Iterator[str]:
    operation, model = node.operation, models.before.get(node.key)
    if isinstance(operation, (DeleteModel, AlterModelTable)):
        yield from _list_of_model(node.key, model)
    elif isinstance(operation, (AlterField, RemoveField)):
        field = models.find_old_field(node.key, operation.name)
        yield from _list_of_relation(node.key, model, operation.name, field)


def _list_taken(models: Models, node: Node) -> Iterator[str]:
    operation, model = node.operation, models.after.get(node.key)
    if isinstance(operation, (CreateModel, AlterModelTable)):
        yield from _list_of_model(node.key, model)
    else:
        yield from _list_of_relation(node.key, model, operation.name, operation.field)


def _list_of_model(key: Key, model: ModelState | None) -> Iterator[str]:
    """Yield the tables of a model, in lower case: that of its rows, its relations'."""
    table = _find_table(key, model)
    if model is not None and table is not None:
        yield table.lower()
        for name, field in model.fields.items():
            yield from _list_of_relation(key, model, name, field)


def _list_of_relation(
    key: Key, model: ModelState | None, name: str, field: Any
) -> Iterator[str]:
    table = find_relation_table(key, model, name, field)
    if table is not None:
        yield table.lower()


def _find_table(key: Key, model: ModelState | None) -> str | None:
    """Return the table of a model; None if it makes none."""
    if model is None or model.options.get("proxy"):
        return None
    if not model.options.get("managed", True):
        return None
    return str(model.options.get("db_table") or f"{key[0]}_{model.name_lower}")


def find_relation_table(
    key: Key, model: ModelState | None, name: str, field: Any
) -> str | None:
    """Return the table that Django makes for a relation; None if it makes none."""
    if field is None or not field.many_to_many or field.remote_field.through:
        return None
    table = _find_table(key, model)
    return table and str(field.db_table or f"{table}_{name}")
