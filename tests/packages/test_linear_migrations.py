"""django-linear-migrations: max_migration.txt names the last of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import films
from tests.support.site import Site

films.require("django_linear_migrations")

TXT = "films/migrations/max_migration.txt"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    apps = ["safefield", "django_linear_migrations", "films"]
    return films.make_site(Site(tmp_path, installed_apps=apps))


def test_names_the_last_of_several_migrations(site: Site) -> None:
    year = "    year = models.IntegerField()\n"
    site.write_models(films.AFTER + year)

    films.run(site, "makemigrations")

    assert site.list_migrations() == [
        "0001_initial.py",
        "0002_movie_slug.py",
        "0003_movie_year.py",
    ]
    assert site.read(TXT) == "0003_movie_year\n"
    assert "dlm." not in films.run(site, "makemigrations", "--check").err


def test_dry_run_leaves_it_alone(site: Site) -> None:
    films.run(site, "makemigrations", "--dry-run")

    assert site.read(TXT) == "0001_initial\n"


def test_update_names_the_new_file(site: Site) -> None:
    films.run(site, "makemigrations")
    films.write_function(site)
    text = films.AFTER + "    year = models.IntegerField(null=True)\n"
    site.write_models(text)

    films.run(site, "makemigrations", "--update")

    (name,) = site.list_migrations()[1:]
    assert site.read(TXT) == f"{name.removesuffix('.py')}\n"
    films.run(site, "migrate", "-v0")
    assert films.read_slugs(site) == films.SLUGS
