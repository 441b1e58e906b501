"""Packages whose makemigrations stands before safefield's, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import films
from tests.support.site import Site
from tests.support.walk import list_blocks

PACKAGES = ["django_linear_migrations", "django_migration_linter", "syzygy"]

# What the hint of safefield.W001 says, as docs/other-packages.md shows it: a Command
# of the project's own, derived from both, in an app that comes first.
(COMBINED,) = (
    block
    for block in list_blocks("other-packages.md")
    if block.task.startswith("file combined/")
)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    films.require(request.param)
    return str(request.param)


def finish(site: Site) -> None:
    assert films.run(site, "makemigrations").out == films.WRITTEN
    films.write_function(site)
    films.run(site, "migrate", "-v0")
    assert films.read_slugs(site) == films.SLUGS
    assert films.read_column(site) == ("varchar(50)", 1)
    assert films.run(site, "makemigrations", "--check").out == "No changes detected\n"


def test_works_behind_safefield(tmp_path: Path, package: str) -> None:
    site = Site(tmp_path, installed_apps=["safefield", package, "films"])

    films.make_site(site)

    assert "safefield.W001" not in films.run(site, "check").err
    finish(site)


def test_check_says_that_safefield_is_shadowed(tmp_path: Path, package: str) -> None:
    site = Site(tmp_path, installed_apps=[package, "safefield", "films"])

    result = films.run(site, "check")

    assert result.err == (
        "System check identified some issues:\n\nWARNINGS:\n"
        f"?: (safefield.W001) The makemigrations command of '{package}' is used "
        f"instead of safefield's, so it asks for one-off defaults.\n"
        f"\tHINT: Put 'safefield' before '{package}' in INSTALLED_APPS: safefield "
        f"then uses that command too. Where '{package}' has to come first, derive its "
        f"Command from safefield.management.commands.makemigrations.Command.\n"
        "\nSystem check identified 1 issue (0 silenced).\n"
    )


def test_command_derived_from_both_works_in_any_order(
    tmp_path: Path, package: str
) -> None:
    apps = ["combined", package, "safefield", "films"]
    site = Site(tmp_path, apps=["combined", "films"], installed_apps=apps)
    site.write("combined/management/__init__.py", "")
    site.write("combined/management/commands/__init__.py", "")
    site.write(
        COMBINED.task.removeprefix("file "),
        COMBINED.text.replace("django_linear_migrations", package),
    )

    films.make_site(site)

    assert "safefield.W001" not in films.run(site, "check").err
    finish(site)


def test_three_packages_at_once(tmp_path: Path) -> None:
    """Django's rule holds: of the packages behind safefield the first one counts."""
    for name in PACKAGES:
        films.require(name)
    site = Site(tmp_path, installed_apps=["safefield", *PACKAGES, "films"])

    films.make_site(site)

    finish(site)
    assert site.read("films/migrations/max_migration.txt") == "0002_movie_slug\n"
