"""Cutting a table into pages by key."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import QuerySet

from safefield.filling.key_pages import Page, cut, find_page
from tests.support.history import History

ROWS = 30


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


def get_keys(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("size", [1, 3, 4, 6, 7, 12, 29, 30, 31])
def test_every_row_is_in_one_page(rows: QuerySet[Any], size: int) -> None:
    pages = list(cut(rows, size))

    every = [10 * number for number in range(1, ROWS + 1)]
    whole = [every[start : start + size] for start in range(0, ROWS, size)]
    assert [get_keys(page.bound(rows)) for page in pages] == (
        whole if ROWS % size else [*whole, []]
    )
    assert [page.size for page in pages] == [size] * len(pages)


def test_sizes_may_change(rows: QuerySet[Any]) -> None:
    assert find_page(rows, None, 1) == Page(None, 10, 1)
    assert find_page(rows, 10, 4) == Page(10, 50, 4)
    assert find_page(rows, 50, 25) == Page(50, 300, 25)
    assert find_page(rows, 50, 26) == Page(50, None, 26)


def test_a_page_may_begin_anywhere(rows: QuerySet[Any]) -> None:
    assert find_page(rows, 20, 5) == Page(20, 70, 5)
    # The row was deleted since.
    assert find_page(rows, 35, 5) == Page(35, 80, 5)


def test_no_page_goes_beyond_the_end(rows: QuerySet[Any]) -> None:
    page = find_page(rows, 270, 2, end=280)

    assert page == Page(270, None, 2, end=280)
    assert get_keys(page.bound(rows)) == [280]


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
    history = History(alias)
    history.apply(migrations.CreateModel("Movie", [("id", key)]))
    model = history.model("Movie")
    rows: QuerySet[Any] = QuerySet(model, using=alias)
    rows.bulk_create(model(pk=key) for key in keys)

    assert [page.last for page in cut(rows, 4)] == [*keys[3::4], None]


def test_rows_that_come_and_go_meanwhile(rows: QuerySet[Any]) -> None:
    pages = cut(rows, 4)
    first = next(pages)
    rows.filter(pk__in=[50, 80]).delete()
    rows.create(pk=75)
    rows.create(pk=305)

    keys = [key for page in [first, *pages] for key in get_keys(page.bound(rows))]
    assert keys == get_keys(rows)
