"""showbackfills of one app, for a deploy script, and of what was squashed."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from tests.support.half_way import INITIAL, ROWS, SLUG, YEAR
from tests.support.servers import get_connection_settings
from tests.support.site import Site

NOT_STARTED = "films.0003_movie_slug  films.Movie.slug  not started\n"
DONE = "films.0003_movie_slug  films.Movie.slug  done\n"

LATER = """\
        migrations.{operation},
    ]
"""


def make_site(path: Path, slug: str = SLUG, **kwargs: object) -> Site:
    site = Site(path, apps=("films", "books"), **kwargs)  # type: ignore[arg-type]  # a database
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_rows.py", ROWS)
    site.write("films/migrations/0003_movie_slug.py", slug.format(limit=9))
    return site


def test_check_says_whether_all_are_done(tmp_path: Path) -> None:
    """Fails if a deploy script cannot tell from the exit code."""
    site = make_site(tmp_path)

    before = site.manage("showbackfills", "--check")
    site.succeed("migrate", "films", "-v0")
    after = site.manage("showbackfills", "--check")

    assert before == (
        NOT_STARTED,
        "CommandError: 1 of 1 backfills is not done.\n",
        1,
    )
    assert after == (DONE, "", 0)


def test_check_of_what_is_done_and_not_recorded(tmp_path: Path) -> None:
    """Fails if "done, run migrate" counts as done."""
    site = make_site(tmp_path)
    site.succeed("migrate", "films", "-v0")
    site.succeed("migrate", "films", "0002", "--fake", "-v0")

    result = site.manage("showbackfills", "--check")

    assert result == (
        "films.0003_movie_slug  films.Movie.slug  done, not recorded: run migrate\n",
        "CommandError: 1 of 1 backfills is not done.\n",
        1,
    )


def test_check_without_backfills(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.write("books/migrations/0001_initial.py", INITIAL)

    assert site.succeed("showbackfills", "books", "--check") == (
        "No migration of app 'books' has a backfill.\n"
    )


def test_one_app(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.write("books/migrations/0001_initial.py", INITIAL)

    assert site.succeed("showbackfills", "films") == NOT_STARTED


@pytest.mark.parametrize("name", ["nothing", "safefield"])
def test_app_without_migrations(tmp_path: Path, name: str) -> None:
    site = make_site(tmp_path)

    assert site.manage("showbackfills", name) == (
        "",
        f"SafefieldError: App '{name}' does not have migrations.\n",
        1,
    )


@pytest.mark.parametrize(
    "later",
    [
        'AlterField("movie", "slug", models.CharField(max_length=80))',
        'RemoveField("movie", "slug")',
        'RenameField("movie", "slug", "name")',
        'RenameModel("Movie", "Film")',
        'AlterModelTable("movie", "film")',
        'DeleteModel("Movie")',
    ],
)
def test_what_the_same_migration_changes_later(tmp_path: Path, later: str) -> None:
    """Fails if the column is compared with what a squashed history has left behind."""
    slug = SLUG.replace("    ]\n", LATER.format(operation=later))
    site = make_site(tmp_path, slug)
    site.succeed("migrate", "films", "-v0")

    assert site.succeed("showbackfills", "--check") == DONE


@pytest.mark.parametrize(
    "later",
    [
        'AlterField("movie", "year", models.IntegerField(null=True))',
        'RenameField("movie", "year", "shown")',
    ],
)
def test_what_the_same_migration_alters_twice(tmp_path: Path, later: str) -> None:
    """Fails if an altered field is not found, whose name is equal to no other."""
    site = make_site(tmp_path)
    year = YEAR.format(limit=9).replace("    ]\n", LATER.format(operation=later))
    site.write("films/migrations/0004_alter_movie_year.py", year)
    site.succeed("migrate", "films", "-v0")

    assert site.succeed("showbackfills", "--check") == (
        "films.0003_movie_slug        films.Movie.slug  done\n"
        "films.0004_alter_movie_year  films.Movie.year  done\n"
    )


@pytest.mark.parametrize(
    "later",
    [
        'AlterField("movie", "title", models.CharField(max_length=90))',
        'DeleteModel("Studio")',
    ],
)
def test_what_it_leaves_alone_is_looked_at(tmp_path: Path, later: str) -> None:
    """Fails if any other operation behind the backfill hides what is not enforced."""
    site = make_site(tmp_path, SLUG.replace("    ]\n", LATER.format(operation=later)))
    studio = '        migrations.CreateModel("Studio", []),\n    ]\n'
    site.write("films/migrations/0001_initial.py", INITIAL.replace("    ]\n", studio))
    site.succeed("migrate", "films", "0002", "-v0")
    site.succeed("migrate", "films", "--fake", "-v0")

    result = site.manage("showbackfills", "--check")

    assert result.out == (
        "films.0003_movie_slug  films.Movie.slug  applied, but the column is not "
        "there\n"
    )
    assert result.code == 1


def test_table_with_its_schema_in_the_name(
    postgresql_alias: str, tmp_path: Path
) -> None:
    """Fails if Django's introspection is asked, which finds no such table."""
    connection = connections[postgresql_alias]
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA legacy")
    site = make_site(tmp_path, database=get_connection_settings(connection))
    site.write(
        "films/migrations/0001_initial.py",
        INITIAL.replace(
            "            ],\n        ),",
            "            ],\n"
            "            options={'db_table': '\"legacy\".\"film\"'},\n        ),",
        ),
    )
    site.succeed("migrate", "films", "-v0")

    said = site.succeed("showbackfills", "--check")

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA legacy CASCADE")
    assert said == DONE
