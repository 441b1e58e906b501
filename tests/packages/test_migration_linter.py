"""django-migration-linter: what it deletes, and what it says about a backfill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import films
from tests.support.site import Site

films.require("django_migration_linter")

APPS = ["safefield", "django_migration_linter", "films"]

LINTED = f"""\
{films.WRITTEN}Linting for 'films':
(films, 0002_movie_slug)... IGNORE
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return films.make_site(Site(tmp_path, installed_apps=APPS))


@pytest.mark.parametrize("options", [["--lint"], ["--lint", "--noinput"]])
def test_lint_keeps_the_file(site: Site, options: list[str]) -> None:
    result = films.run(site, "makemigrations", *options)

    assert result.out == LINTED
    assert "django_migration_linter" not in site.read(films.FILE)
    films.write_function(site)
    films.run(site, "migrate", "-v0")
    assert films.read_slugs(site) == films.SLUGS


def test_lint_keeps_the_migrations_around_a_backfill(site: Site) -> None:
    text = "class Studio(models.Model):\n    name = models.TextField(null=True)\n"
    site.write_models(films.AFTER.replace("title", "name") + text)

    # Django asks whether title was renamed, which is not a question of safefield's.
    films.run(site, "makemigrations", "--lint", stdin="y\n")

    assert len(site.list_migrations()) == 3
    films.run(site, "makemigrations", "--check", "-v0")


def test_lint_deletes_other_migrations_as_before(site: Site) -> None:
    site.write_models("class Movie(models.Model):\n    pass\n")

    films.run(site, "makemigrations", "--lint", "--noinput")

    assert site.list_migrations() == ["0001_initial.py"]


def test_lintmigrations_reports_not_null(site: Site) -> None:
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)

    result = site.manage("lintmigrations", "--no-cache")

    assert result.code == 1
    assert "(films, 0002_movie_slug)... ERR\n\tNOT NULL constraint" in result.out


def test_update_fails_as_it_does_without_safefield(site: Site, tmp_path: Path) -> None:
    # Its write_migration_files() does not take the second argument of Django's.
    films.run(site, "makemigrations", "-v0")
    alone = Site(tmp_path / "alone", installed_apps=APPS[1:])
    alone.write_models(films.BEFORE)
    films.run(alone, "makemigrations", "-v0")

    for any_site in (site, alone):
        any_site.write_models(
            films.BEFORE + "    year = models.IntegerField(null=True)"
        )
        result = any_site.manage("makemigrations", "--update")

        assert result.code == 1
        assert result.err.rstrip().endswith(
            "TypeError: Command.write_migration_files() takes 2 positional arguments "
            "but 3 were given"
        )
