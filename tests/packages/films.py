"""The films of every test here: what changes, and what has to come of it."""

from __future__ import annotations

import os
import sqlite3
from importlib.util import find_spec

import pytest

from tests.support.site import Result, Site

BEFORE = """
class Movie(models.Model):
    title = models.CharField(max_length=100)
"""

AFTER = BEFORE + "    slug = models.SlugField(unique=True)\n"

FILE = "films/migrations/0002_movie_slug.py"

WRITTEN = """\
Migrations for 'films':
  films/migrations/0002_movie_slug.py
    + Add field slug to movie, backfilled by populate_movie_slug
Next: write populate_movie_slug() in films/migrations/0002_movie_slug.py, then run \
migrate.
"""

ADD_MOVIES = """\
from films.models import Movie
Movie.objects.bulk_create(Movie(title=f"Film {n}") for n in range(5))
"""

READ_SLUGS = """\
from films.models import Movie
print(*Movie.objects.order_by("pk").values_list("slug", flat=True))
"""


def require(package: str) -> None:
    """Skip the module where `package` is not installed, or fail where it must be."""
    if find_spec(package) is not None:
        return
    if os.environ.get("SAFEFIELD_REQUIRE_PACKAGES"):
        pytest.fail(f"{package} is not installed, and is required.", pytrace=False)
    pytest.skip(f"{package} is not installed: see tox -e packages", True)


def run(site: Site, *arguments: str, stdin: str | None = None) -> Result:
    """Run a command that has to succeed."""
    result = site.manage(*arguments, stdin=stdin)
    assert result.code == 0, result
    return result


def make_site(site: Site) -> Site:
    """Give the site a table of films with five rows."""
    site.write_models(BEFORE)
    run(site, "makemigrations", "-v0")
    run(site, "migrate", "-v0")
    run(site, "shell", "-v0", "-c", ADD_MOVIES)
    site.write_models(AFTER)
    return site


def write_function(site: Site, name: str = FILE) -> None:
    """Write the function, as the developer is asked to."""
    text = site.read(name)
    reminder = '"Write populate_movie_slug() before running migrate."'
    statement = f"raise NotImplementedError({reminder})"
    assert text.count(statement) == 1
    site.write(name, text.replace(statement, 'return f"film-{movie.id}"'))


def read_slugs(site: Site) -> list[str]:
    """Return the slugs of all films."""
    return run(site, "shell", "-v0", "-c", READ_SLUGS).out.split()


SLUGS = ["film-1", "film-2", "film-3", "film-4", "film-5"]


def read_column(site: Site) -> tuple[str, int]:
    """Return type and NOT NULL of the column in the site's SQLite file."""
    with sqlite3.connect(site.path / "db.sqlite3") as connection:
        columns = connection.execute("PRAGMA table_info(films_movie)").fetchall()
    connection.close()
    ((kind, not_null),) = [row[2:4] for row in columns if row[1] == "slug"]
    return kind, not_null
