"""A project with five movies and two backfills, which can stop half-way."""

from __future__ import annotations

from pathlib import Path

from django.db import connections

from tests.support import servers
from tests.support.site import Site

INITIAL = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=100)),
                (
                    "year",
                    models.IntegerField(null=True, db_comment="first shown"),
                ),
            ],
        ),
    ]
"""

ROWS = """\
from django.db import migrations


def create_movies(apps, schema_editor):
    movies = apps.get_model("films", "Movie").objects.using(
        schema_editor.connection.alias
    )
    for number in range(1, 6):
        movies.create(title=f"Film {number}", year=None if number > 3 else 1900)


class Migration(migrations.Migration):
    dependencies = [("films", "0001_initial")]
    operations = [migrations.RunPython(create_movies)]
"""

SLUG = """\
from django.db import migrations, models
from django.utils.text import slugify

import safefield.operations


def populate_movie_slug(movie):
    return slugify(movie.title) if movie.pk <= {limit} else None


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0002_rows")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            "movie",
            "slug",
            models.SlugField(max_length=80, unique=True),
            populate_movie_slug,
        ),
    ]
"""

YEAR = """\
from django.db import migrations, models

import safefield.operations


def populate_movie_year(movie):
    return 1900 if movie.pk <= {limit} else None


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0003_movie_slug")]
    operations = [
        safefield.operations.AlterFieldWithBackfill(
            "movie",
            "year",
            models.IntegerField(db_index=True, db_comment="first shown"),
            populate_movie_year,
        ),
    ]
"""


def make_site(alias: str, tmp_path: Path) -> Site:
    """Return a project with five movies, before its two backfills."""
    database = servers.get_connection_settings(connections[alias])
    site = Site(tmp_path, database=database)
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_rows.py", ROWS)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    site.write("films/migrations/0004_alter_movie_year.py", YEAR.format(limit=9))
    site.succeed("migrate", "films", "0002")
    return site
