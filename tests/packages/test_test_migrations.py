"""django-test-migrations: how a project tests its backfill."""

from __future__ import annotations

from pathlib import Path

from tests.packages import films
from tests.support.site import Site

films.require("django_test_migrations")

TEST = """\
from django_test_migrations.contrib.unittest_case import MigratorTestCase


class SlugTest(MigratorTestCase):
    migrate_from = ("films", "0001_initial")
    migrate_to = ("films", "0002_movie_slug")

    def prepare(self):
        Movie = self.old_state.apps.get_model("films", "Movie")
        Movie.objects.create(id=7, title="Metropolis")

    def test_slug(self):
        Movie = self.new_state.apps.get_model("films", "Movie")
        self.assertEqual(Movie.objects.get().slug, "film-7")


class BackTest(MigratorTestCase):
    migrate_from = ("films", "0002_movie_slug")
    migrate_to = ("films", "0001_initial")

    def prepare(self):
        Movie = self.old_state.apps.get_model("films", "Movie")
        Movie.objects.create(id=7, title="Metropolis", slug="m")

    def test_title(self):
        Movie = self.new_state.apps.get_model("films", "Movie")
        self.assertEqual(Movie.objects.get().title, "Metropolis")
"""


def test_backfill_is_tested_forwards_and_backwards(tmp_path: Path) -> None:
    apps = ["django_test_migrations.contrib.django_checks.AutoNames"]
    site = Site(
        tmp_path,
        installed_apps=["safefield", *apps, "films"],
        settings='TEST_RUNNER = "django.test.runner.DiscoverRunner"\n',
    )
    films.make_site(site)
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)
    site.write("films/tests.py", TEST)

    result = films.run(site, "test")

    assert "Ran 2 tests" in result.err
    assert "\nOK\n" in result.err
