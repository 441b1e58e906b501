"""
Compare a backfill of an empty table with Django's AddField.

    python benchmarks/empty_table.py --database postgresql

Every test run of every user replays it. The two take turns, each on a table of
its own; what is to be compared is the ratio.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.db import connections, migrations, models  # noqa: E402 # needs the path
from django.test.utils import CaptureQueriesContext  # noqa: E402

from benchmarks import films  # noqa: E402
from tests.history import History  # noqa: E402


def slug_of(film: Any) -> str:
    return f"film-{film.pk}"


def measure(operation: Any, number: int) -> tuple[float, int]:
    """Return the seconds and the queries of one migration on a new table."""
    history = History("default")
    fields = [(name, field.clone()) for name, field in films.FIELDS]
    history.apply(migrations.CreateModel(f"Movie{number}", fields))
    started = time.perf_counter()
    history.apply(operation(f"Movie{number}"), atomic=False)
    seconds = time.perf_counter() - started
    history.unapply()
    with CaptureQueriesContext(connections["default"]) as queries:
        history.apply(operation(f"Movie{number}"), atomic=False)
    history.apply(migrations.DeleteModel(f"Movie{number}"))
    return seconds, len(queries)


def main() -> None:
    """Measure both in turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=films.ALIASES, default="sqlite")
    parser.add_argument("--migrations", type=int, default=200)
    arguments = parser.parse_args()
    connection = films.create_database(arguments.database)
    from safefield.operations import AddFieldWithBackfill

    def field() -> models.Field[Any, Any]:
        return models.SlugField(max_length=50, unique=True)

    ways = {
        "AddField": lambda model: migrations.AddField(
            model, "slug", field(), preserve_default=False
        ),
        "AddFieldWithBackfill": lambda model: AddFieldWithBackfill(
            model, "slug", field(), slug_of
        ),
    }
    results: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    try:
        for number in range(arguments.migrations):
            # In turns, and each first as often as the other.
            for name in sorted(ways, reverse=bool(number % 2)):
                results[name].append(measure(ways[name], number))
    finally:
        films.drop_database(connection)
    for name, measured in results.items():
        seconds = [one for one, _ in measured]
        queries = sorted({count for _, count in measured})
        print(
            f"{name}: {median(seconds) * 1000:.2f} ms (median), "
            f"{sum(seconds):.2f} s in all, {queries} queries"
        )
    plain, backfill = ([s for s, _ in results[name]] for name in ways)
    print(
        f"AddFieldWithBackfill takes {sum(backfill) / sum(plain):.2f} times as long "
        f"(by medians {median(backfill) / median(plain):.2f})."
    )


if __name__ == "__main__":
    main()
