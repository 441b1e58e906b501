"""Read the values of rows by key, and find rows that share one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from django.db import connections
from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import DenseRank
from django.db.models.lookups import In

from safefield.backends.base.schema import Schema

#: What is found: the primary key of a row and its value.
Found = tuple[Any, Any]

Item = TypeVar("Item")


class Loser(NamedTuple):
    """
    A row that must give way.

    Args:
        group (tuple): The values of the other columns that are unique together with it.
    """

    key: Any
    value: Any
    group: tuple[Any, ...]


# The hyphen in the names of annotations keeps them from meeting a field's.


def read_values(rows: QuerySet[Any, Any], column: str) -> Iterator[Found]:
    """Return the key of each row, a tuple if it is composite, and its value."""
    # By the parts of the key: Django loses some of "pk" behind a window.
    for *key, value in rows.values_list(*key_names(rows), column).iterator():
        yield join_key(key), value


def lock_rows(rows: QuerySet[Any, Any], **options: Any) -> QuerySet[Any, Any]:
    """Return `rows`, to be read in a transaction that keeps others from them."""
    features = connections[rows.db].features
    if not features.has_select_for_update:
        return rows
    no_key = features.has_select_for_no_key_update
    return rows.select_for_update(no_key=no_key, **options)


def lock_unchanged(schema: Schema, values: Mapping[Any, Any]) -> list[Any]:
    """
    Lock rows, and return the keys of those whose value is what was found.

    Args:
        values (Mapping[Any, Any]): What was found, by primary key.
    """
    locked = lock_rows(schema.rows().filter(pk__in=list(values)))
    found = read_values(locked, schema.plan.field.attname)
    return [key for key, value in found if is_same(schema, value, values[key])]


def is_same(schema: Schema, one: Any, other: Any) -> bool:
    """Return whether two values that were read from the column were the same there."""
    try:
        # A class of the project's own need not know which of its objects are equal.
        first, second = (
            schema.plan.field.get_db_prep_save(value, schema.connection)
            for value in (one, other)
        )
        return bool(first == second or one == other)
    except Exception:
        # Arrays of NumPy are equal in some items.
        return False


def join_key(parts: Sequence[Any]) -> Any:
    """Return a primary key as Django has it."""
    return parts[0] if len(parts) == 1 else tuple(parts)


def sort_by_key(
    items: Iterable[Item], get_key: Callable[[Item], Any] = lambda item: item
) -> list[Item]:
    """Return `items` by primary key; as they come if the keys have no order."""
    found = list(items)
    try:
        return sorted(found, key=get_key)
    except TypeError:
        # Objects of the project's own need not have one, nor have Django's files.
        return found


def key_names(rows: QuerySet[Any, Any]) -> list[str]:
    """Return the names of the parts of the primary key."""
    return [field.attname for field in rows.model._meta.pk_fields]


def rows_with_values(schema: Schema) -> QuerySet[Any, Any]:
    """Return the rows that can share a value: those with one in each column."""
    # As SQL has it: what is NULL in one of the columns is equal to nothing.
    values = {f"{name}__isnull": False for name in schema.plan.unique_columns}
    return schema.rows().order_by().filter(**values)


def has_sharing_rows(schema: Schema) -> bool:
    """Return whether two rows share what is to be unique."""
    columns = schema.plan.unique_columns
    # Of several columns not every database counts the different ones.
    if len(columns) > 1 or not schema.counts_distinct_quickly:
        return shared_values(schema).exists()
    counts = {
        "safefield-all": Count(columns[0]),
        "safefield-distinct": Count(columns[0], distinct=True),
    }
    total, distinct = rows_with_values(schema).aggregate(**counts).values()
    return bool(total != distinct)


def shared_values(schema: Schema) -> QuerySet[Any, Any]:
    """Return the values that more than one row has."""
    shared: QuerySet[Any, Any] = (
        rows_with_values(schema)
        .values(*schema.plan.unique_columns)
        .annotate(**{"safefield-rows": Count("*")})
        .filter(**{"safefield-rows__gt": 1})
    )
    return shared


def sharing_rows(schema: Schema) -> QuerySet[Any, Any]:
    """Return the rows that share their value with another one."""
    rows, columns = rows_with_values(schema), schema.plan.unique_columns
    if len(columns) > 1 or schema.counts_in_windows:
        number = Window(Count("*"), partition_by=list(map(F, columns)))
        counted: QuerySet[Any, Any] = rows.annotate(**{"safefield-rows": number})
        return counted.filter(**{"safefield-rows__gt": 1})
    # Not by name: JSONField's own lookup finds nothing in a query.
    return rows.filter(In(F(columns[0]), shared_values(schema).values(columns[0])))


def find_losers(schema: Schema, gives_way: Callable[[Any], bool]) -> list[Loser]:
    """
    Return the rows that must give way to another one with the same value.

    Args:
        gives_way (Callable[[Any], bool]): Says of a key that its row gives way to
            those of which it is not said. Among equals the earliest key keeps
            the value.
    """
    columns = schema.plan.unique_columns
    rows = sharing_rows(schema)
    keys = key_names(rows)
    rank = Window(DenseRank(), order_by=[F(column).asc() for column in columns])
    sharing = (
        rows.annotate(**{"safefield-group": rank})
        .order_by("safefield-group", *keys)
        .values_list("safefield-group", *columns, *keys)
    )
    end = 1 + len(columns)
    losers: list[Loser] = []
    for _, group in groupby(sharing.iterator(), key=itemgetter(0)):
        members = [(join_key(row[end:]), row[1:end]) for row in group]
        # sort() keeps the order by key among equals.
        members.sort(key=lambda found: gives_way(found[0]))
        # As the first row spells it: the database takes the others for the same.
        shared_with = members[0][1][1:]
        losers += [Loser(key, value, shared_with) for key, (value, *_) in members[1:]]
    return losers
