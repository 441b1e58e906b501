"""
Measure how long a busy site waits while a required field is added.

    python benchmarks/busy_site.py --database postgresql --rows 1000000

One process writes all the while, as a site does: single-row updates, and an insert
now and then. Another runs the migration. Side by side: nothing at all, for the noise
of the machine; the usual three steps in one migration, with bulk_update(); safefield.
The writer is the code from before the migration; when that can insert no longer,
because the new column is required, it goes on as new code.

Measured on 2026-11-20 on two cores that four test runs kept busy as well, so that the
writer waits for the disk and for the processor even without a migration: the ratios are
what counts, and the waits are more than on an idle machine.

PostgreSQL 15, 1,000,000 rows, load 3 to 6:

| way | total, s | p50, ms | p99, ms | worst, ms | over 50 ms |
|---|---|---|---|---|---|
| no migration | 10 | 1.2 | 9.4 | 14 | 0 |
| three steps in one migration | 172 | 3.2 | – | 170,971 | 1: all of it |
| safefield | 24 | 1.9 | 14.3 | 97 | 6 of 4,429 |

and safefield alone in another run, load 2 to 4: 21 s, p99 14.7 ms, worst 65 ms, two
over 50 ms. The longest waits are for rows of a batch, which is to take about 30 ms and
takes longer where it has to wait for the processor itself; no ALTER TABLE is among the
five longest.

MariaDB 10.11. The three steps lock each row that they fill until the last one, and then
fail, because DDL is no part of a transaction there and the rows that were inserted
meanwhile have no value. Without inserts (--no-inserts) they end.

| 200,000 rows, load 3 | total, s | p99, ms | worst, ms | outcome |
|---|---|---|---|---|
| three steps in one migration | 31 | 19 | 28,610 | fails: "Data truncated" |
| the same, without inserts | 21 | 13 | 19,907 | |
| safefield | 8 | 16 | 42 | |

What is reachable there: as on PostgreSQL a write waits for a batch at most, and for the
short locks at the beginning and at the end of the one online ALTER TABLE: 4.3 s with
1,000,000 rows and load 6, the longest wait beside it 88 ms. What is not:
lock_wait_timeout counts whole seconds, so behind somebody's long transaction on the
table each try of an ALTER TABLE holds up everybody for 1 s, the last one for up to 5 s,
and not for 50 ms as on PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import films  # noqa: E402 # needs the path
from tests.support.servers import install_mysql_driver  # noqa: E402

#: The ways, and what they are called in the table.
LABELS = {
    "nothing": "no migration",
    "three_steps": "three steps in one migration",
    "safefield": "safefield",
}

#: An insert in so many statements of the writer.
INSERT_EVERY = 10

#: A wait that is counted as a stall, which somebody at work would notice.
STALL_SECONDS = 0.05

#: Inserted rows start behind all others.
FIRST_NEW_KEY = 1_000_000_000


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database", choices=["postgresql", "mariadb", "mysql"], default="postgresql"
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--ways", nargs="+", choices=LABELS, default=[*LABELS])
    parser.add_argument(
        "--pause",
        type=float,
        default=2.0,
        help="milliseconds between two statements of the writer",
    )
    parser.add_argument(
        "--quiet", type=float, default=10.0, help="seconds without a migration"
    )
    parser.add_argument("--no-inserts", action="store_true", help="updates alone")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--role", choices=["writer", "migrate"], help="do not use")
    return parser.parse_args()


def main() -> None:
    """Measure every way and print the table."""
    arguments = parse_arguments()
    if arguments.role:
        ROLES[arguments.role](arguments)
        return
    connection = films.create_database(arguments.database)
    try:
        films.load_source(connection, arguments.rows)
        results = [measure(connection, way, arguments) for way in arguments.ways]
    finally:
        films.drop_database(connection)
    print(render(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


# The three processes


def measure(connection: Any, way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one way on a fresh table beside the writer."""
    films.create_table(connection, arguments.rows)
    settings = films.get_settings(connection)
    connection.close()
    writer = start("writer", settings, arguments)
    assert writer.stdout is not None
    writer.stdout.readline()
    started = time.time()
    outcome: dict[str, Any] = {"error": None, "statements": []}
    if way == "nothing":
        time.sleep(arguments.quiet)
    else:
        migrate = start("migrate", {**settings, "way": way}, arguments)
        out, _ = migrate.communicate()
        outcome = json.loads(out)
    ended = time.time()
    writer.send_signal(signal.SIGTERM)
    out, _ = writer.communicate()
    return summarise(way, started, ended, outcome, json.loads(out))


def start(
    role: str, settings: dict[str, Any], arguments: argparse.Namespace
) -> subprocess.Popen[str]:
    """Start this program in another role."""
    command = [sys.executable, __file__, "--role", role]
    command += ["--rows", str(arguments.rows), "--pause", str(arguments.pause)]
    command += ["--no-inserts"] * arguments.no_inserts
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings) + "\n")
    process.stdin.flush()
    return process


def write(arguments: argparse.Namespace) -> None:
    """Write until SIGTERM; print when each statement began and how long it took."""
    cursor = connect().cursor()
    is_over = False

    def stop(*args: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, stop)
    chance = random.Random(0)
    waits: list[tuple[float, float]] = []
    refused: dict[str, int] = {}
    columns, extra = "id, title, year, genres", []
    number = 0
    while not is_over:
        number += 1
        if number % INSERT_EVERY or arguments.no_inserts:
            sql = f"UPDATE {films.TABLE} SET title = %s WHERE id = %s"
            params = [f"New {number}", chance.randint(1, arguments.rows)]
        else:
            values = [FIRST_NEW_KEY + number, f"New {number}", 2000, "", *extra]
            sql = f"INSERT INTO {films.TABLE} ({columns}) VALUES (%s, %s, %s, %s"
            sql += ", %s)" * bool(extra) or ")"
            params = [str(value).format(number) for value in values]
        began, clock = time.time(), time.perf_counter()
        try:
            cursor.execute(sql, params)
        except Exception as exc:
            reason = str(exc).partition("\n")[0]
            refused[reason] = refused.get(reason, 0) + 1
            if "slug" in reason:
                columns, extra = "id, title, year, genres, slug", ["new-{}"]
        waits.append((began, time.perf_counter() - clock))
        if number == 1:
            print("ready", flush=True)
        time.sleep(arguments.pause / 1_000)
    print(json.dumps({"waits": waits, "refused": refused}))


def migrate(arguments: argparse.Namespace) -> None:
    """Run the migration, print what went wrong and how long each statement took."""
    way = ""
    statements: list[tuple[float, float, str]] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.time()
        try:
            return execute(sql, params, many, context)
        finally:
            statements.append((began, time.time(), " ".join(sql[:200].split())))

    settings = json.loads(sys.stdin.readline())
    way = settings.pop("way")
    connection = connect(settings)
    # Late: these need Django's settings.
    from benchmarks import ways

    error = None
    with connection.execute_wrapper(watch):
        try:
            {"three_steps": run_three_steps, "safefield": ways.safefield}[way]()
        except Exception as exc:
            error = f"{type(exc).__name__}: {exc}"
    print(json.dumps({"error": error, "statements": statements}))


def run_three_steps() -> None:
    """Run what the tutorials say, in one migration, with bulk_update()."""
    from django.db import migrations, models

    from benchmarks import ways

    loose = models.SlugField(max_length=330, null=True, db_index=False)

    def fill(apps: Any, editor: Any) -> None:
        ways.fill_by_bulk_update(apps.get_model("films", "Movie"))

    films.get_history().apply(
        migrations.AddField("Movie", "slug", loose),
        migrations.RunPython(fill),
        migrations.AlterField("Movie", "slug", ways.slug_field()),
        atomic=True,
    )


def connect(settings: dict[str, Any] | None = None) -> Any:
    """Return the connection to the database that standard input names."""
    install_mysql_driver()
    films.configure({"default": settings or json.loads(sys.stdin.readline())})
    from django.db import connection

    return connection


ROLES = {"writer": write, "migrate": migrate}


# What is said


def summarise(
    way: str,
    started: float,
    ended: float,
    outcome: dict[str, Any],
    writer: dict[str, Any],
) -> dict[str, Any]:
    """Return the figures of one way, and what was done during the longest waits."""
    waits = [
        (began, wait)
        for began, wait in writer["waits"]
        if began + wait >= started and began <= ended
    ]
    durations = sorted(wait for _, wait in waits)
    longest = sorted(waits, key=lambda pair: -pair[1])[:5]
    return {
        "way": way,
        "seconds": ended - started,
        "error": outcome["error"],
        "writes": len(durations),
        "p50_ms": 1e3 * durations[len(durations) // 2],
        "p99_ms": 1e3 * durations[int(len(durations) * 0.99)],
        "worst_ms": 1e3 * durations[-1],
        "stalls": sum(wait > STALL_SECONDS for wait in durations),
        "refused": writer["refused"],
        "longest": [
            {
                "after_seconds": began - started,
                "ms": 1e3 * wait,
                "during": [
                    f"{sql[:70]} ({1e3 * (end - begin):.0f} ms)"
                    for begin, end, sql in outcome["statements"]
                    if begin < began + wait and end > began and end - begin > 0.002
                ][:4],
            }
            for began, wait in longest
        ],
    }


def render(results: list[dict[str, Any]]) -> str:
    """Return the table in Markdown, and the longest waits below it."""
    lines = [
        "",
        "| way | total, s | writes | p50, ms | p99, ms | worst, ms | over 50 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for result in results:
        label = LABELS[result["way"]]
        lines.append(
            f"| {label} | {result['seconds']:.1f} | {result['writes']:,} "
            f"| {result['p50_ms']:.1f} | {result['p99_ms']:.1f} "
            f"| {result['worst_ms']:,.1f} | {result['stalls']} |"
        )
        notes += ["", f"{label}:"]
        if result["error"]:
            notes.append(f"  FAILED: {result['error']}")
        for reason, count in result["refused"].items():
            notes.append(f"  the writer was refused {count} times: {reason}")
        for wait in result["longest"]:
            during = "; ".join(wait["during"]) or "no long statement"
            notes.append(
                f"  {wait['ms']:.1f} ms after {wait['after_seconds']:.1f} s: {during}"
            )
    return "\n".join(lines + notes)


if __name__ == "__main__":
    main()
