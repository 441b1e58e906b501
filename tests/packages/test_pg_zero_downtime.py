"""django-pg-zero-downtime-migrations as the database backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from tests.packages import films
from tests.support import servers
from tests.support.catalogue import describe_table
from tests.support.site import Site

films.require("django_zero_downtime_migrations")

ENGINE = "django_zero_downtime_migrations.backends.postgres"

SETTINGS = """
ZERO_DOWNTIME_MIGRATIONS_LOCK_TIMEOUT = "2s"
ZERO_DOWNTIME_MIGRATIONS_STATEMENT_TIMEOUT = "2s"
ZERO_DOWNTIME_MIGRATIONS_FLEXIBLE_STATEMENT_TIMEOUT = True
ZERO_DOWNTIME_MIGRATIONS_RAISE_FOR_UNSAFE = True
"""

# Everything that a column can have: unique, a foreign key, a default, an index.
FIELDS = """\
    slug = models.SlugField(unique=True)
    twin = models.ForeignKey("self", models.CASCADE)
    rank = models.IntegerField(db_index=True)
"""


@pytest.fixture
def site(tmp_path: Path, postgresql_alias: str) -> Site:
    database = servers.get_connection_settings(connections[postgresql_alias])
    database["ENGINE"] = ENGINE
    return films.make_site(Site(tmp_path, database=database, settings=SETTINGS))


@pytest.mark.parametrize("atomic", [False, True])
def test_ends_as_on_django_s_backend(
    site: Site, postgresql_alias: str, atomic: bool
) -> None:
    connection = connections[postgresql_alias]
    site.write_models(films.BEFORE + FIELDS)
    films.run(site, "makemigrations", "-v0")
    values = {"slug": 'f"film-{movie.id}"', "twin": "movie.id", "rank": "-movie.id"}
    for name, text in site.read_migrations().items():
        for field, value in values.items():
            reminder = f"Write populate_movie_{field}() before running migrate."
            text = text.replace(
                f'raise NotImplementedError("{reminder}")', f"return {value}"
            )
        if atomic:
            text = text.replace("atomic = False", "atomic = True")
        site.write(f"films/migrations/{name}", text)

    films.run(site, "migrate", "-v0")

    assert films.read_slugs(site) == films.SLUGS
    ours = describe_table(connection, "films_movie")
    films.run(site, "migrate", "films", "zero", "-v0")
    site.write(
        "settings.py",
        site.read("settings.py").replace(ENGINE, "django.db.backends.postgresql"),
    )
    # Into a table without rows, which is what AddField does too.
    films.run(site, "migrate", "films", "-v0")
    assert ours == describe_table(connection, "films_movie")


def test_goes_back(site: Site, postgresql_alias: str) -> None:
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)
    before = describe_table(connections[postgresql_alias], "films_movie")
    films.run(site, "migrate", "-v0")

    films.run(site, "migrate", "films", "0001", "-v0")

    assert describe_table(connections[postgresql_alias], "films_movie") == before


def test_sqlmigrate_writes_sql(site: Site) -> None:
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)

    result = films.run(site, "sqlmigrate", "films", "0002")

    assert 'ALTER COLUMN "slug" SET NOT NULL' in result.out


@pytest.mark.parametrize("atomic", [False, True])
def test_table_without_rows(site: Site, postgresql_alias: str, atomic: bool) -> None:
    """Its schema editor does CONCURRENTLY what can be in no transaction."""
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)
    if atomic:
        for name, text in site.read_migrations().items():
            text = text.replace("atomic = False", "atomic = True")
            site.write(f"films/migrations/{name}", text)
    films.run(site, "migrate", "films", "zero", "-v0")

    films.run(site, "migrate", "films", "-v0")

    ours = describe_table(connections[postgresql_alias], "films_movie")
    films.run(site, "migrate", "films", "zero", "-v0")
    site.write(
        "settings.py",
        site.read("settings.py").replace(ENGINE, "django.db.backends.postgresql"),
    )
    films.run(site, "migrate", "films", "-v0")
    assert ours == describe_table(connections[postgresql_alias], "films_movie")
