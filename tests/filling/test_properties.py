"""Random tables and populate behaviours against a plain model of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import migrations, models
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

MAX_LENGTH = 6
#: Rows that are tried before anything is changed.
PREFLIGHT_ROWS = 5

#: MariaDB's own collation takes "a" and "A" for the same.
FOLD: dict[str, Callable[[str], str]] = {
    "sqlite": str,
    "postgresql": str,
    "mysql": str.casefold,
}


class Raising:
    """A row for which populate raises."""

    def __repr__(self) -> str:
        return "raises"


@dataclass(frozen=True)
class Table:
    """What populate says of each row, by key."""

    answers: dict[int, Any]

    def is_bad(self, key: int) -> bool:
        """Return whether a required text of MAX_LENGTH cannot be the answer."""
        answer = self.answers[key]
        return not isinstance(answer, str) or not 0 < len(answer) <= MAX_LENGTH

    def bad(self) -> set[int]:
        return {key for key in self.answers if self.is_bad(key)}

    def losers(self, fold: Callable[[str], str]) -> set[int]:
        """Return the good rows whose value an earlier one has."""
        seen: set[str] = set()
        losers = set()
        for key in sorted(self.answers):
            if self.is_bad(key):
                continue
            value = fold(self.answers[key])
            if value in seen:
                losers.add(key)
            seen.add(value)
        return losers


answers = st.one_of(
    st.text("abA-2", min_size=1, max_size=3),
    st.sampled_from(["aaaaaa", "aaaa-2", "aaaaaaa", "", None, Raising()]),
)
good_answers = st.one_of(
    st.text("abA-2", min_size=1, max_size=3), st.sampled_from(["aaaaaa", "aaaa-2"])
)
keys = st.integers(1, 2**31)
tables = st.one_of(
    st.dictionaries(keys, answers, min_size=1, max_size=12),
    st.dictionaries(keys, good_answers, min_size=1, max_size=12),
).map(Table)


@pytest.mark.thorough_on("mariadb", "mysql")
@settings(
    max_examples=40,
    deadline=None,
    # The tables are dropped after each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(
    # Of two rows that are given the same number, both ask about it at once.
    table=Table({1: "aaaaaa", 2: "aaaa-2", 3: "aaaa-2", 4: "aaaaaa"}),
    is_numbered=True,
)
@given(table=tables, is_numbered=st.booleans())
def test_every_row_has_its_value_or_is_named(
    alias: str, table: Table, is_numbered: bool
) -> None:
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Movie", [("id", models.BigIntegerField(primary_key=True))]
        )
    )
    try:
        check(history, table, is_numbered)
    finally:
        history.states, history.migrations = history.states[:2], history.migrations[:1]
        history.unapply()


def check(history: History, table: Table, is_numbered: bool) -> None:
    fold = FOLD[history.connection.vendor]
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(movie(pk=key) for key in table.answers)

    def populate(row: Any) -> Any:
        answer = table.answers[row.pk]
        if isinstance(answer, Raising):
            raise LookupError("nothing known")
        return answer

    operation = AddFieldWithBackfill(
        "Movie",
        "name",
        models.CharField(max_length=MAX_LENGTH, unique=True),
        populate,
        deduplicate=safefield.numbered if is_numbered else None,
    )
    first = sorted(table.answers)[:PREFLIGHT_ROWS]
    losers = table.losers(fold)
    expected = table.bad()
    if expected.issuperset(first):
        expected = set(first)
    elif not is_numbered:
        expected |= losers

    if expected:
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)

        assert {row.pk for row in caught.value.rows} == expected
        return
    history.apply(operation)

    found = dict(history.rows("Movie").values_list("pk", "name"))
    assert len({fold(name) for name in found.values()}) == len(table.answers)
    for key, answer in table.answers.items():
        if key in losers:
            assert found[key] in {
                safefield.numbered(None, answer, n, max_length=MAX_LENGTH)
                for n in range(2, 2 + 2 * len(found))
            }
        else:
            assert found[key] == answer
    assert history.describe("Movie")["columns"]["name"]["null"] is False
