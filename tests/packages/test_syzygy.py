"""django-syzygy: its stages, beside a backfill that is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import films
from tests.support.site import Site

films.require("syzygy")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return films.make_site(
        Site(tmp_path, installed_apps=["safefield", "syzygy", "films"])
    )


def test_takes_other_fields_apart_beside_a_backfill(site: Site) -> None:
    site.write_models(films.AFTER + "    year = models.IntegerField(default=1900)\n")

    films.run(site, "makemigrations", "-v0")

    texts = "".join(site.read_migrations().values())
    assert texts.count("safefield.operations.AddFieldWithBackfill") == 1
    assert texts.count("POST_DEPLOY") == 1
    (name,) = [
        name for name, text in site.read_migrations().items() if "safefield" in text
    ]
    films.write_function(site, f"films/migrations/{name}")
    films.run(site, "migrate", "-v0")
    assert films.read_slugs(site) == films.SLUGS
    films.run(site, "makemigrations", "--check", "-v0")


def test_disable_syzygy_keeps_safefield(site: Site) -> None:
    result = films.run(site, "makemigrations", "--disable-syzygy")

    assert result.out == films.WRITTEN


def test_one_off_default_brings_its_questions_back(site: Site) -> None:
    result = site.manage("makemigrations", "--one-off-default", "--noinput")

    assert result.code == 3
    assert result.out.startswith("Field 'slug' on model 'movie' not migrated")


def test_migrates_to_the_stage_before_deployment(site: Site) -> None:
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)

    films.run(site, "migrate", "--pre-deploy", "-v0")

    assert films.read_slugs(site) == films.SLUGS


@pytest.fixture
def phases(site: Site) -> Site:
    films.run(site, "makemigrations", "--two-phase", "-v0")
    films.write_function(site)
    return site


def test_both_phases_count_as_before_the_deployment(phases: Site) -> None:
    films.run(phases, "migrate", "--pre-deploy", "-v0")

    assert films.read_column(phases) == ("varchar(50)", 1)


def test_second_phase_can_be_put_after_the_deployment(phases: Site) -> None:
    name = "films/migrations/0003_alter_movie_slug.py"
    text = phases.read(name).replace(
        "    atomic = False\n", "    atomic = False\n    stage = Stage.POST_DEPLOY\n"
    )
    phases.write(name, f"from syzygy import Stage\n{text}")

    films.run(phases, "migrate", "--pre-deploy", "-v0")

    assert films.read_slugs(phases) == films.SLUGS
    assert films.read_column(phases) == ("varchar(50)", 0)
    films.run(phases, "migrate", "-v0")
    assert films.read_column(phases) == ("varchar(50)", 1)
