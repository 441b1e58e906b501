"""Tables with more columns than a function reads, and what is measured on them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.utils.text import slugify

from benchmarks import films
from benchmarks.ways import (
    Seconds,
    bulk_update_whole,
    floor_update,
    run_safefield,
    slug_field,
    slug_of,
    three_steps,
    timed,
)
from tests.support.history import History

#: Different texts that the rows have, and related rows in each table.
BODIES, BODY_TABLE = 499, "benchmark_bodies"
RELATED_ROWS = 499

#: Rows that bulk_update() reads and writes at a time.
BULK_UPDATE_ROWS = 1_000

RELATIONS = ("studio", "country", "language", "distributor", "archive")


@dataclass(frozen=True)
class Shape:
    """
    A table of films with other columns beside.

    Args:
        title: How the table of results names it.
        fields: The columns that it has besides, each with the SQL of its values from
            a film `f` and a body `b`.
        populate: What is measured.
        only: What a loop names in only() to read no more than populate does.
        related: Names of relations to other tables, handed to select_related.
    """

    title: str
    fields: list[tuple[str, models.Field[Any, Any], str]] = field(default_factory=list)
    populate: Callable[[Any], str] = slug_of
    only: tuple[str, ...] = ("title",)
    related: tuple[str, ...] = ()

    @property
    def operations(self) -> list[Operation]:
        """What makes the tables."""
        related = [
            migrations.CreateModel(
                name.title(),
                [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("name", models.CharField(max_length=100)),
                    ("notes", models.TextField()),
                ],
            )
            for name in self.related
        ]
        keys = [
            (name, models.ForeignKey(f"films.{name.title()}", models.CASCADE))
            for name in self.related
        ]
        others = [(name, column) for name, column, _ in self.fields]
        return [
            *related,
            migrations.CreateModel("Movie", [*films.FIELDS, *others, *keys]),
        ]


def slug_of_three(film: Any) -> str:
    return slugify(f"{film.title} {film.year} {film.id}")


def slug_of_relations(film: Any) -> str:
    names = " ".join(getattr(film, name).name for name in RELATIONS)
    # With the key in front, so that what is cut off is not what differs.
    return slugify(f"{film.id} {film.title} {names}")[:330]


def make_columns() -> list[tuple[str, models.Field[Any, Any], str]]:
    """Return 26 columns of the usual kinds, which make 30 with those of a film."""
    kinds: list[tuple[Callable[[], models.Field[Any, Any]], str]] = [
        (models.IntegerField, "f.year"),
        (lambda: models.CharField(max_length=300), "f.genres"),
        (lambda: models.DecimalField(max_digits=10, decimal_places=2), "f.year"),
        (models.BooleanField, "f.year > 1950"),
        (models.DateTimeField, "'2026-11-27 10:00:00'"),
        (models.FloatField, "f.year / 3"),
    ]
    return [
        (f"extra{number}", make(), sql)
        for number in range(26)
        for make, sql in [kinds[number % len(kinds)]]
    ]


SHAPES = {
    "narrow": Shape("4 columns"),
    "wide": Shape(
        "a text and a JSON list beside",
        [
            ("body", models.TextField(), "b.body"),
            ("tags", models.JSONField(), "b.tags"),
        ],
    ),
    "columns": Shape(
        "30 columns, 3 read", make_columns(), slug_of_three, ("title", "year")
    ),
    "relations": Shape(
        "5 joined relations",
        populate=slug_of_relations,
        only=("title", *(f"{name}__name" for name in RELATIONS)),
        related=RELATIONS,
    ),
}


def load_bodies(connection: Any, size: int) -> None:
    """Make the texts that wide rows have: titles in any order, of `size` characters."""
    numbers = random.Random(1)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT title FROM {films.SOURCE} WHERE id <= 10000")
        titles = [title for (title,) in cursor.fetchall()]
        kind = models.TextField().db_type(connection)
        json_kind = models.JSONField().db_type(connection)
        cursor.execute(
            f"CREATE TABLE {BODY_TABLE} (id integer, body {kind}, tags {json_kind})"
        )
        for number in range(BODIES):
            parts: list[str] = []
            while sum(map(len, parts)) < size:
                parts += numbers.sample(titles, 20)
            values = [number, ". ".join(parts)[:size], json.dumps(parts[:20])]
            cursor.execute(f"INSERT INTO {BODY_TABLE} VALUES (%s, %s, %s)", values)


def create_table(connection: Any, name: str, rows: int) -> None:
    """Create the table of a shape again with the first `rows` films."""
    shape = SHAPES[name]
    drop_tables(connection)
    History("default").apply(*shape.operations)
    columns = ["id", "title", "year", "genres"]
    values = [f"f.{column}" for column in columns]
    columns += [column for column, _, _ in shape.fields]
    values += [sql for _, _, sql in shape.fields]
    columns += [f"{relation}_id" for relation in shape.related]
    values += [f"f.id % {RELATED_ROWS} + 1" for _ in shape.related]
    with connection.cursor() as cursor:
        for relation in shape.related:
            cursor.execute(
                f"INSERT INTO films_{relation} (id, name, notes) "
                f"SELECT f.id, SUBSTR(f.title, 1, 20), SUBSTR(b.body, 1, 1000) "
                f"FROM {films.SOURCE} f JOIN {BODY_TABLE} b ON b.id = f.id % {BODIES} "
                f"WHERE f.id <= {RELATED_ROWS + 1}"
            )
        cursor.execute(
            f"INSERT INTO {films.TABLE} ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM {films.SOURCE} f "
            f"JOIN {BODY_TABLE} b ON b.id = f.id % {BODIES} WHERE f.id <= {rows}"
        )
    films.settle(connection)


def drop_tables(connection: Any) -> None:
    """Drop the tables of the shape before."""
    with connection.cursor() as cursor:
        for name in ("movie", *RELATIONS):
            cursor.execute(f"DROP TABLE IF EXISTS films_{name}")


def run(way: str, name: str) -> Seconds:
    """
    Run one way on the table of a shape, which was just created.

    Returns:
        dict[str, float]: Seconds of the whole, of the fill, and mostly of its parts.
    """
    shape = SHAPES[name]
    seconds: Seconds = {}
    history = films.get_history(*shape.operations)
    if way in ("bulk_update_whole", "floor_update"):
        # What these do is one piece.
        seconds = (
            floor_update(history)
            if way == "floor_update"
            else bulk_update_whole(history, shape.populate, shape.related)
        )
        return {**seconds, "enforce": seconds["whole"] - seconds["fill"]}
    if way == "safefield":

        def write(execute: Any, sql: Any, *arguments: Any) -> Any:
            if sql.startswith("SELECT") or "UPDATE" not in sql:
                return execute(sql, *arguments)
            with timed(seconds, "write"):
                return execute(sql, *arguments)

        def populate(film: Any) -> str:
            nonlocal computing
            began = time.perf_counter()
            slug = shape.populate(film)
            computing += time.perf_counter() - began
            return slug

        computing = 0.0
        with connection.execute_wrapper(write):
            seconds |= run_safefield(slug_field(), populate, history, shape.related)
        seconds["compute"] = computing
    else:
        only = shape.only if way == "bulk_update_only" else ()

        def fill(model: Any) -> None:
            fill_by_bulk_update(model, shape, only, seconds)

        seconds |= three_steps(fill, history=history)
    seconds["enforce"] = seconds["whole"] - seconds["fill"]
    seconds["read"] = seconds["fill"] - seconds["compute"] - seconds["write"]
    return seconds


def fill_by_bulk_update(
    model: Any, shape: Shape, only: tuple[str, ...], seconds: Seconds
) -> None:
    queryset = model._base_manager.order_by("pk")
    if shape.related:
        queryset = queryset.select_related(*shape.related)
    if only:
        queryset = queryset.only(*only)
    last = 0
    while rows := list(queryset.filter(pk__gt=last)[:BULK_UPDATE_ROWS]):
        with timed(seconds, "compute"):
            for row in rows:
                row.slug = shape.populate(row)
        with timed(seconds, "write"):
            model._base_manager.bulk_update(rows, ["slug"])
        last = rows[-1].pk
