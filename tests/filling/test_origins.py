"""A migration that another run has applied meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from tests.support.kills import make_site

#: The first operation stands for another run, which was quicker.
LATE = """\
from django.db import migrations, models

import safefield.operations


def record(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('films', '0002_slug', '2026-11-26 12:00:00')"
        )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0001_initial")]
    operations = [
        migrations.RunPython(record),
        safefield.operations.AddFieldWithBackfill(
            "Movie", "slug", models.SlugField(), lambda movie: "a"
        ),
    ]
"""


@pytest.mark.parametrize("alias", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_is_not_recorded_twice(alias: str, tmp_path: Path) -> None:
    """Fails if two runs that began at once both record the migration."""
    connection = connections[alias]
    site = make_site(connection, tmp_path, LATE, rows=1)

    result = site.manage("migrate")

    assert (result.code, result.err) == (
        1,
        "BackfillError: films.Movie.slug: another migrate has applied films.0002_slug "
        "meanwhile. Run migrate again for what comes after it.\n",
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM django_migrations WHERE app = 'films'")
        assert cursor.fetchone() == (2,)
