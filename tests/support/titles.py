"""Movies that have a title and nothing else, and their columns by SQL."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

from tests.support.history import History

FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]


def create(history: History, *fields: Any, count: int = 6) -> None:
    """Make the table, with a title in each row."""
    history.apply(migrations.CreateModel("Movie", [*FIELDS, *fields]))
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=10 * n, title=f"Film {n}")
        for n in range(1, count + 1)
    )


def read(history: History, column: str = "code") -> list[Any]:
    """Return a column of all movies, by primary key."""
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM films_movie ORDER BY id")
        return [value for (value,) in cursor.fetchall()]


def get_title(movie: Any) -> str:
    """Return the title of a movie, as a populate function."""
    return str(movie.title)
