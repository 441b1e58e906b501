"""Movies and studios, and the column that most tests add to them."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.utils.text import slugify

from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
        ("year", models.IntegerField()),
    ],
)

STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=200, unique=True)),
    ],
)


def create_movies(history: History, count: int = 5) -> None:
    """Make the tables, and the movies from 1900 on."""
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=f"Film Number {n}", year=1900 + n)
        for n in range(count)
    )


def values(history: History, *names: str) -> list[Any]:
    """Return columns of all movies, by primary key."""
    return list(history.rows("Movie").values_list(*names, flat=len(names) == 1))


def slug_of(movie: Any) -> str:
    """Return the slug of a movie, as a populate function."""
    return slugify(movie.title)


def studio_of(movie: Any, apps: Any) -> Any:
    """Create the studio of a movie on demand, one for every two films."""
    studios = apps.get_model("films", "Studio").objects.using(movie._state.db)
    return studios.get_or_create(name=f"Studio {movie.year // 2}")[0]


def add_slug(**options: Any) -> AddFieldWithBackfill:
    """Return the operation that adds the slug."""
    return AddFieldWithBackfill(
        "Movie",
        "slug",
        models.SlugField(unique=True, max_length=80),
        options.pop("populate", slug_of),
        **options,
    )


#: Makes each UPDATE of a row take longer.
SLOW = {
    "postgresql": [
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION slow()",
    ],
    "mysql": [
        "CREATE TRIGGER slow BEFORE UPDATE ON films_movie FOR EACH ROW "
        "BEGIN DECLARE slept INT; SET slept = SLEEP(0.05); END",
    ],
}
