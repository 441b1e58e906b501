"""The ways that are measured: each gives every film a required, unique slug."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from django.db import connection, migrations, models, transaction
from django.db.models.functions import Cast, Concat, Lower
from django.utils.text import slugify

from benchmarks.films import TABLE, get_history
from safefield.filling.table_walk import TableWalk
from safefield.operations import AddFieldWithBackfill

#: Seconds by name of the part of a way.
Seconds = dict[str, float]

BULK_UPDATE_ROWS = 1_000

#: What a function takes that asks another service, and how heavy a row with a
#: picture in it is.
SLOW_SECONDS = 0.05
HEAVY_BYTES = 1_000_000
HEAVY_SQL = "repeat('x', %s)"


def slug_of(film: Any) -> str:
    return slugify(f"{film.title} {film.id}")


#: The nearest to slug_of() that all three databases compute themselves.
SLUG_EXPRESSION = Concat(
    Lower("title"),
    models.Value("-"),
    Cast("id", models.CharField(max_length=20)),
    output_field=models.CharField(max_length=330),
)


def slug_field() -> models.Field[Any, Any]:
    return models.SlugField(max_length=330, unique=True)


def text_field() -> models.Field[Any, Any]:
    # As slug_field(), less the validator: a film that is lower case is no slug.
    return models.CharField(max_length=330, unique=True)


@contextmanager
def timed(seconds: Seconds, part: str) -> Any:
    started = time.perf_counter()
    yield
    seconds[part] = seconds.get(part, 0) + time.perf_counter() - started


def three_steps(
    fill: Callable[[Any], None], *, atomic: bool = True, history: Any = None
) -> Seconds:
    """The usual three migrations: add, fill with `fill`, alter."""
    # Without the index that SlugField brings: built at the end, the fill is faster.
    loose = models.SlugField(max_length=330, null=True, db_index=False)

    def run(apps: Any, editor: Any) -> None:
        fill(apps.get_model("films", "Movie"))

    seconds: Seconds = {}
    history = history or get_history()
    with timed(seconds, "whole"):
        history.apply(migrations.AddField("Movie", "slug", loose), atomic=True)
        with timed(seconds, "fill"):
            history.apply(migrations.RunPython(run), atomic=atomic)
        history.apply(migrations.AlterField("Movie", "slug", slug_field()), atomic=True)
    return seconds


def fill_by_save(model: Any) -> None:
    for film in model._base_manager.iterator():
        film.slug = slug_of(film)
        film.save(update_fields=["slug"])


def save() -> Seconds:
    """row.save() in one transaction: the migration as Django's tutorial has it."""
    return three_steps(fill_by_save)


def save_committed() -> Seconds:
    """row.save(), each committed, as in a migration with atomic = False."""
    return three_steps(fill_by_save, atomic=False)


def fill_by_bulk_update(model: Any) -> None:
    last = 0
    while films := list(
        model._base_manager.filter(pk__gt=last).order_by("pk")[:BULK_UPDATE_ROWS]
    ):
        for film in films:
            film.slug = slug_of(film)
        model._base_manager.bulk_update(films, ["slug"])
        last = films[-1].pk


def bulk_update() -> Seconds:
    """bulk_update() with 1,000 rows at a time, paged by key."""
    return three_steps(fill_by_bulk_update)


def bulk_update_whole(
    history: Any = None,
    populate: Callable[[Any], str] = slug_of,
    related: tuple[str, ...] = (),
) -> Seconds:
    """bulk_update() of the whole queryset, in one call without batch_size."""

    def fill(model: Any) -> None:
        queryset = model._base_manager.all()
        films = list(queryset.select_related(*related) if related else queryset)
        for film in films:
            film.slug = populate(film)
        model._base_manager.bulk_update(films, ["slug"])

    return three_steps(fill, history=history)


def run_safefield(
    field: models.Field[Any, Any],
    populate: Any,
    history: Any = None,
    select_related: tuple[str, ...] = (),
) -> Seconds:
    seconds: Seconds = {}
    original = TableWalk.run

    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        with timed(seconds, "fill"):
            return original(self, *arguments, **options)

    TableWalk.run = run  # type: ignore[method-assign]
    operation = AddFieldWithBackfill(
        "Movie", "slug", field, populate, select_related=select_related
    )
    with timed(seconds, "whole"):
        (history or get_history()).apply(operation, atomic=False)
    return seconds


def safefield() -> Seconds:
    """safefield, with a function of one row."""
    return run_safefield(slug_field(), slug_of)


def safefield_expression() -> Seconds:
    """safefield, with an expression that the database computes."""
    return run_safefield(text_field(), SLUG_EXPRESSION)


def slow_slug_of(film: Any) -> str:
    time.sleep(SLOW_SECONDS)
    return slug_of(film)


def safefield_slow() -> Seconds:
    """safefield, with a function that takes 50 ms for each row."""
    return run_safefield(slug_field(), slow_slug_of)


def safefield_heavy() -> Seconds:
    """safefield, on rows of 1 MB each."""
    history = get_history()
    history.apply(migrations.AddField("Movie", "plot", models.TextField(null=True)))
    function = "hex(zeroblob(%s / 2))" if connection.vendor == "sqlite" else HEAVY_SQL
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET plot = {function}", [HEAVY_BYTES])
    return run_safefield(slug_field(), slug_of, history)


def floor_compute() -> Seconds:
    """The floor in Python: every row read, every slug computed, nothing written."""
    model = get_history().model("Movie")
    seconds: Seconds = {}
    with timed(seconds, "fill"):
        last = 0
        while films := list(
            model._base_manager.filter(pk__gt=last).order_by("pk")[:2_000]
        ):
            for film in films:
                slug_of(film)
            last = films[-1].pk
    return seconds


def floor_update(history: Any = None) -> Seconds:
    """The floor in the database: one UPDATE of the whole table, and AlterField."""
    loose = models.CharField(max_length=330, null=True)
    seconds: Seconds = {}
    history = history or get_history()
    with timed(seconds, "whole"):
        history.apply(migrations.AddField("Movie", "slug", loose))
        with timed(seconds, "fill"), transaction.atomic():
            history.rows("Movie").order_by().update(slug=SLUG_EXPRESSION)
        history.apply(migrations.AlterField("Movie", "slug", text_field()))
    return seconds


#: By the name that is printed. The first two run on a sample: they take hours.
WAYS: dict[str, Callable[[], Seconds]] = {
    "save": save,
    "save_committed": save_committed,
    "bulk_update": bulk_update,
    "bulk_update_whole": bulk_update_whole,
    "safefield": safefield,
    "safefield_expression": safefield_expression,
    "floor_compute": floor_compute,
    "floor_update": floor_update,
    "safefield_slow": safefield_slow,
    "safefield_heavy": safefield_heavy,
}
SAMPLED = ("save", "save_committed")
