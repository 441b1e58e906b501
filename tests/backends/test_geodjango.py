"""
Geometries: a spatial index belongs to the field, and Django adds it with the column.

Needs GDAL and GEOS, and PostGIS for PostgreSQL: Debian's gdal-bin and
postgresql-15-postgis-3. Where they are missing, the tests are skipped, unless
SAFEFIELD_REQUIRE_GEODJANGO=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

pytestmark = pytest.mark.newest

IS_REQUIRED = os.environ.get("SAFEFIELD_REQUIRE_GEODJANGO") == "1"

try:
    from django.contrib.gis.db import models as gis
    from django.contrib.gis.geos import Point
except ImproperlyConfigured as exc:
    if IS_REQUIRED:
        raise
    pytest.skip(f"GeoDjango is NOT TESTED: {exc}", allow_module_level=True)

ENGINES = {
    "postgresql": "django.contrib.gis.db.backends.postgis",
    "mariadb": "django.contrib.gis.db.backends.mysql",
}
FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the alias of an empty database that takes geometries."""
    alias = request.param
    request.getfixturevalue(f"{alias}_alias")
    plain = connections[alias]
    plain.close()
    connections.databases[alias]["ENGINE"], engine = (
        ENGINES[alias],
        connections.databases[alias]["ENGINE"],
    )
    del connections[alias]
    try:
        if alias == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'"
                )
                if cursor.fetchone() is None:
                    assert not IS_REQUIRED, "PostGIS is required, and not there."
                    pytest.skip("PostGIS is NOT TESTED: the server does not have it")
                cursor.execute("CREATE EXTENSION IF NOT EXISTS postgis")
        yield alias
        if alias == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute("DROP EXTENSION IF EXISTS postgis CASCADE")
    finally:
        connections[alias].close()
        connections.databases[alias]["ENGINE"] = engine
        connections[alias] = plain


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(place: str, request: pytest.FixtureRequest) -> History:
    return History(place, atomic=request.param)


CASES = {
    "required": gis.PointField(),
    "nullable": gis.PointField(null=True),
    "without an index": gis.PointField(spatial_index=False),
}
POSTGIS_CASES = {
    "geography": gis.PointField(geography=True),
    "three dimensions": gis.PointField(dim=3),
}


def create(history: History, *fields: Any, count: int = 3) -> None:
    history.apply(migrations.CreateModel("Movie", [*FIELDS, *fields]))
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=n, title=f"Film {n}") for n in range(1, count + 1)
    )


def get_place(movie: Any) -> Any:
    return Point(movie.pk, 2 * movie.pk, srid=4326)


def get_height(movie: Any) -> Any:
    return Point(movie.pk, 2 * movie.pk, 7, srid=4326)


def read(history: History) -> list[Any]:
    return [
        place and place.coords[:2]
        for place in history.rows("Movie").values_list("place", flat=True)
    ]


def describe_as_added(history: History, field: Any) -> Any:
    """Return the catalogue of a twin to which Django itself adds the field."""
    history.apply(migrations.CreateModel("Twin", FIELDS))
    history.apply(migrations.AddField("Twin", "place", field))
    return without_names(history.describe("Twin"), "twin")


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("name", [*CASES, *POSTGIS_CASES])
def test_added(history: History, name: str, count: int) -> None:
    """Fails if only alter_field() and the usual indexes are asked for."""
    vendor = history.connection.vendor
    if vendor == "mysql" and name in POSTGIS_CASES:
        pytest.skip("not a column of this database")
    field = {**CASES, **POSTGIS_CASES}[name]
    create(history, count=count)
    before = history.describe("Movie")
    populate = get_height if name == "three dimensions" else get_place

    history.apply(AddFieldWithBackfill("Movie", "place", field.clone(), populate))

    found = without_names(history.describe("Movie"), "movie")
    assert found == describe_as_added(history, field.clone())
    assert read(history) == [(n, 2 * n) for n in range(1, count + 1)]
    history.unapply()
    history.unapply()
    history.unapply()
    assert history.describe("Movie") == before


@pytest.mark.parametrize("old_index", [True, False])
def test_altered(history: History, old_index: bool) -> None:
    create(
        history, ("place", gis.PointField(null=True, spatial_index=old_index)), count=3
    )
    history.rows("Movie").filter(pk=2).update(place=Point(7, 7, srid=4326))
    before = history.describe("Movie")

    history.apply(AlterFieldWithBackfill("Movie", "place", gis.PointField(), get_place))

    found = without_names(history.describe("Movie"), "movie")
    assert found == describe_as_added(history, gis.PointField())
    assert read(history) == [(1, 2), (7, 7), (3, 6)]
    history.unapply()
    history.unapply()
    history.unapply()
    assert history.describe("Movie") == before


def test_later_operations(history: History) -> None:
    """Fails if a later operation of Django does not find the index by its name."""
    create(history)
    before = history.describe("Movie")
    history.apply(AddFieldWithBackfill("Movie", "place", gis.PointField(), get_place))

    history.apply(
        migrations.AlterField("Movie", "place", gis.PointField(spatial_index=False))
    )
    indexes = history.describe("Movie")["indexes"]
    assert [index for index in indexes if "place" in str(index)] == []
    history.apply(migrations.AlterField("Movie", "place", gis.PointField()))
    history.apply(migrations.RemoveField("Movie", "place"))

    assert history.describe("Movie") == before


def test_reverse(history: History) -> None:
    create(history)
    before = history.describe("Movie")
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "place",
            gis.PointField(),
            get_place,
            lambda movie: {"title": str(movie.place.coords)},
        )
    )

    history.unapply()

    titles = list(history.rows("Movie").values_list("title", flat=True))
    assert titles == ["(1.0, 2.0)", "(2.0, 4.0)", "(3.0, 6.0)"]
    assert history.describe("Movie") == before


def test_stopped_before_the_index(place: str) -> None:
    """Fails if the index is made only together with NOT NULL."""
    history = History(place)
    create(history)

    def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INDEX" in sql and "place" in sql and "films_movie" in sql:
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    operation = AddFieldWithBackfill("Movie", "place", gis.PointField(), get_place)
    with (
        pytest.raises(KeyboardInterrupt),
        history.connection.execute_wrapper(stop),
    ):
        history.apply(operation)
    history.apply(operation)

    found = without_names(history.describe("Movie"), "movie")
    assert found == describe_as_added(history, gis.PointField())


def test_refused_value(place: str) -> None:
    history = History(place)
    create(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "place",
                gis.PointField(),
                lambda movie: "nowhere" if movie.pk == 2 else get_place(movie),
            )
        )

    assert [row.pk for row in caught.value.rows] == [2]
