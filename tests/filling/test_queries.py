"""populate that makes a query for each row."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.db import migrations, models
from django.test.utils import CaptureQueriesContext

from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

COUNTRY = migrations.CreateModel(
    "Country",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20)),
    ],
)
AUTHOR = migrations.CreateModel(
    "Author",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("country", models.ForeignKey("films.Country", models.CASCADE)),
    ],
)
BOOK = migrations.CreateModel(
    "Book",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("author", models.ForeignKey("films.Author", models.CASCADE)),
    ],
)
ROWS = 60

#: From Django 6.1 on, rows of one query fetch their relations together.
needs_help = pytest.mark.skipif(
    django.VERSION >= (6, 1), reason="FETCH_PEERS leaves nothing to warn about"
)


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    history.apply(COUNTRY, AUTHOR, BOOK)
    for number in range(ROWS):
        country = history.rows("Country").create(name=f"Country {number}")
        author = history.rows("Author").create(country_id=country.pk)
        history.rows("Book").create(author_id=author.pk)
    return history


def country_of(book: Any) -> str:
    name: str = book.author.country.name
    return name


def country_of_id(book: Any) -> str:
    return f"Country {book.author_id}"


def look_up(book: Any, apps: Any) -> str:
    authors = apps.get_model("films", "Author").objects.using(book._state.db)
    return str(authors.get(pk=book.author_id).country_id)


def add(populate: Any, **options: Any) -> AddFieldWithBackfill:
    field = models.CharField(max_length=20)
    # However slow the machine is, a batch has rows enough for its queries to be told.
    options = {"batch_size": 20, **options}
    return AddFieldWithBackfill("Book", "country", field, populate, **options)


@needs_help
def test_names_the_relations(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.apply(add(country_of))

    assert caplog.messages == [
        "country_of() makes a query for each row, for row.author and "
        "row.author.country. Add select_related=['author', 'author__country'] to the "
        "operation, and one query will do for a whole batch."
    ]


@needs_help
def test_names_what_select_related_leaves_out(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.apply(add(country_of, select_related=["author"]))

    assert caplog.messages == [
        "country_of() makes a query for each row, for row.author.country. Add "
        "select_related=['author__country'] to the operation, and one query will do "
        "for a whole batch."
    ]


@pytest.mark.parametrize(
    ("populate", "options"),
    [
        pytest.param(country_of, {"select_related": ["author__country"]}, id="joined"),
        pytest.param(
            country_of, {"prefetch_related": ["author__country"]}, id="prefetched"
        ),
        pytest.param(country_of_id, {}, id="no relation"),
        # What it looks up for each row is for the developer to know.
        pytest.param(look_up, {}, id="a query of its own"),
    ],
)
def test_is_silent(
    history: History, caplog: pytest.LogCaptureFixture, populate: Any, options: Any
) -> None:
    history.apply(add(populate, **options))

    assert caplog.messages == []


def test_relations_of_a_batch_take_one_query_each(history: History) -> None:
    is_old = django.VERSION < (6, 1)
    options = {"select_related": ["author__country"]} if is_old else {}

    with CaptureQueriesContext(history.connection) as queries:
        history.apply(add(country_of, **options, batch_size=ROWS))

    # One for each row and relation would be twice as many, and those of the steps.
    assert len(queries) < 2 * ROWS
