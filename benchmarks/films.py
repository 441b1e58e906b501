"""The database, the table of films and its rows, multiplied to size."""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import django  # noqa: E402 # needs the path
from django.conf import settings  # noqa: E402
from django.db import connections, migrations, models  # noqa: E402
from django.db.migrations.operations.base import Operation  # noqa: E402

from tests.support.history import History  # noqa: E402
from tests.support.servers import LABELS, find_servers  # noqa: E402

#: Where the films are, the first that is there.
FILM_FILES = [
    ROOT / "example_project" / "data" / "movies.csv",
    ROOT.parent / "shared" / "data" / "movies.csv",
]

#: Aliases of the test run by the name of the database.
ALIASES = {label: alias for alias, label in LABELS.items()}

FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=300)),
    ("year", models.IntegerField()),
    ("genres", models.CharField(max_length=300)),
]
CREATE_MOVIE = migrations.CreateModel("Movie", FIELDS)
TABLE, SOURCE = "films_movie", "benchmark_films"

#: What each database does before a run, so that every way finds the same.
SETTLE = {
    "sqlite": ["ANALYZE"],
    "postgresql": [f"VACUUM ANALYZE {TABLE}", "CHECKPOINT"],
    "mysql": [f"ANALYZE TABLE {TABLE}"],
}


def configure(databases: dict[str, Any]) -> None:
    """Configure Django with `databases`."""
    settings.configure(
        DATABASES=databases,
        INSTALLED_APPS=["safefield"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def create_database(name: str) -> Any:
    """Return a connection to an empty scratch database, found as the tests find it."""
    server = find_servers()[ALIASES[name]]
    if server.settings is None:
        raise SystemExit(f"There is no {name} to measure: {server.note}.")
    print(f"{name}: {server.note}")
    database = dict(server.settings)
    if name == "sqlite":
        directory = tempfile.mkdtemp(prefix="safefield-benchmark-")
        database["NAME"] = os.path.join(directory, "db.sqlite3")
        database["TEST"] = {"NAME": database["NAME"], "MIGRATE": False}
    configure({"default": database})
    connection = connections["default"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    return connection


def drop_database(connection: Any) -> None:
    """Remove what create_database() made."""
    name = connection.settings_dict["NAME"]
    connection.creation.destroy_test_db(name, verbosity=0)
    if connection.vendor == "sqlite":
        Path(name).unlink(missing_ok=True)
        Path(name).parent.rmdir()


def get_settings(connection: Any) -> dict[str, Any]:
    """Return the DATABASES entry with which another process finds the same."""
    keys = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    return {key: connection.settings_dict[key] for key in keys}


def get_history(*operations: Operation) -> History:
    """Return the history in which the tables of films were just created."""
    history = History("default")
    state = history.state.clone()
    for operation in operations or (CREATE_MOVIE,):
        operation.state_forwards(history.app_label, state)
    history.states.append(state)
    return history


def load_source(connection: Any, rows: int) -> None:
    """Fill the table that all others are copied from with at least `rows` films."""
    path = next(path for path in FILM_FILES if path.exists())
    with path.open(encoding="utf-8", newline="") as lines:
        films = [
            (number, film["title"][:290], int(film["year"] or 0), film["genres"][:290])
            for number, film in enumerate(csv.DictReader(lines), 1)
        ]
    History("default").apply(CREATE_MOVIE)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {SOURCE}")
        insert = f"INSERT INTO {SOURCE} (id, title, year, genres) "
        for start in range(0, len(films), 5_000):
            part = films[start : start + 5_000]
            for_all = ", ".join(["(%s, %s, %s, %s)"] * len(part))
            cursor.execute(
                f"{insert} VALUES {for_all}", [value for film in part for value in film]
            )
        for copy in range(1, -(-rows // len(films))):
            cursor.execute(
                f"{insert} SELECT id + {copy * len(films)}, title, year, genres "
                f"FROM {SOURCE} WHERE id <= {len(films)}"
            )


def create_table(connection: Any, rows: int) -> None:
    """Create the table again with the first `rows` films."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
    History("default").apply(CREATE_MOVIE)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (id, title, year, genres) "
            f"SELECT id, title, year, genres FROM {SOURCE} WHERE id <= {rows}"
        )
    settle(connection)


def settle(connection: Any) -> None:
    """Let the database do now what it would do during a run."""
    with connection.cursor() as cursor:
        for sql in SETTLE[connection.vendor]:
            cursor.execute(sql)
            if cursor.description:
                cursor.fetchall()


def measure_size(connection: Any) -> dict[str, float] | None:
    """Return the megabytes of table and indexes, where the database tells."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT pg_table_size('{TABLE}') / 1e6, pg_indexes_size('{TABLE}') / 1e6"
        )
        table, indexes = cursor.fetchone()
    return {"table_mb": float(table), "indexes_mb": float(indexes)}
