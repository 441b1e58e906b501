"""Batches sized by time, with a clock that only moves when it is told to."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from safefield import BackfillError
from safefield.backends.base.locks import Locks
from safefield.filling import table_walk
from safefield.filling.batch_size import BATCH_SECONDS, FIRST_ROWS, BatchSize
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.movies import create_movies, values


class Clock:
    """A clock that stands still until somebody adds seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Row:
    """A row with one text."""

    def __init__(self, text: str = "") -> None:
        self.text = text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def size(clock: Clock) -> BatchSize:
    return BatchSize(clock=clock)


def run_batch(size: BatchSize, clock: Clock, row_seconds: float) -> int:
    """Run one batch of light rows; return how many it took."""
    size.start()
    taken = 0
    for _ in size.take([Row() for _ in range(size.rows)]):
        clock.seconds += row_seconds
        taken += 1
    size.record(taken)
    return taken


def run_batches(size: BatchSize, clock: Clock, row_seconds: float, count: int) -> Any:
    return [run_batch(size, clock, row_seconds) for _ in range(count)]


def test_begins_again_with_few_rows(size: BatchSize, clock: Clock) -> None:
    run_batches(size, clock, 1 / 2**16, 5)

    size.restart()

    assert size.rows == FIRST_ROWS


def test_a_fixed_size_stays_where_it_begins_again(clock: Clock) -> None:
    size = BatchSize(70, clock=clock)

    size.restart()

    assert size.rows == 70


def test_grows_by_steps_to_the_target(size: BatchSize, clock: Clock) -> None:
    assert run_batches(size, clock, 1 / 2**16, 8) == [
        10, 20, 40, 80, 160, 320, 640, 1280,
    ]  # fmt: skip

    run_batches(size, clock, 1 / 2**16, 10)

    assert size.rows * (1 / 2**16) == pytest.approx(BATCH_SECONDS, rel=0.01)


def test_never_exceeds_the_most_rows(size: BatchSize, clock: Clock) -> None:
    """Fails if ten times as many rows may be in memory."""
    run_batches(size, clock, 0.0, 20)

    assert size.rows == 10_000


def test_shrinks_at_once(size: BatchSize, clock: Clock) -> None:
    run_batches(size, clock, 0.00001, 20)

    run_batch(size, clock, 0.001)

    assert size.rows in (29, 30, 31)


def test_slow_writing_shrinks_at_once(size: BatchSize, clock: Clock) -> None:
    run_batches(size, clock, 0.00001, 20)
    before = size.rows

    size.start()
    list(size.take([Row() for _ in range(size.rows)]))
    clock.seconds += 1.0
    size.record(before)

    assert size.rows == pytest.approx(before * BATCH_SECONDS, abs=1)


def test_a_little_too_long_is_smoothed(size: BatchSize, clock: Clock) -> None:
    run_batch(size, clock, 0.0)
    size.rows = 1000

    size.start()
    list(size.take([Row() for _ in range(1000)]))
    clock.seconds += BATCH_SECONDS * 1.25
    size.record(1000)

    assert size.rows == 900


def test_calls_of_50_ms_are_one_batch_each(size: BatchSize, clock: Clock) -> None:
    """No row is locked longer than the target and one call."""
    assert run_batches(size, clock, 0.05, 5) == [1, 1, 1, 1, 1]


def test_a_batch_ends_when_its_rows_become_slow(size: BatchSize, clock: Clock) -> None:
    run_batches(size, clock, 0.00001, 20)
    started = clock.seconds

    taken = run_batch(size, clock, 0.05)

    assert taken == 1
    assert clock.seconds - started == pytest.approx(0.05)


def test_a_server_far_away(size: BatchSize, clock: Clock) -> None:
    """Trips that take longer than the target do not make batches of one row."""
    for _ in range(20):
        clock.seconds += 0.1
        size.start()
        clock.seconds += 0.05
        taken = 0
        for _ in size.take([Row() for _ in range(size.rows)]):
            clock.seconds += 0.00002
            taken += 1
        clock.seconds += 0.05 + size.rows * 0.00001
        size.record(taken)

    assert size.rows == pytest.approx(BATCH_SECONDS / 0.00003, rel=0.02)


def test_trips_that_become_slower(size: BatchSize, clock: Clock) -> None:
    run_batches(size, clock, 0.00001, 20)
    for _ in range(30):
        size.start()
        taken = 0
        for _ in size.take([Row() for _ in range(size.rows)]):
            clock.seconds += 0.00001
            taken += 1
        clock.seconds += 0.1
        size.record(taken)

    assert size.rows > FIRST_ROWS


def test_fixed_size_is_kept(clock: Clock) -> None:
    size = BatchSize(7, clock=clock)

    assert run_batches(size, clock, 1.0, 3) == [7, 7, 7]


def test_heavy_rows_make_small_batches(size: BatchSize, clock: Clock) -> None:
    for _ in range(10):
        size.start()
        size.record(len(list(size.take([Row("x" * 1_000_000)] * size.rows))))

    assert size.rows == 16


def test_first_batch_is_small() -> None:
    assert BatchSize().rows == FIRST_ROWS


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_a_batch_that_ran_out_of_time(
    alias: str, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """Fails if the next begins behind the page, or one row late: NULL would stay."""
    monkeypatch.setattr(table_walk, "BATCH_SECONDS", 0.0)
    monkeypatch.setattr(table_walk, "UNLOCKED_SECONDS", 0.0)
    history = History(alias, atomic=atomic)
    create_movies(history, 25)
    field = models.CharField(max_length=80, null=True)

    history.apply(AddFieldWithBackfill("Movie", "copy", field, lambda row: row.title))

    assert values(history, "copy") == [f"Film Number {n}" for n in range(25)]


def test_the_seconds_of_populate_are_not_those_of_trips(
    sqlite_alias: str, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """
    Fails if the seconds of populate count as a trip to the server: the next is larger.

    The eighth batch is the first whose trip is quicker than those before: of its
    0.75 s populate took 0.625.
    """
    monkeypatch.setitem(BatchSize.__init__.__kwdefaults__, "clock", clock)
    monkeypatch.setattr(table_walk, "UNLOCKED_SECONDS", 1.0)
    history = History(sqlite_alias)
    create_movies(history, 5_000)
    batches: list[int] = []
    computed: list[int] = []

    def populate(movie: Any) -> str:
        computed.append(movie.pk)
        clock.seconds += 1 / 2**11
        return "x"

    def write(execute: Any, sql: str, *args: Any) -> Any:
        if computed and sql.startswith("UPDATE"):
            batches.append(len(computed))
            computed.clear()
            clock.seconds += 0.25 if len(batches) < 8 else 0.125
        return execute(sql, *args)

    field = models.CharField(max_length=80)
    with history.connection.execute_wrapper(write):
        history.apply(AddFieldWithBackfill("Movie", "copy", field, populate))

    # Five rows were tried before.
    assert batches == [15, 20, 40, 80, 160, 320, 640, 1280, 1664, 786]


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_pauses_between_batches(
    alias: str, monkeypatch: pytest.MonkeyPatch, settings: Any, atomic: bool
) -> None:
    """Fails if there are none, or some where everything is locked anyway."""
    settings.SAFEFIELD = {"PAUSE_RATIO": 3}
    pauses: list[float] = []
    monkeypatch.setattr(Locks, "sleep", staticmethod(pauses.append))
    history = History(alias, atomic=atomic)
    create_movies(history, 25)
    field = models.CharField(max_length=80)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "copy", field, lambda row: row.title, batch_size=10
        )
    )

    # MySQL commits each batch also where the migration is called atomic.
    vendor = history.connection.vendor
    is_paused = vendor == "mysql" or (vendor == "postgresql" and not atomic)
    assert len([pause for pause in pauses if pause > 0]) == (2 if is_paused else 0)


def test_bad_rows_of_the_first_try_are_told_once(alias: str) -> None:
    """Fails if what was found before a batch goes row by row is kept."""
    history = History(alias)
    create_movies(history, 9)

    def populate(movie: Any) -> str:
        if movie.pk == 6:
            raise ValueError("bad")
        if movie.pk == 8:
            with history.connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")
        return "good"

    field = models.CharField(max_length=80)
    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "copy", field, populate))

    assert [row.pk for row in caught.value.rows] == [6, 8]
    assert "  1 row: populate() raised ValueError" in str(caught.value)
