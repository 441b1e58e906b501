"""Real data: the 36,273 films of the example project."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from django.db import migrations, models

from tests.support.history import History

FILMS = Path(__file__).parents[2] / "example_project/data/movies.csv"

MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=400)),
        ("year", models.IntegerField()),
        ("genres", models.CharField(max_length=200)),
    ],
)


def load_films(history: History) -> None:
    """Insert all films."""
    movie = history.model("Movie")
    with FILMS.open(encoding="utf-8", newline="") as file:
        history.rows("Movie").bulk_create(
            (movie(**row) for row in csv.DictReader(file)), batch_size=2_000
        )


def read_films(history: History) -> list[Any]:
    """Return all films as they are in the table."""
    return list(history.rows("Movie").values_list("id", "title", "year", "genres"))
