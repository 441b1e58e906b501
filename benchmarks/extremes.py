"""
Measure the two extremes of a row: a slow function, and a heavy row.

    python benchmarks/extremes.py --database postgresql

Slow: populate takes 50 ms for each row. Another session updates one row after the
other meanwhile; the longest that it waits is the longest that a row was locked. On
SQLite the database is locked for the whole operation, so this is left out there.

Heavy: each row has 1 MB. What is told is the peak of memory of the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import films  # noqa: E402 # needs the path


def start(connection: Any, way: str) -> subprocess.Popen[str]:
    """Start one way in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("run_way.py")), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(films.get_settings(connection)))
    process.stdin.close()
    process.stdin = None  # communicate() would close it once more.
    return process


def measure_waits(connection: Any, rows: int) -> list[float]:
    """Return the seconds that each update of another session took."""
    films.create_table(connection, rows)
    process = start(connection, "safefield_slow")
    waits = []
    sql = f"UPDATE {films.TABLE} SET year = year + 1 WHERE id = %s"
    with connection.cursor() as cursor:
        while process.poll() is None:
            # Always the rows whose turn it may be.
            for key in range(1, rows + 1):
                started = time.perf_counter()
                cursor.execute(sql, [key])
                waits.append(time.perf_counter() - started)
                if process.poll() is not None:
                    break
    if process.wait():
        raise SystemExit("safefield_slow failed.")
    return sorted(waits)


def measure_memory(connection: Any, rows: int) -> float:
    """Return the peak of memory in megabytes with `rows` rows of 1 MB."""
    films.create_table(connection, rows)
    connection.close()
    out, _ = start(connection, "safefield_heavy").communicate()
    return float(json.loads(out)["peak_mb"])


def main() -> None:
    """Measure both and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=films.ALIASES, default="sqlite")
    parser.add_argument("--slow-rows", type=int, default=1_000)
    parser.add_argument("--heavy-rows", type=int, default=300)
    arguments = parser.parse_args()
    connection = films.create_database(arguments.database)
    try:
        films.load_source(connection, max(arguments.slow_rows, arguments.heavy_rows))
        if arguments.database != "sqlite":
            waits = measure_waits(connection, arguments.slow_rows)
            print(
                f"{arguments.slow_rows:,} rows of 50 ms each: {len(waits):,} updates "
                f"of another session, the longest took {waits[-1] * 1000:.0f} ms, "
                f"99 of 100 less than {waits[len(waits) * 99 // 100] * 1000:.0f} ms."
            )
        peak = measure_memory(connection, arguments.heavy_rows)
        print(f"{arguments.heavy_rows:,} rows of 1 MB each: peak {peak:.0f} MB.")
    finally:
        films.drop_database(connection)


if __name__ == "__main__":
    main()
