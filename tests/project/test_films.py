"""The tutorial case on real data: 36,273 films get a required, unique slug."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.utils.text import slugify

from safefield.operations import AddFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.films import MOVIE, load_films, read_films
from tests.support.history import History

SLUG = models.SlugField(unique=True, max_length=400)


def populate_movie_slug(movie: Any) -> str:
    """Return the title and the key, for nine films are called Treasure Island."""
    return f"{slugify(movie.title)}-{movie.pk}"


@pytest.mark.thorough_on("mariadb", "mysql")
def test_films_there_and_back_and_there_again(alias: str) -> None:
    history = History(alias)
    history.apply(MOVIE)
    load_films(history)
    films, table = read_films(history), history.describe("Movie")
    expected = [f"{slugify(title)}-{pk}" for pk, title, _, _ in films]

    history.apply(AddFieldWithBackfill("Movie", "slug", SLUG, populate_movie_slug))
    slugs = list(history.rows("Movie").values_list("slug", flat=True))
    slug_table, kept = history.describe("Movie"), read_films(history)
    history.unapply()
    back, back_table = read_films(history), history.describe("Movie")
    history.apply(AddFieldWithBackfill("Movie", "slug", SLUG, populate_movie_slug))
    history.apply(
        migrations.CreateModel("Twin", [*MOVIE.fields, ("slug", SLUG.clone())])
    )

    assert len(films) == 36_273
    assert slugs == expected
    assert kept == films
    assert (back, back_table) == (films, table)
    assert read_films(history) == films
    assert list(history.rows("Movie").values_list("slug", flat=True)) == expected
    assert history.describe("Movie") == slug_table
    assert without_names(slug_table, "movie") == without_names(
        history.describe("Twin"), "twin"
    )
