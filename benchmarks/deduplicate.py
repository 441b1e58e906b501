"""
Compare a table whose rows all share one value with one that has no duplicates.

    python benchmarks/deduplicate.py --database postgresql --rows 200000

The same operation on all, with deduplicate=safefield.numbered. They take
turns; what is to be compared is the ratio of the times per row.

With unique_with, the rows share one value in one group, or in a group for each two of
them.

Measured with unique_with on 2026-11-26 on 2 busy cores, one round, µs a row of
20,000 and of 200,000 rows:

| database | no duplicates, one group | one shared value, one group | groups of two |
|---|---|---|---|
| SQLite 3.40 | 19 and 19 | 119 and 144 | 76 and 92 |
| PostgreSQL 15 | 40 and 67 | 190 and 293 | 139 and 176 |
| MariaDB 10.11 | 80 and 87 | 249 and 276 | 157 and 178 |

Measured without it on 2026-11-20 on 2 cores that others used too, one round, µs a row
without duplicates and with one shared value:

| database | 20,000 rows | 200,000 rows | times as long, 200,000 rows |
|---|---|---|---|
| SQLite 3.40 | 20 and 49 | 6 and 37 | 6.1 |
| PostgreSQL 15 | 32 and 138 | 30 and 124 | 4.2 |
| MariaDB 10.11 | 49 and 125 | 25 and 138 | 5.5 |

Ten times the rows cost no more a row: it is linear.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.db import migrations, models  # noqa: E402 # needs the path

from benchmarks import films  # noqa: E402
from tests.support.history import History  # noqa: E402

PAGE_ROWS = 5_000


def distinct(row: Any) -> str:
    return f"film-{row.pk}"


def shared(row: Any) -> str:
    return "film"


class Way(NamedTuple):
    """
    What is measured.

    Args:
        populate (Callable): Gives the values.
        rows_in_group (int): Rows that a value is unique among; 0 for all.
    """

    populate: Callable[[Any], str]
    rows_in_group: int = 0


def measure(way: Way, rows: int) -> float:
    """Return the seconds of one migration over `rows` rows."""
    import safefield
    from safefield.operations import AddFieldWithBackfill

    history = History("default")
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("year", models.IntegerField()),
            ],
        )
    )
    size = way.rows_in_group or rows
    movie = history.model("Movie")
    for start in range(0, rows, PAGE_ROWS):
        end = min(start + PAGE_ROWS, rows)
        history.rows("Movie").bulk_create(
            movie(pk=n + 1, year=n // size) for n in range(start, end)
        )
    operation = AddFieldWithBackfill(
        "Movie",
        "slug",
        models.SlugField(max_length=50, unique=not way.rows_in_group),
        way.populate,
        deduplicate=safefield.numbered,
        unique_with=("year",) if way.rows_in_group else (),
    )
    started = time.perf_counter()
    history.apply(operation, atomic=False)
    seconds = time.perf_counter() - started
    together = ["year", "slug"] if way.rows_in_group else ["slug"]
    found = history.rows("Movie").order_by().values_list(*together)
    assert found.distinct().count() == rows
    history.apply(migrations.DeleteModel("Movie"))
    return seconds


def main() -> None:
    """Measure both in turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=films.ALIASES, default="sqlite")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    connection = films.create_database(arguments.database)
    ways = {
        "no duplicates": Way(distinct),
        "one shared value": Way(shared),
        "no duplicates, one group": Way(distinct, arguments.rows),
        "one shared value, one group": Way(shared, arguments.rows),
        "one shared value, groups of two": Way(shared, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                seconds[name].append(measure(way, arguments.rows))
    finally:
        films.drop_database(connection)
    plain = median(seconds["no duplicates"])
    print(f"{arguments.rows:,} rows on {arguments.database}, median:")
    for name, measured in seconds.items():
        found = median(measured)
        print(
            f"{name}: {found / arguments.rows * 1e6:.1f} µs a row, "
            f"{found / plain:.1f} times as long as without duplicates"
        )


if __name__ == "__main__":
    main()
