"""
Compare a table whose rows all share one value with one that has no duplicates.

    python benchmarks/deduplicate.py --database postgresql --rows 200000

The same operation on both, with deduplicate=safefield.numbered. The two take
turns; what is to be compared is the ratio of the times per row.

Measured on 2026-11-20 on 2 cores that others used too, one round, µs a row
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
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.db import migrations, models  # noqa: E402 # needs the path

from benchmarks import films  # noqa: E402
from tests.history import History  # noqa: E402

PAGE_ROWS = 5_000


def distinct(row: Any) -> str:
    return f"film-{row.pk}"


def shared(row: Any) -> str:
    return "film"


def measure(populate: Callable[[Any], str], rows: int) -> float:
    """Return the seconds of one migration over `rows` rows."""
    import safefield
    from safefield.operations import AddFieldWithBackfill

    history = History("default")
    history.apply(
        migrations.CreateModel("Movie", [("id", models.BigAutoField(primary_key=True))])
    )
    movie = history.model("Movie")
    for start in range(0, rows, PAGE_ROWS):
        end = min(start + PAGE_ROWS, rows)
        history.rows("Movie").bulk_create(movie(pk=n + 1) for n in range(start, end))
    operation = AddFieldWithBackfill(
        "Movie",
        "slug",
        models.SlugField(max_length=50, unique=True),
        populate,
        deduplicate=safefield.numbered,
    )
    started = time.perf_counter()
    history.apply(operation, atomic=False)
    seconds = time.perf_counter() - started
    slugs = history.rows("Movie").values_list("slug", flat=True)
    assert slugs.distinct().count() == rows
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
    ways = {"no duplicates": distinct, "one shared value": shared}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(arguments.rounds):
            for name, populate in ways.items():
                seconds[name].append(measure(populate, arguments.rows))
    finally:
        films.drop_database(connection)
    for name, measured in seconds.items():
        microseconds = median(measured) / arguments.rows * 1e6
        print(f"{name}: {microseconds:.1f} µs a row (median)")
    plain, same = (median(seconds[name]) for name in ways)
    print(
        f"One shared value takes {same / plain:.1f} times as long, "
        f"{arguments.rows:,} rows on {arguments.database}."
    )


if __name__ == "__main__":
    main()
