"""django-tenants: one schema a tenant, each with its own table of films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.packages import films
from tests.support import servers
from tests.support.site import Site

films.require("django_tenants")

SHARED = ["safefield", "django_tenants", "django.contrib.contenttypes", "customers"]

SETTINGS = f"""
SHARED_APPS = {SHARED!r}
TENANT_APPS = ["films"]
TENANT_MODEL = "customers.Client"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
"""

CUSTOMERS = """
from django_tenants.models import DomainMixin, TenantMixin

class Client(TenantMixin):
    auto_create_schema = True

class Domain(DomainMixin):
    pass
"""

ADD_TENANTS = """\
from customers.models import Client
from django_tenants.utils import schema_context
from films.models import Movie
for name, count in (("one", 3), ("two", 0), ("three", 5)):
    Client(schema_name=name).save(verbosity=0)
    with schema_context(name):
        Movie.objects.bulk_create(Movie(title=f"Film {n}") for n in range(count))
"""


@pytest.fixture
def connection(postgresql_alias: str) -> Iterator[Any]:
    connection = connections[postgresql_alias]
    yield connection
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS one, two, three CASCADE")


def test_fills_the_table_of_each_tenant(tmp_path: Path, connection: Any) -> None:
    database = servers.get_connection_settings(connection)
    database["ENGINE"] = "django_tenants.postgresql_backend"
    site = Site(
        tmp_path,
        apps=["customers", "films"],
        installed_apps=[*SHARED, "films"],
        database=database,
        settings=SETTINGS,
    )
    site.write_models(CUSTOMERS, app="customers")
    site.write_models(films.BEFORE)
    films.run(site, "makemigrations", "-v0")
    films.run(site, "migrate_schemas", "--shared", "-v0")
    films.run(site, "shell", "-v0", "-c", ADD_TENANTS)
    site.write_models(films.AFTER)
    films.run(site, "makemigrations", "-v0")
    films.write_function(site)
    # A table of the same name in the schema that comes second on the search path,
    # which has to stay as it is.
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.films_movie (id bigint, slug text)")

    films.run(site, "migrate_schemas", "-v0")

    with connection.cursor() as cursor:
        for schema, count in (("one", 3), ("two", 0), ("three", 5)):
            cursor.execute(f"SELECT slug FROM {schema}.films_movie ORDER BY id")
            assert [row[0] for row in cursor.fetchall()] == films.SLUGS[:count]
            cursor.execute(
                "SELECT is_nullable FROM information_schema.columns WHERE "
                "table_schema = %s AND table_name = 'films_movie' "
                "AND column_name = 'slug'",
                [schema],
            )
            assert cursor.fetchall() == [("NO",)]
            cursor.execute(
                "SELECT count(*) FROM pg_constraint WHERE contype = 'u' "
                "AND conrelid = %s::regclass",
                [f"{schema}.films_movie"],
            )
            assert cursor.fetchall() == [(1,)]
    films.run(site, "migrate_schemas", "films", "0001", "-v0")
