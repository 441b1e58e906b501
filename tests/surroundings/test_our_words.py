"""Tables and columns of the user's that are called as something of ours is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F
from django.db.models.expressions import Window
from django.db.models.functions import Lower, RowNumber

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse
from tests.surroundings.witness import take_snapshot

#: Whatever the package calls something in SQL, and has called so.
WORDS = [
    "batch",
    "key0",
    "key1",
    "value0",
    "value1",
    "value",
    "c",
    "n",
    "source",
    "fresh",
    "live",
    "row",
    "safefield_values",
    "safefield_probe",
    "safefield_rehearsal",
    "safefield_rows",
    "safefield_key0",
    "safefield_value",
    "safefield_number",
    "safefield_null",
    "safefield_length",
    "safefield_all",
    "safefield_distinct",
]

POPULATES: dict[str, Any] = {
    "numbers": (models.IntegerField(unique=True), lambda row: row.pk * 2),
    "texts": (models.CharField(max_length=50, unique=True), lambda row: f"'{row.pk}'"),
    "dates": (models.DateField(), lambda row: "2001-02-03"),
    "expression": (models.CharField(max_length=50), Lower("source")),
    "window": (
        models.IntegerField(unique=True),
        Window(RowNumber(), order_by=F("value0").desc()),
    ),
}
EXPECTED = {
    "numbers": [2, 4, 6],
    "texts": ["'1'", "'2'", "'3'"],
    "dates": ["2001-02-03"] * 3,
    "expression": ["source"] * 3,
    "window": [3, 2, 1],
}


def make(history: History, table: str) -> None:
    """Create a table that has a column of each word."""
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                *((word, models.TextField(default=word)) for word in WORDS),
            ],
            options={"db_table": table},
        )
    )
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(movie(value0=str(n)) for n in range(3))


def get_values(history: History) -> list[Any]:
    values = history.rows("Movie").values_list("slug", flat=True)
    return [str(v) if hasattr(v, "year") else v for v in values]


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("case", POPULATES)
@pytest.mark.parametrize("table", ["batch", "source", "safefield_rehearsal"])
def test_table_and_columns(alias: str, table: str, case: str) -> None:
    """Fails if a name of ours is not qualified, or hides the user's."""
    history = History(alias)
    make(history, table)
    before = take_snapshot(history.connection, "slug")
    field, populate = POPULATES[case]
    operation = AddFieldWithBackfill("Movie", "slug", field, populate, batch_size=2)

    rehearsal = rehearse(history, operation)
    assert (rehearsal.error, rehearsal.rehearsed) == (None, 3)
    history.apply(operation)

    assert get_values(history) == EXPECTED[case]
    assert take_snapshot(history.connection, "slug").rows == before.rows


def test_column_of_a_word_is_filled(alias: str) -> None:
    """Fails if an annotation of ours meets the field: Django refuses it."""
    history = History(alias)
    make(history, "films_movie")

    for word in WORDS:
        history.apply(
            migrations.RemoveField("Movie", word),
            AddFieldWithBackfill(
                "Movie",
                word,
                models.CharField(max_length=20, unique=True),
                lambda row: "same",
                deduplicate=safefield.numbered,
            ),
        )
        values = history.rows("Movie").values_list(word, flat=True)
        assert list(values) == ["same", "same-2", "same-3"], word


@pytest.mark.parametrize("word", ["safefield_number", "safefield_rows", "value"])
def test_duplicates_in_a_column_of_a_word(alias: str, word: str) -> None:
    """Fails if the search for duplicates annotates with a name of the user's."""
    history = History(alias)
    make(history, "films_movie")
    history.apply(migrations.RemoveField("Movie", word))

    with pytest.raises(BackfillError, match="an earlier row has the same value"):
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                word,
                models.CharField(max_length=20, unique=True),
                lambda row: "same",
            )
        )
