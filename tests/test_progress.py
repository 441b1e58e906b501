"""What is shown at a terminal, and what is written to a log."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import migrations, models

from safefield import progress
from safefield.operations import AddFieldWithBackfill
from tests.history import History


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves seven seconds each time somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 7
        return self.seconds


@pytest.fixture
def stderr() -> FakeTerminal:
    return FakeTerminal()


def fail() -> int:
    raise RuntimeError("no counting today")


def test_goes_below_the_line_of_migrate_and_back(stderr: FakeTerminal) -> None:
    with progress.show_progress(stderr, FakeTerminal()):
        progress.step("Checking films.Movie.slug")

    assert stderr.getvalue() == (
        "\x1bD\x1b[A\x1b7\n"  # a line below, without losing the place on this one
        "\r\x1b[2KChecking films.Movie.slug …"
        "\r\x1b[2K\x1b8"  # cleared, and back at the saved place
    )


def test_is_a_line_of_its_own_if_migrate_prints_elsewhere(
    stderr: FakeTerminal,
) -> None:
    with progress.show_progress(stderr, io.StringIO()):
        progress.step("Checking films.Movie.slug")

    assert stderr.getvalue() == "\r\x1b[2KChecking films.Movie.slug …\r\x1b[2K"


def test_nothing_to_show_writes_nothing(stderr: FakeTerminal) -> None:
    with progress.show_progress(stderr, FakeTerminal()):
        pass

    assert stderr.getvalue() == ""


def test_cleans_up_after_an_error(stderr: FakeTerminal) -> None:
    error = pytest.raises(ValueError, match="bad")

    with error, progress.show_progress(stderr, FakeTerminal()):
        progress.step("Checking films.Movie.slug")
        raise ValueError("bad")

    assert stderr.getvalue().endswith("\r\x1b[2K\x1b8")


def test_long_titles_stay_on_one_line(
    stderr: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        progress.shutil, "get_terminal_size", lambda: os.terminal_size((20, 24))
    )

    with progress.show_progress(stderr, FakeTerminal()):
        progress.step("Checking films.Movie.slug")

    assert "\x1b[2KChecking films.Movi\r" in stderr.getvalue()


def test_bar_has_rows_and_total(stderr: FakeTerminal) -> None:
    with (
        progress.show_progress(stderr, FakeTerminal()),
        progress.track("Filling films.Movie.slug", lambda: 200) as bar,
    ):
        bar.update(50)
        bar.refresh()  # type: ignore[attr-defined]  # a tqdm

    assert "Filling films.Movie.slug:  25%|" in stderr.getvalue()
    assert " 50/200 [" in stderr.getvalue()
    assert stderr.getvalue().endswith("\r\x1b[2K\x1b8")


def test_counting_that_fails_fails_nothing(stderr: FakeTerminal) -> None:
    with (
        progress.show_progress(stderr, FakeTerminal()),
        progress.track("Filling films.Movie.slug", fail) as bar,
    ):
        bar.update(50)

    assert "Filling films.Movie.slug: " in stderr.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [["-v", "0"], ["-v0"], ["--verbosity", "0"], ["--verbosity=0"]],
    ids=" ".join,
)
def test_is_quiet_when_told_so(stderr: FakeTerminal, arguments: list[str]) -> None:
    assert not progress.is_watched(stderr, ["manage.py", "migrate", *arguments])


def test_is_quiet_without_a_terminal() -> None:
    assert not progress.is_watched(io.StringIO(), ["manage.py", "migrate"])


def test_is_watched_at_a_terminal(stderr: FakeTerminal) -> None:
    assert progress.is_watched(stderr, ["manage.py", "migrate", "-v", "2"])


def test_log_has_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "safefield")
    log = progress._Log("Filling films.Movie.slug", 1_000, Clock())

    for _ in range(4):
        log.update(100)
    log.finish()

    assert caplog.messages == [
        "Filling films.Movie.slug: 200 of about 1,000 rows, 14 a second, "
        "about 56 s left.",
        "Filling films.Movie.slug: 400 of about 1,000 rows, 14 a second, "
        "about 42 s left.",
        "Filling films.Movie.slug: 400 rows in 35.0 s.",
    ]


def test_nobody_counts_when_nobody_looks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "safefield")
    asked: list[Any] = []
    estimate: Callable[[], Any] = lambda: asked.append(1)  # noqa: E731

    with progress.track("Filling films.Movie.slug", estimate) as log:
        log.update(1)

    assert asked == []


def test_steps_in_the_log(alias: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "safefield")
    history = History(alias)
    history.apply(
        migrations.CreateModel("Movie", [("id", models.BigAutoField(primary_key=True))])
    )
    for _ in range(3):
        history.rows("Movie").create()
    caplog.clear()

    history.apply(
        AddFieldWithBackfill("Movie", "rank", models.IntegerField(), lambda row: row.pk)
    )

    assert caplog.messages[0].startswith("Filling films.Movie.rank: 3 rows in ")
    assert caplog.messages[1:] == [
        "Checking films.Movie.rank.",
        "Enforcing films.Movie.rank.",
    ]
