"""How long migrate takes, told from few rows and from all."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from safefield.filling.batch_size import Timing
from safefield.inspection.entries import find_entries
from safefield.inspection.estimate import Estimate, estimate
from safefield.inspection.rehearsal import Stage
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import NoParents, create

#: Seconds that a statement takes, whatever it does, and a call of populate.
STATEMENT_SECONDS = 0.002
CALL_SECONDS = 0.00005


class Clock:
    """A clock that goes on with statements and calls alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def count(self, execute: Any, *args: Any) -> Any:
        self.seconds += STATEMENT_SECONDS
        return execute(*args)


def test_few_rows_and_all(alias: str) -> None:
    # Fails if what each batch takes is multiplied by the rows that were not tried.
    history = History(alias)
    create(history, *[f"Film {number}" for number in range(12_000)])
    migration = history.make(
        AddFieldWithBackfill(
            "Movie", "slug", models.CharField(max_length=40), lambda movie: count(movie)
        )
    )
    (entry,) = find_entries(migration, history.state.clone())
    clock = Clock()

    def count(movie: Any) -> str:
        clock.seconds += CALL_SECONDS
        return str(movie.title)

    found = {}
    for limit in (100, 1_000, None):
        parents: Any = NoParents()
        stage = Stage(history.connection, parents, entry, limit, clock=clock)
        with history.connection.execute_wrapper(clock.count):
            estimated = stage.rehearse().estimate
        assert estimated is not None
        found[limit] = estimated

    assert found[None].least == found[None].most == found[None].seconds
    for limit in (100, 1_000):
        assert 0.5 < found[limit].seconds / found[None].seconds < 2
        assert found[limit].least < found[None].seconds < found[limit].most


@pytest.mark.parametrize(
    ("batches", "rows", "expected"),
    [
        # 20 ms a batch and 1 ms a row: 30 rows in a batch of 0.03 s.
        (
            [Timing(10, 0.03, 0.01), Timing(20, 0.04, 0.02)],
            300,
            Estimate(0.5, 0.125, 2.0),
        ),
        # All rows: what they took.
        (
            [Timing(10, 0.03, 0.01), Timing(10, 0.03, 0.01)],
            20,
            Estimate(0.06, 0.06, 0.06),
        ),
        # None.
        ([], 0, Estimate(0.0, 0.0, 0.0)),
    ],
)
def test_estimate(batches: list[Timing], rows: int, expected: Estimate) -> None:
    found = estimate(batches, rows, batch_rows=None, other_seconds=0.0, slowdown=1.0)

    assert found.seconds == pytest.approx(expected.seconds)
    assert found.least == pytest.approx(expected.least)
    assert found.most == pytest.approx(expected.most)
