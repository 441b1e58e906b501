"""Ways to write: kinds of keys, sizes of batches, migrations, connections."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connections, models

from tests.oracle.fields import TypedField
from tests.oracle.values import TEXTS

Vendor = str


@dataclass(frozen=True)
class Key:
    """
    A kind of primary key.

    Args:
        fields (Callable): Makes its fields, by name.
        make (Callable): The n-th key, from 0; they are in ascending order.
        vendors (str): The databases that have it.
    """

    fields: Callable[[], dict[str, Any]]
    make: Callable[[int], Any]
    vendors: str = "sqlite postgresql mysql"


def single(make_field: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    """Return what makes a key of one column."""
    return lambda: {"id": make_field()}


def make_text(number: int) -> str:
    """Return a text that is another one under every collation."""
    return f"{number:05}{TEXTS[number % len(TEXTS)]}|"[:60]


KEYS = {
    "dense": Key(
        single(lambda: models.BigAutoField(primary_key=True)), lambda n: n + 1
    ),
    "gaps": Key(
        single(lambda: models.BigAutoField(primary_key=True)), lambda n: 3 * n + 1
    ),
    "negative": Key(
        single(lambda: models.BigIntegerField(primary_key=True)), lambda n: n - 2**63
    ),
    "around zero": Key(
        single(lambda: models.IntegerField(primary_key=True)), lambda n: 2 * n - 20
    ),
    "highest": Key(
        single(lambda: models.BigIntegerField(primary_key=True)),
        lambda n: 2**63 - 100_000 + n,
    ),
    "unsigned": Key(
        single(lambda: models.PositiveBigIntegerField(primary_key=True)),
        lambda n: 2**63 - 7 + n,
        "mysql",
    ),
    "unsigned gaps": Key(
        single(lambda: models.PositiveBigIntegerField(primary_key=True)),
        lambda n: 2**63 - 7 + 2 * n,
        "mysql",
    ),
    "text": Key(
        single(lambda: models.CharField(max_length=60, primary_key=True)), make_text
    ),
    "accents": Key(
        single(lambda: models.CharField(max_length=9, primary_key=True)),
        lambda n: f"{n:05}\u00e9",
    ),
    "uuid": Key(
        single(lambda: models.UUIDField(primary_key=True)),
        lambda n: uuid.UUID(int=(n + 1) << 100 | 7),
    ),
    "composite": Key(
        lambda: {
            "pk": models.CompositePrimaryKey("shelf", "place"),
            "shelf": models.CharField(max_length=60),
            "place": models.BigIntegerField(),
        },
        lambda n: (make_text(n // 7), n % 7 - 3),
    ),
    "char": Key(
        single(lambda: TypedField("char(6)", primary_key=True)),
        lambda n: f"k{n:05}",
        "postgresql mysql",
    ),
    "bit": Key(
        single(lambda: TypedField("bit(12)", primary_key=True)),
        lambda n: f"{n:012b}",
        "postgresql",
    ),
    "domain": Key(
        single(lambda: TypedField("code", primary_key=True)),
        lambda n: f"k{n:05}",
        "postgresql",
    ),
    "citext": Key(
        single(lambda: TypedField("citext", primary_key=True)),
        lambda n: f"K{n:05}",
        "postgresql",
    ),
    "decimal": Key(
        single(
            lambda: models.DecimalField(
                max_digits=12, decimal_places=3, primary_key=True
            )
        ),
        lambda n: Decimal(n) / 8,
    ),
    "date": Key(
        single(lambda: models.DateField(primary_key=True)),
        lambda n: dt.date(1, 1, 1) + dt.timedelta(days=n * 300),
    ),
    "time": Key(
        single(lambda: models.DateTimeField(primary_key=True)),
        lambda n: (
            dt.datetime(1900, 1, 1, tzinfo=dt.timezone.utc)
            + dt.timedelta(days=n, microseconds=n)
        ),
    ),
}


@dataclass(frozen=True)
class Way:
    """
    One way to fill a column.

    Args:
        key (str): Of the table, one of KEYS.
        batch_size (int | None): Rows in a batch.
        atomic (bool): Whether the migration is.
        alters (bool): Whether the field exists and has values in every other row.
        options (dict): Of the connection.
        charset (str): Of the database, on MariaDB and MySQL.
    """

    key: str = "dense"
    batch_size: int | None = None
    atomic: bool = False
    alters: bool = False
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    charset: str = ""

    def __str__(self) -> str:
        parts = [self.key]
        parts += [f"batches of {self.batch_size}"] if self.batch_size else []
        parts += ["atomic"] if self.atomic else []
        parts += ["alters"] if self.alters else []
        parts += [f"{name} {value}" for name, value in self.options.items()]
        parts += [f"database {self.charset}"] if self.charset else []
        return ", ".join(parts)


#: Every field goes these ways.
MAIN_WAYS = [Way(), Way("gaps", 100, atomic=True, alters=True)]

#: Every field goes some of these ways, and all of them in a long run.
OTHER_WAYS = [
    Way("gaps"),
    Way("negative", 5),
    Way("around zero", 1_000),
    Way("highest", 100, atomic=True),
    Way("text"),
    Way("uuid", 5, alters=True),
    Way("composite", 100),
    Way("dense", 1),
    Way("decimal", 100, atomic=True),
    Way("date"),
    Way("time", 5),
    Way("dense", 1_000, alters=True),
]

MORE_WAYS = {
    "sqlite": [],
    "postgresql": [
        Way("char"),
        Way("bit", 100, alters=True),
        Way("domain", 5),
        Way("citext", atomic=True),
        Way("dense", options={"server_side_binding": True}),
        Way("text", 5, options={"server_side_binding": True}),
    ],
    "mysql": [
        Way("char"),
        Way("unsigned"),
        Way("unsigned gaps", 100, alters=True),
        Way("gaps", charset="latin1"),
        Way("accents", 100, charset="utf8mb3"),
        Way("gaps", 5, options={"charset": "utf8mb3"}),
        Way("dense", options={"charset": "utf8mb3"}, charset="latin1"),
        Way("gaps", options={"charset": "latin1"}),
        Way("gaps", options={"isolation_level": "repeatable read"}),
    ],
}


def get_other_ways(vendor: Vendor) -> list[Way]:
    """Return the ways that not every field goes in a short run."""
    return [*OTHER_WAYS, *MORE_WAYS[vendor]]


@contextmanager
def set_up(alias: str, way: Way) -> Iterator[None]:
    """Let connections be as `way` says in the block."""
    connection = connections[alias]
    if not (way.options or way.charset):
        yield
        return
    before = connection.settings_dict["OPTIONS"]
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    restore = ""
    if way.charset:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@character_set_database, @@collation_database")
            restore = "ALTER DATABASE {} CHARACTER SET {} COLLATE {}".format(
                name, *cursor.fetchone()
            )
            cursor.execute(f"ALTER DATABASE {name} CHARACTER SET {way.charset}")
    # A session keeps what it found when it began.
    connection.close()
    connection.settings_dict["OPTIONS"] = before | way.options
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = before
        if restore:
            with connection.cursor() as cursor:
                cursor.execute(restore)
            connection.close()
