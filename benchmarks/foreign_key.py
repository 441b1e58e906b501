"""
Measure when to add a foreign key on PostgreSQL: before the fill, or after it.

    python benchmarks/foreign_key.py --rows 1000000

Before: ADD COLUMN with an inline REFERENCES, valid at once because all is NULL, so
that each batch fires the check for each of its rows. After: a bare column, filled,
then ADD CONSTRAINT NOT VALID and VALIDATE. The rows are filled batch by batch with
safefield's own writer; the order of the two is shuffled in each round.

On 2026-11-20 (PostgreSQL 15, two cores, not idle) before took 1.66 times as long as
after with 1,000,000 rows (1.62 and 1.70 in two rounds: 25.9 and 19.4 s against 15.2 and
12.0 s), and 1.5 times with 200,000 (1.3 to 1.7). The fill itself is what becomes
slower; NOT VALID takes 0.02 s and VALIDATE, during which all may read and write, 0.5 s.
So safefield adds the foreign key after the fill. What that costs: a dangling key is
found at the end, where verify() names the row.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import films  # noqa: E402 # needs the path

#: Rows in the table that is pointed at.
STUDIOS = 10_000

BATCH_ROWS = 2_000


def main() -> None:
    """Measure both ways in each round, and print the seconds and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    connection = films.create_database("postgresql")
    totals: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        films.load_source(connection, arguments.rows)
        for _ in range(arguments.rounds):
            for way in random.sample([*WAYS], len(WAYS)):
                seconds = measure(connection, way, arguments.rows)
                totals[way].append(sum(seconds.values()))
                parts = ", ".join(f"{name} {s:.2f} s" for name, s in seconds.items())
                print(f"  {way}: {parts}", flush=True)
    finally:
        films.drop_database(connection)
    ratios = [
        before / after
        for before, after in zip(totals["before"], totals["after"], strict=True)
    ]
    print(
        f"before takes {median(ratios):.2f} times as long as after "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


#: The statements before the fill and those after it.
CONSTRAINT = "FOREIGN KEY (studio_id) REFERENCES films_studio DEFERRABLE INITIALLY "
WAYS = {
    "before": (
        "ADD COLUMN studio_id bigint NULL CONSTRAINT studio_fk "
        "REFERENCES films_studio (id) DEFERRABLE INITIALLY DEFERRED",
        [],
    ),
    "after": (
        "ADD COLUMN studio_id bigint NULL",
        [
            f"ADD CONSTRAINT studio_fk {CONSTRAINT} DEFERRED NOT VALID",
            "VALIDATE CONSTRAINT studio_fk",
        ],
    ),
}


def measure(connection: Any, way: str, rows: int) -> dict[str, float]:
    """Return the seconds of each part of one way."""
    add, enforce = WAYS[way]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS films_movie, films_studio")
        cursor.execute("CREATE TABLE films_studio (id bigint PRIMARY KEY)")
        cursor.execute(f"INSERT INTO films_studio SELECT generate_series(1, {STUDIOS})")
    films.create_table(connection, rows)
    seconds = {}
    with connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(f"ALTER TABLE {films.TABLE} {add}")
        fill(connection, rows)
        seconds["fill"] = time.perf_counter() - started
        for change in enforce:
            started = time.perf_counter()
            cursor.execute(f"ALTER TABLE {films.TABLE} {change}")
            seconds[change.split()[0]] = time.perf_counter() - started
    return seconds


def fill(connection: Any, rows: int) -> None:
    """Give each row a studio, each batch committed."""
    from django.db import migrations, models

    from safefield.backends import get_backend

    history = films.get_history()
    state = history.state.clone()
    migrations.AddField(
        "Movie", "studio_id", models.BigIntegerField(null=True)
    ).state_forwards("films", state)
    model = state.apps.get_model("films", "Movie")
    field = model._meta.get_field("studio_id")
    writer = get_backend(connection).writer(connection, model, [field], only_null=field)
    for start in range(1, rows + 1, BATCH_ROWS):
        keys = range(start, min(start + BATCH_ROWS, rows + 1))
        writer.write([((key,), (key * 7919 % STUDIOS + 1,)) for key in keys])


if __name__ == "__main__":
    main()
