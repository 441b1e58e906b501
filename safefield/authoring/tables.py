"""Which operations take the name of a table, and which free one."""

from __future__ import annotations

from collections.abc import Iterable
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
from safefield.authoring.nodes import Key, Node, find_needed_by_backfills
from safefield.exceptions import SafefieldError

_FREEING = (AlterField, AlterModelTable, DeleteModel, RemoveField)
_TAKING = (AddField, AlterField, AlterModelTable, CreateModel)


def takes_table(models: Models, node: Node, other: Node) -> bool:
    """Return whether a table is to have a name that `other` frees."""
    if not isinstance(node.operation, _TAKING):
        return False
    if not isinstance(other.operation, _FREEING):
        return False
    freed = _list_tables(other, models.before.get(other.key))
    return not freed.isdisjoint(_list_tables(node, models.after.get(node.key)))


def refuse_taken_tables(models: Models, nodes: Iterable[Node]) -> None:
    """Refuse to delete the rows of a table before a function can read them."""
    for new in find_needed_by_backfills(nodes):
        for old in new.needs:
            if isinstance(old.operation, DeleteModel) and takes_table(models, new, old):
                raise SafefieldError(
                    f"No migration was written. Model {new.operation.name} has the "
                    f"table of model {old.operation.name}, which is deleted, and a "
                    f"backfill needs {new.operation.name}: the rows of "
                    f"{old.operation.name} would be gone before it reads them. "
                    f"Keep {old.operation.name} and give it another table "
                    f"(db_table), run makemigrations, then delete it and run "
                    f"makemigrations again."
                )


def _list_tables(node: Node, model: ModelState | None) -> set[str]:
    """Return the tables of a model or of a relation, in lower case."""
    if model is None:
        return set()
    tables, names = [_find_table(node.key, model)], list(model.fields)
    if isinstance(node.operation, (AddField, AlterField, RemoveField)):
        tables, names = [], [node.operation.name]
    tables += [
        find_relation_table(node.key, model, name, model.fields.get(name))
        for name in names
    ]
    return {table.lower() for table in tables if table is not None}


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
