"""With DEBUG Django keeps the statements of a connection: not those of a run."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext

from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import add_slug
from tests.support.movies import create_movies


@pytest.fixture
def history(alias: str, settings: Any) -> History:
    history = History(alias)
    create_movies(history, 40)
    settings.DEBUG = True
    history.connection.queries_log.clear()
    return history


def test_queries_do_not_grow_with_the_table(history: History) -> None:
    """Fails if the batches are in `connection.queries`, each with all its values."""
    kept = []

    def populate(movie: Any) -> str:
        kept.append(len(history.connection.queries))
        return f"film-{movie.pk}"

    history.apply(add_slug(populate, batch_size=5))

    assert max(kept) == 0
    assert not [
        query for query in history.connection.queries if "film-" in query["sql"]
    ]


def test_way_back_is_not_kept(history: History) -> None:
    kept = []

    def reverse(movie: Any) -> None:
        kept.append(len(history.connection.queries))

    field = models.CharField(max_length=80)
    history.apply(AddFieldWithBackfill("Movie", "slug", field, Lower("title"), reverse))

    history.connection.queries_log.clear()
    history.unapply()

    assert len(kept) == 40
    assert max(kept) == 0


def test_queries_before_and_after_are_kept(history: History) -> None:
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    before = list(history.connection.queries)

    history.apply(add_slug())
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT 2")

    sqls = [query["sql"] for query in history.connection.queries]
    assert sqls[0] == before[0]["sql"] == "SELECT 1"
    assert sqls[-1] == "SELECT 2"


def test_who_captures_queries_gets_them(history: History) -> None:
    with CaptureQueriesContext(history.connection) as queries:
        history.apply(add_slug())

    assert [query for query in queries if "UPDATE" in query["sql"]] != []
