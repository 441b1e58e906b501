"""The lines and the bar, on streams in memory."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations, models

import safefield
from safefield import progress
from safefield.console import Console, fit_bar, spell_seconds
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.clock import Clock
from tests.support.history import History

TITLE = "Filling films.Movie.slug"
CONSTRAINT = "Checking constraint films_movie_rank_67d00efa_notnull of films.Movie.rank"


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr() -> Iterator[FakeTerminal]:
    yield FakeTerminal()
    progress.end_command()


@pytest.fixture
def shared(stderr: FakeTerminal) -> FakeTerminal:
    """Let migrate have begun, on the same terminal."""
    progress.begin_command(verbosity=1, stdout=stderr, stderr=stderr)
    return stderr


def fail() -> int:
    raise RuntimeError("no counting today")


def test_ends_the_line_of_migrate_and_leaves_room_for_its_ok(
    shared: FakeTerminal,
) -> None:
    with progress.show_progress():
        progress.note("Resuming.")
        progress.finish("films.Movie.slug", "3 rows filled", time.monotonic())
    with progress.show_progress():
        progress.note("Another operation.")

    assert shared.getvalue().splitlines()[:2] == ["", "    Resuming."]
    assert shared.getvalue().endswith(" s.\n    Another operation.\n")


def test_is_a_line_of_its_own_if_migrate_prints_elsewhere(
    stderr: FakeTerminal,
) -> None:
    progress.begin_command(verbosity=1, stdout=io.StringIO(), stderr=stderr)

    with progress.show_progress():
        progress.note("Resuming.")

    assert stderr.getvalue() == "    Resuming.\n"


def test_nothing_to_show_writes_nothing(shared: FakeTerminal) -> None:
    with progress.show_progress():
        pass

    assert shared.getvalue() == ""


def test_error_begins_on_a_line_of_its_own(shared: FakeTerminal) -> None:
    error = pytest.raises(ValueError, match="bad")

    with error, progress.show_progress():
        raise ValueError("bad")

    assert shared.getvalue() == "\n"


def test_error_leaves_nothing_of_the_bar(shared: FakeTerminal) -> None:
    error = pytest.raises(ValueError, match="bad")

    with error, progress.show_progress(), progress.track(TITLE, lambda: 10):
        raise ValueError("bad")

    assert shared.getvalue().endswith("\r\x1b[2K")


def test_is_quiet_when_told_so(stderr: FakeTerminal) -> None:
    progress.begin_command(verbosity=0, stdout=stderr, stderr=stderr)

    with (
        progress.show_progress(),
        progress.step("Checking"),
        progress.track(TITLE, fail) as rows,
    ):
        rows.update(3)

    assert stderr.getvalue() == ""


def test_is_quiet_where_no_command_was_called(stderr: FakeTerminal) -> None:
    with progress.show_progress():
        progress.note("Resuming.")

    assert stderr.getvalue() == ""


def test_steps_on_a_terminal(shared: FakeTerminal) -> None:
    with progress.show_progress(), progress.step("Checking films.Movie.slug"):
        pass

    assert shared.getvalue() == (
        "\n\r\x1b[2KChecking films.Movie.slug"
        "\r\x1b[2K    Checking films.Movie.slug: done in 0.0 s.\n"
    )


def test_lines_do_not_obey_what_is_in_a_name(shared: FakeTerminal) -> None:
    with progress.show_progress():
        progress.note("Waiting for %s.", "process 1 (\x1b[2J)")

    assert shared.getvalue() == "\n    Waiting for process 1 (\\x1b[2J).\n"


def test_log_does_not_obey_what_is_in_a_name(caplog: pytest.LogCaptureFixture) -> None:
    """Fails if only the lines on stderr are escaped: a handler writes there, too."""
    caplog.set_level(logging.INFO, "safefield")

    progress.note("Waiting for %s, %d rows.", "process 1 (\x1b[2J)", 3)
    progress.warn("%s is slow.", "\x9b2J()")

    assert caplog.messages == [
        "Waiting for process 1 (\\x1b[2J), 3 rows.",
        "\\x9b2J() is slow.",
    ]


def test_terminal_that_went_away_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = FakeTerminal()
    gone.close()
    lines = Console(FakeTerminal(), verbosity=1)
    lines.stream = gone

    lines.print("Nobody reads this.")


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            199,
            "Filling films.Movie.slug [################........................] "
            " 42% 126,170/300,000, 15,000 a second, 12 s left",
        ),
        (
            99,
            "Filling films.Movie.slug [#########..............]  42% 126,170/300,000, "
            "15,000 a second, 12 s left",
        ),
        (
            79,
            "Filling films.Movie.slug [########............]  42% 126,170/300,000, "
            "12 s left",
        ),
        (59, "Filling films.Movie.slug  42% 126,170/300,000, 12 s left"),
        (45, "Filling film…  42% 126,170/300,000, 12 s left"),
    ],
)
def test_bar_fits(columns: int, line: str) -> None:
    assert fit_bar(TITLE, 126_170, 300_000, 15_000.0, columns) == line
    assert len(line) <= columns


def test_bar_of_a_million_rows_is_whole_at_60_columns() -> None:
    line = fit_bar(TITLE, 1_412_000, 12_000_000, 1_000.0, 59)

    assert line == "Filling films.M…  12% 1,412,000/12,000,000, 2 h 56 min left"


def test_bar_without_a_total() -> None:
    assert fit_bar(TITLE, 50, None, 7.0, 79) == (
        "Filling films.Movie.slug: 50 rows, 7 a second"
    )


def test_bar_of_more_rows_than_were_estimated() -> None:
    assert fit_bar(TITLE, 250, 200, 7.0, 79) == (
        "Filling films.Movie.slug: 250 rows, 7 a second"
    )


def test_counting_that_fails_fails_nothing(shared: FakeTerminal) -> None:
    with progress.show_progress(), progress.track(TITLE, fail) as rows:
        rows.update(50)

    assert "\r\x1b[2KFilling films.Movie.slug: 0 rows" in shared.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (125.0, "2 min 5 s"),
        (7_300.0, "2 h 1 min"),
    ],
)
def test_spells_seconds(seconds: float, text: str) -> None:
    assert spell_seconds(seconds) == text


def test_log_has_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "safefield")
    counter = progress.Counter(TITLE, 1_000, Clock())

    counter.begin()
    for _ in range(4):
        counter.update(100)
    counter.finish()

    assert caplog.messages == [
        "Filling films.Movie.slug: about 1,000 rows.",
        "Filling films.Movie.slug: 200 of about 1,000 rows, 14 a second, "
        "about 56 s left.",
        "Filling films.Movie.slug: 400 of about 1,000 rows, 14 a second, "
        "about 42 s left.",
        "Filling films.Movie.slug: done, 400 rows in 35 s, 11 a second.",
    ]


def test_nobody_counts_when_nobody_looks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "safefield")
    asked: list[Any] = []

    with progress.track(TITLE, lambda: asked.append(1)) as log:  # type: ignore[func-returns-value]  # nobody asks
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

    steps = [message.partition(":")[0].rstrip(".") for message in caplog.messages]
    assert list(dict.fromkeys(steps)) == [
        "Adding films.Movie.rank",
        "Filling films.Movie.rank",
        "Checking films.Movie.rank",
        "Setting the constraints of films.Movie.rank",
        *([CONSTRAINT] if alias == "postgresql" else []),
        "films.Movie.rank",
    ]


def test_counts_only_rows_that_got_a_value(
    alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails if rows count that had a value, or for which populate returned None."""
    caplog.set_level(logging.INFO, "safefield")
    history = History(alias)
    field = models.CharField(max_length=10, null=True)
    history.apply(
        migrations.CreateModel(
            "Movie", [("id", models.BigAutoField(primary_key=True)), ("code", field)]
        )
    )
    history.rows("Movie").bulk_create(
        history.model("Movie")(code=code) for code in ("a", "a", None, None, None)
    )
    caplog.clear()

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "code",
            models.CharField(max_length=10, null=True, unique=True),
            lambda row: None if row.pk == 3 else f"code{row.pk}",
            deduplicate=safefield.numbered,
        )
    )

    ends = [re.sub(r" in [\d.]+ s.*", "", message) for message in caplog.messages]
    assert "Filling films.Movie.code: done, 3 rows" in ends
    assert ends[-2:] == [
        "films.Movie.code: 1 row got another value, because an earlier row has the "
        "same (pk 2).",
        "films.Movie.code: done, 2 rows filled",
    ]
