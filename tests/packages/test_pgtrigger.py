"""django-pgtrigger: its autodetector, and triggers on the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from tests.packages import films
from tests.support import servers
from tests.support.site import Site

films.require("pgtrigger")

META = """
    class Meta:
        triggers = [
            pgtrigger.Trigger(
                name="log_update",
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                func="INSERT INTO log VALUES (NEW.id); RETURN NEW;",
            ),
            pgtrigger.ReadOnly(name="fixed_title", fields=["title"]),
        ]
"""


@pytest.mark.parametrize(
    "order", [["safefield", "pgtrigger"], ["pgtrigger", "safefield"]]
)
def test_backfill_beside_triggers(
    tmp_path: Path, postgresql_alias: str, order: list[str]
) -> None:
    connection = connections[postgresql_alias]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE log (id bigint)")
    database = servers.get_connection_settings(connection)
    site = Site(tmp_path, installed_apps=[*order, "films"], database=database)
    films.make_site(site)
    site.write_models("import pgtrigger\n\n" + films.AFTER + META)

    # The triggers are written by pgtrigger, the backfill by safefield, in one go.
    films.run(site, "makemigrations", "-v0")

    texts = site.read_migrations()
    (name,) = [name for name, text in texts.items() if "AddFieldWithBackfill" in text]
    assert "".join(texts.values()).count("pgtrigger.migrations.AddTrigger") == 2
    films.write_function(site, f"films/migrations/{name}")
    films.run(site, "migrate", "-v0")
    assert films.read_slugs(site) == films.SLUGS
    films.run(site, "makemigrations", "--check", "-v0")
    assert "commands.E001" not in films.run(site, "check").err
    # A field more, now with the triggers in place: they fire as for any UPDATE.
    site.write_models(
        "import pgtrigger\n\n"
        + films.AFTER
        + "    year = models.IntegerField()\n"
        + META
    )
    films.run(site, "makemigrations", "-v0")
    path = f"films/migrations/{site.list_migrations()[-1]}"
    text = site.read(path)
    reminder = '"Write populate_movie_year() before running migrate."'
    site.write(
        path, text.replace(f"raise NotImplementedError({reminder})", "return 1950")
    )
    films.run(site, "migrate", "-v0")
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT year FROM films_movie")
        assert cursor.fetchall() == [(1950,)]
        cursor.execute("SELECT DISTINCT id FROM log ORDER BY id")
        assert cursor.fetchall() == [(1,), (2,), (3,), (4,), (5,)]
