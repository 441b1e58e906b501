"""
MySQL and MariaDB as hosts set them up: what a session or a database may have set.

What is for a whole server is run by .ci/edges, on one that nobody else uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import F, Window
from django.db.models.functions import RowNumber

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.movies import STUDIO
from tests.support.old_code import Insertion
from tests.support.titles import create, get_title, read

pytestmark = [pytest.mark.newest, pytest.mark.edges]

#: What a literal, a LIKE or a JSON document has to escape, and a letter of latin1.
TITLES = ["a 'b' \"c\" `d`", "e \\ f \\' \\n", "100 % é", "e \\ f \\' \\n"]

MODES = "STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES"

#: By name: options of the connection, and the character set of the database.
SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "read committed": ({"isolation_level": "read committed"}, ""),
    "repeatable read": ({"isolation_level": "repeatable read"}, ""),
    "serializable": ({"isolation_level": "serializable"}, ""),
    "ANSI_QUOTES and NO_BACKSLASH_ESCAPES": (
        {"init_command": f"SET SESSION sql_mode = '{MODES}'"},
        "",
    ),
    "ANSI and TRADITIONAL": (
        {"init_command": "SET SESSION sql_mode = 'ANSI,TRADITIONAL'"},
        "",
    ),
    "sql_require_primary_key": (
        {"init_command": "SET SESSION sql_require_primary_key = ON"},
        "",
    ),
    "innodb_strict_mode off": (
        {"init_command": "SET SESSION innodb_strict_mode = OFF"},
        "",
    ),
    "utf8mb3": ({}, "utf8mb3"),
    "latin1": ({}, "latin1"),
}


@pytest.fixture(params=SETTINGS)
def history(
    request: pytest.FixtureRequest, mysql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    """Return a history of a database with one of the settings, and four films."""
    options, charset = SETTINGS[request.param]
    connection: Any = connections[mysql_alias]
    if request.param == "sql_require_primary_key" and connection.mysql_is_mariadb:
        pytest.skip("MariaDB has no sql_require_primary_key")
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    connection.close()
    monkeypatch.setitem(
        connection.settings_dict,
        "OPTIONS",
        {**connection.settings_dict["OPTIONS"], **options},
    )
    history = History(mysql_alias)
    if charset:
        history.execute(f"ALTER DATABASE {name} CHARACTER SET {charset}")
    history.apply(
        STUDIO,
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=40)),
                ("number", models.IntegerField(null=True)),
            ],
        ),
    )
    history.rows("Studio").create(id=1, name="A")
    for n, title in enumerate(TITLES, 1):
        history.rows("Movie").create(id=10 * n, title=title)
    yield history
    connection.close()
    if charset:
        history.execute(f"ALTER DATABASE {name} CHARACTER SET utf8mb4")


def get_operations() -> list[Any]:
    return [
        AddFieldWithBackfill(
            "Movie",
            "code",
            models.CharField(max_length=80, unique=True),
            get_title,
            deduplicate=safefield.numbered,
        ),
        AddFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            lambda movie: 1,
        ),
        AddFieldWithBackfill(
            "Movie",
            "position",
            models.IntegerField(),
            Window(RowNumber(), order_by=[F("title").asc(), F("id").desc()]),
        ),
        AlterFieldWithBackfill(
            "Movie", "number", models.BigIntegerField(), lambda movie: movie.pk
        ),
    ]


def get_django_operations() -> list[Any]:
    return [
        migrations.AddField(
            "Movie", "code", models.CharField(max_length=80, unique=True)
        ),
        migrations.AddField(
            "Movie", "studio", models.ForeignKey("films.Studio", models.CASCADE)
        ),
        migrations.AddField("Movie", "position", models.IntegerField()),
        migrations.AlterField("Movie", "number", models.BigIntegerField()),
    ]


def test_there_and_back(history: History) -> None:
    """Fails if a value or the table is another one than elsewhere, or a setting is."""
    before = history.describe("Movie")

    history.apply(*get_operations())

    code, titles = read(history), [*TITLES[:3], f"{TITLES[3]}-2"]
    assert code == titles
    assert read(history, "studio_id") == [1] * 4
    assert read(history, "position") == [2, 4, 1, 3]
    assert read(history, "number") == [10, 20, 30, 40]
    filled = history.describe("Movie")

    history.unapply()
    assert history.describe("Movie") == before

    history.rows("Movie").delete()
    history.apply(*get_django_operations())
    assert history.describe("Movie") == filled


def test_row_that_comes_in(history: History) -> None:
    """Fails if a row of old code is left without a value, or waits for the fill."""
    insertion = Insertion(
        history, lambda sql: sql.startswith("ALTER TABLE") and "NOT NULL" in sql
    )

    with history.connection.execute_wrapper(insertion):
        history.apply(get_operations()[0])

    assert insertion.is_done
    assert read(history) == ["Late", *TITLES[:3], f"{TITLES[3]}-2"]


def test_bad_rows_are_named(history: History) -> None:
    """Fails if the values of good rows go with those of bad ones."""
    operation = AddFieldWithBackfill(
        "Movie",
        "code",
        models.CharField(max_length=12),
        lambda movie: "x" * 13 if movie.pk == 20 else movie.title[:12],
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert [row.pk for row in caught.value.rows] == [20]
    assert read(history) == [TITLES[0][:12], None, *(x[:12] for x in TITLES[2:])]


@pytest.mark.skipif(
    not os.environ.get("SAFEFIELD_OWN_SERVER"), reason="it is for a whole server"
)
@pytest.mark.parametrize("name", ["read_only", "super_read_only"])
def test_replica(mysql_alias: str, name: str) -> None:
    """Fails if a traceback says it, or if something is changed before."""
    history = History(mysql_alias)
    connection: Any = history.connection
    if name == "super_read_only" and connection.mysql_is_mariadb:
        pytest.skip("MariaDB has no super_read_only")
    create(history)
    user, root = f"reader_{os.getpid()}", connection.settings_dict["USER"]
    database = connection.ops.quote_name(connection.settings_dict["NAME"])
    history.execute(
        f"CREATE USER {user}",
        f"GRANT ALL ON {database}.* TO {user}",
        f"SET GLOBAL {name} = ON",
    )
    before = history.describe("Movie")
    connection.close()
    if name == "read_only":
        connection.settings_dict["USER"] = user
    try:
        with pytest.raises(BackfillError) as caught:
            history.apply(get_operations()[0])
    finally:
        connection.close()
        connection.settings_dict["USER"] = root
        history.execute("SET GLOBAL read_only = OFF", f"DROP USER {user}")

    server = "MariaDB" if connection.mysql_is_mariadb else "MySQL"
    option = name.replace("_", "-")
    assert str(caught.value) == (
        "films.Movie.code: the database takes no changes from this session: The "
        f"{server} server is running with the --{option} option so it cannot execute "
        "this statement. Let it write, or connect to a server that does. The rows that "
        "are filled stay. Run migrate again to resume."
    )
    assert history.describe("Movie") == before
