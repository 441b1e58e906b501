"""What docs/integrity-errors.md says that databases say is what they say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import Error, connections, migrations, models, transaction

from tests.support.history import History
from tests.support.walk import list_rows
from tests.support.walk import read_page as read

KEY = ("id", models.BigAutoField(primary_key=True))

STUDIO = migrations.CreateModel("Studio", [KEY])
MOVIE = migrations.CreateModel(
    "Movie",
    [
        KEY,
        ("title", models.CharField(max_length=20)),
        ("year", models.SmallIntegerField()),
        ("slug", models.SlugField(unique=True)),
        ("studio", models.ForeignKey("Studio", models.CASCADE)),
    ],
    options={
        "constraints": [
            models.CheckConstraint(
                condition=models.Q(year__gte=1888), name="year_of_the_first_film"
            )
        ]
    },
)

GOOD = {"title": "Casablanca", "year": 1942, "slug": "casablanca", "studio_id": 1}

#: What is written beside the good row, by the section of the page.
BAD: dict[str, list[dict[str, Any]]] = {
    # Three dots: the column is left out.
    "A value is missing": [{"title": None}, {"title": ...}],
    "A value is taken": [{"slug": "casablanca"}],
    "A foreign key leads nowhere": [{"studio_id": 7}],
    "A check is broken": [{"year": 1800}],
    "A text is too long": [{"title": "The Treasure of the Sierra Madre"}],
    "A value has the wrong type": [{"year": "soon"}, {"year": 40_000}],
}

#: How the page calls the databases.
NAMES = {
    "default": "SQLite",
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
}


@pytest.fixture
def films(alias: str) -> str:
    """Return a database that has one film and its studio."""
    history = History(alias)
    history.apply(STUDIO)
    history.apply(MOVIE)
    history.rows("Studio").create(id=1)
    insert(alias, GOOD)
    return alias


def insert(alias: str, values: dict[str, Any]) -> None:
    connection = connections[alias]
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, values))
    marks = ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO films_movie ({names}) VALUES ({marks})",
            list(values.values()),
        )


def read_refusal(alias: str, values: dict[str, Any]) -> str:
    """Return what the database says, without the details on a line of their own."""
    row = GOOD | {"slug": "other"} | values
    row = {name: value for name, value in row.items() if value is not ...}
    try:
        with transaction.atomic(using=alias):
            insert(alias, row)
    except Error as error:
        # MySQL's errors are a number and a text.
        return str(error.args[-1]).partition("\n")[0]
    with connections[alias].cursor() as cursor:
        cursor.execute("DELETE FROM films_movie WHERE slug = 'other'")
    return "nothing: it is stored"


def read_page() -> dict[str, list[tuple[str, str]]]:
    """Return the databases and the messages of each section."""
    _, *sections = read("integrity-errors.md").split("\n## ")
    return {
        section.partition("\n")[0]: [
            (database, message.strip("` "))
            for databases, message in list_rows(section, "database")
            for database in databases.split(", ")
        ]
        for section in sections
    }


@pytest.mark.parametrize("section", BAD)
def test_messages_are_those_of_the_database(films: str, section: str) -> None:
    shown = [text for name, text in read_page()[section] if name == NAMES[films]]

    said = list(dict.fromkeys(read_refusal(films, values) for values in BAD[section]))

    assert len(said) == len(shown)
    for text, pattern in zip(said, shown, strict=True):
        assert re.fullmatch(re.escape(pattern).replace("…", ".+"), text), (
            text,
            pattern,
        )


def test_every_table_of_messages_is_looked_at() -> None:
    assert [name for name, messages in read_page().items() if messages] == list(BAD)
