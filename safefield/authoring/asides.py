"""How a field that goes makes room for one that comes, and can be read meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from django.db.migrations.operations import AlterField, RemoveField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models.fields.proxy import OrderWrt

from safefield.authoring.clashes import COLUMN, NAME, REVERSE, Models, Spot
from safefield.authoring.columns import get_column, rebuild_field
from safefield.authoring.tables import find_relation_table


@dataclass(frozen=True)
class Aside:
    """What is done with one field that goes."""

    #: They give it another name, column or accessor.
    operations: list[Operation]
    #: Its name from then on.
    name: str
    #: What the author of a function has to know.
    sentence: str


def set_aside(models: Models, spot: Spot, clashes: AbstractSet[str]) -> Aside | None:
    """
    Return how a field that goes can stay until it has been read; None if it cannot.
    """
    field: Any = spot.field
    is_fixed = field.primary_key or field.generated or isinstance(field, OrderWrt)
    if is_fixed and clashes - {REVERSE}:
        return None
    name, forms = spot.name, []
    if REVERSE in clashes:
        assert spot.target is not None
        accessor = models.find_free_name(spot.accessor or "", spot.target)
        field = rebuild_field(field, related_name=accessor, related_query_name=None)
        forms.append(f"leads back as {accessor}")
    if NAME in clashes:
        name = models.find_free_name(spot.name, spot.key)
        forms.append(f"is called {name}")
    # Without a clash it keeps its column: then nothing is changed in the database, and
    # the old code runs on.
    if COLUMN in clashes and (NAME not in clashes or field.db_column):
        free = models.find_free_name(field.db_column or spot.name, spot.key)
        field = rebuild_field(field, db_column=free)
    elif NAME in clashes and COLUMN not in clashes and spot.column:
        field = rebuild_field(field, db_column=get_column(field, spot.name))
    sentence = ""
    if forms:
        end = "removed" if spot.names else "altered"
        title = f"{models.before[spot.key].name}.{spot.name}"
        sentence = f"{title} {' and '.join(forms)} until it is {end}."
    return Aside(list(_list_operations(models, spot, field, name)), name, sentence)


def _list_operations(
    models: Models, spot: Spot, field: Any, name: str
) -> Iterator[Operation]:
    """Yield what makes another field, of another name, of one that goes."""
    model_name = spot.key[1]
    if field is not spot.field:
        yield AlterField(model_name, spot.name, field)
    if name == spot.name:
        return
    yield RenameField(model_name, spot.name, name)
    before = models.before[spot.key]
    table = find_relation_table(spot.key, before, spot.name, spot.field)
    # A longer one is cut, each database in its way.
    if table is not None and not field.db_table and len(table) <= 60:
        # Behind the new name, or Django's optimizer puts it there.
        yield AlterField(model_name, name, rebuild_field(field, db_table=table))


def rename_removal(removal: Operation, name: str) -> Operation:
    """Return the removal of a field under the name that it has by then."""
    if not isinstance(removal, RemoveField) or removal.name == name:
        return removal
    renamed: Any = RemoveField(removal.model_name, name)
    renamed._auto_deps = removal._auto_deps  # type: ignore[attr-defined] # set by add_operation()
    return renamed  # type: ignore[no-any-return]
