"""Random functions over random columns: the values that whole rows give."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

#: More than the first batches have, of ten rows, twenty and forty.
ROWS = 60

COLUMNS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "title": (lambda: models.CharField(max_length=20), lambda n: f"Film {n}"),
    "body": (models.TextField, lambda n: f"Body {n}"),
    "tags": (models.JSONField, lambda n: [n, {"of": n % 3}]),
    "year": (models.IntegerField, lambda n: n % 7),
    "rating": (
        lambda: models.DecimalField(max_digits=6, decimal_places=2),
        lambda n: Decimal(n) / 4,
    ),
    "cover": (lambda: models.BinaryField(null=True), lambda n: bytes([n, 0, 255])),
    "seen": (models.BooleanField, lambda n: n % 2 == 0),
}

KEYS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "integer": (lambda: models.IntegerField(primary_key=True), lambda n: n),
    "text": (
        lambda: models.CharField(max_length=9, primary_key=True),
        lambda n: f"k{n:03}",
    ),
    "uuid": (lambda: models.UUIDField(primary_key=True), lambda n: uuid.UUID(int=n)),
    "decimal": (
        lambda: models.DecimalField(max_digits=6, decimal_places=1, primary_key=True),
        lambda n: Decimal(n) / 2,
    ),
    "composite": (
        lambda: models.CompositePrimaryKey("place", "number"),
        lambda n: (n % 5, n),
    ),
}

#: The ways in which a function gets at the columns of a row, or at all of them.
LOOKS: dict[str, Callable[[Any, str], object]] = {
    "attribute": getattr,
    "vars": lambda row, name: [k for k in vars(row) if k != "_state"],
    "dict": lambda row, name: row.__dict__[name],
    "serializable": lambda row, name: row.serializable_value(name),
    "fields": lambda row, name: [
        field.value_from_object(row) for field in row._meta.concrete_fields
    ],
    "deferred": lambda row, name: row.get_deferred_fields(),
    "state": lambda row, name: sorted(map(str, row.__getstate__().items()))[-1],
    "set": lambda row, name: setattr(row, name, getattr(row, name)),
    "set first": lambda row, name: setattr(row, name, "altered"),
    "studio": lambda row, name: row.studio and row.studio.name,
    "notes": lambda row, name: row.studio and row.studio.notes,
    "studio vars": lambda row, name: row.studio and len(vars(row.studio)),
    "key": lambda row, name: row.pk,
}


@dataclass(frozen=True)
class Look:
    """
    A look of a function at a row.

    Args:
        kind: How it looks, see LOOKS.
        column: At which column.
        begins: The number of the first row at which it looks so.
        step: It looks at each row, each second one, and so on.
    """

    kind: str
    column: str
    begins: int
    step: int

    def take(self, number: int, row: Any) -> object:
        if number < self.begins or number % self.step:
            return "-"
        found = LOOKS[self.kind](row, self.column)
        return bytes(found) if isinstance(found, memoryview) else found


looks = st.builds(
    Look,
    st.sampled_from(["attribute"] * 8 + sorted(LOOKS)),
    st.sampled_from(sorted(COLUMNS)),
    st.sampled_from([1, 1, 4, 12, 31, 59]),
    st.sampled_from([1, 1, 2, 9]),
)


def make_tables(history: History, key: str) -> None:
    make_key, _ = KEYS[key]
    keys: list[tuple[str, Any]] = [("pk" if key == "composite" else "id", make_key())]
    if key == "composite":
        keys.append(("place", models.IntegerField()))
    history.apply(
        migrations.CreateModel(
            "Studio",
            [
                ("id", models.IntegerField(primary_key=True)),
                ("name", models.CharField(max_length=20)),
                ("notes", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            "Movie",
            [
                *keys,
                # By which a function knows its rows, whatever their key is.
                ("number", models.IntegerField()),
                *((name, make()) for name, (make, _) in COLUMNS.items()),
                (
                    "studio",
                    models.ForeignKey("films.Studio", models.CASCADE, null=True),
                ),
            ],
        ),
    )


def fill_tables(history: History, key: str) -> None:
    studio, movie = history.model("Studio"), history.model("Movie")
    alias = history.connection.alias
    QuerySet(studio, using=alias).bulk_create(
        studio(id=number, name=f"Studio {number}", notes=f"Notes {number}")
        for number in range(1, 4)
    )
    _, make_key = KEYS[key]
    QuerySet(movie, using=alias).bulk_create(
        movie(
            number=number,
            studio_id=number % 4 or None,
            **{name: make(number) for name, (_, make) in COLUMNS.items()},
            **(
                {"place": number % 5}
                if key == "composite"
                else {"id": make_key(number)}
            ),
        )
        for number in range(1, ROWS + 1)
    )


@pytest.mark.thorough_on("mysql")
@settings(
    max_examples=15,
    deadline=None,
    # The tables are dropped after each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    key=st.sampled_from(sorted(KEYS)),
    some_looks=st.lists(looks, max_size=5),
    joins=st.booleans(),
    batch_size=st.sampled_from([None, None, 7]),
)
def test_values_are_those_of_whole_rows(
    alias: str,
    key: str,
    some_looks: list[Look],
    joins: bool,
    batch_size: int | None,
) -> None:
    history = History(alias)
    make_tables(history, key)
    try:
        fill_tables(history, key)
        check(history, some_looks, joins, batch_size)
    finally:
        while len(history.migrations) > 0:
            history.unapply()


def check(
    history: History, some_looks: list[Look], joins: bool, batch_size: int | None
) -> None:
    select_related = ["studio"] if joins else []

    def populate(row: Any) -> str:
        number = row.number
        return repr([look.take(number, row) for look in some_looks])

    expected = {row.pk: populate(row) for row in history.rows("Movie")}
    assert len(expected) == ROWS

    with CaptureQueriesContext(history.connection) as queries:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "slug",
                models.TextField(),
                populate,
                select_related=select_related,
                batch_size=batch_size,
            )
        )

    found = dict(history.rows("Movie").values_list("pk", "slug"))
    assert found == expected
    assert count_loads(queries, "films_movie") <= len(COLUMNS) + 1
    if joins:
        assert count_loads(queries, "films_studio") <= 2


def count_loads(queries: CaptureQueriesContext, table: str) -> int:
    """Return in how many queries columns of one row of a table were loaded."""
    return sum(
        f' FROM "{table}" ' in sql and " LIMIT 21" in sql
        for sql in (query["sql"].replace("`", '"') for query in queries)
    )
