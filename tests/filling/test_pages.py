"""Cutting a table into pages by key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from itertools import repeat
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from safefield.filling import pages
from safefield.filling.pages import Page, Pages
from tests.support.history import History

ROWS = 30


@pytest.fixture(autouse=True)
def few_keys_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "KEYS_AHEAD", 12)


@pytest.fixture
def rows(alias: str) -> QuerySet[Any]:
    """Rows with the keys 10, 20, …, 300."""
    history = History(alias)
    history.apply(
        migrations.CreateModel("Movie", [("id", models.AutoField(primary_key=True))])
    )
    model = history.model("Movie")
    model._base_manager.using(alias).bulk_create(
        model(pk=10 * number) for number in range(1, ROWS + 1)
    )
    return QuerySet(model, using=alias)


def walk(found: Pages, sizes: Iterator[int], after: Any = None) -> list[Page]:
    """Return the pages of these sizes that are behind `after`."""
    cut = [found.find(after, next(sizes))]
    while cut[-1].last is not None:
        cut.append(found.find(cut[-1].last, next(sizes)))
    return cut


@pytest.mark.parametrize("size", [1, 3, 4, 6, 7, 12, 29, 30, 31])
def test_every_row_is_in_one_page(rows: QuerySet[Any], size: int) -> None:
    cut = walk(Pages(rows), repeat(size))

    keys = [
        list(page.bound(rows).order_by("pk").values_list("pk", flat=True))
        for page in cut
    ]
    every = [10 * number for number in range(1, ROWS + 1)]
    whole = [every[start : start + size] for start in range(0, ROWS, size)]
    assert keys == (whole if ROWS % size else [*whole, []])
    assert [page.size for page in cut] == [size] * len(cut)


def test_sizes_may_change(rows: QuerySet[Any]) -> None:
    assert walk(Pages(rows), iter([1, 2, 4, 8, 16, 3])) == [
        Page(None, 10, 1),
        Page(10, 30, 2),
        Page(30, 70, 4),
        Page(70, 150, 8),
        Page(150, None, 16),
    ]


def test_a_page_may_end_where_it_was_cut_short(rows: QuerySet[Any]) -> None:
    found = Pages(rows)

    assert found.find(None, 5) == Page(None, 50, 5)
    assert found.find(20, 5) == Page(20, 70, 5)
    # The row was inserted since the keys were looked up.
    assert found.find(35, 5) == Page(35, 80, 5)


def test_many_pages_take_one_query(rows: QuerySet[Any]) -> None:
    with CaptureQueriesContext(connections[rows.db]) as queries:
        walk(Pages(rows), repeat(4))

    # 12 keys from the first row, from 120 and from 240, where they end, and once
    # more behind 280, whether anything came since.
    assert len(queries) == 4


@pytest.fixture
def dense_rows(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Rows with the keys 101, 102, …, 150 behind the others below 100."""
    rows.filter(pk__gt=100).delete()
    rows.bulk_create(rows.model(pk=number) for number in range(101, 151))
    return rows


def test_keys_without_a_gap_are_counted(dense_rows: QuerySet[Any]) -> None:
    found = Pages(dense_rows)
    with CaptureQueriesContext(connections[dense_rows.db]) as queries:
        cut = walk(found, repeat(4), 100)

    full = [Page(after, after + 4, 4) for after in range(100, 148, 4)]
    assert cut == [*full, Page(148, None, 4)]
    # 12 keys from 101 and, three times, the one that ends the next 12; behind 148 it
    # is not there, so the last two are looked up.
    limits = [query["sql"].partition("LIMIT ")[2] for query in queries]
    assert limits == ["12", *["1 OFFSET 11"] * 4, "12"]


@pytest.mark.parametrize("gone", [101, 112, 113, 124, 125, 130, 150])
def test_a_gap_among_keys_without_one(dense_rows: QuerySet[Any], gone: int) -> None:
    dense_rows.filter(pk=gone).delete()

    cut = walk(Pages(dense_rows), repeat(4))

    sizes = [page.bound(dense_rows).count() for page in cut]
    keys = [
        pk
        for page in cut
        for pk in page.bound(dense_rows).order_by("pk").values_list("pk", flat=True)
    ]
    assert keys == list(dense_rows.order_by("pk").values_list("pk", flat=True))
    assert sizes == [4] * 14 + [3]


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        (models.UUIDField(primary_key=True), [uuid.UUID(int=n) for n in range(1, 31)]),
        (
            models.CharField(max_length=9, primary_key=True),
            [f"{n:02}" for n in range(1, 31)],
        ),
        (
            models.DecimalField(max_digits=9, decimal_places=1, primary_key=True),
            [n + Decimal("0.5") * (n % 2) for n in range(1, 31)],
        ),
    ],
    ids=["uuid", "text", "decimal"],
)
def test_keys_that_are_no_integers(alias: str, key: Any, keys: list[Any]) -> None:
    """Fails if they are counted, or if one is taken from another."""
    history = History(alias)
    history.apply(migrations.CreateModel("Movie", [("id", key)]))
    model = history.model("Movie")
    rows: QuerySet[Any] = QuerySet(model, using=alias)
    rows.bulk_create(model(pk=key) for key in keys)

    cut = walk(Pages(rows), repeat(4))

    assert [page.last for page in cut] == [*keys[3::4], None]


def test_rows_that_come_and_go_meanwhile(rows: QuerySet[Any]) -> None:
    found = Pages(rows)
    first = found.find(None, 4)
    rows.filter(pk__in=[50, 80]).delete()
    rows.create(pk=75)
    rows.create(pk=305)

    rest = walk(found, repeat(4), first.last)

    keys = [
        pk
        for page in [first, *rest]
        for pk in page.bound(rows).order_by("pk").values_list("pk", flat=True)
    ]
    assert keys == list(rows.order_by("pk").values_list("pk", flat=True))
