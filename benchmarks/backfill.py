"""
Measure ways of filling a new column side by side, on one database.

    python benchmarks/backfill.py --database postgresql --rows 1000000

Every way runs in a process of its own on a fresh table, in an order that is
shuffled again for each round. What is to be compared is the ratios. With --beside, the
safefield of another checkout, such as a git worktree of an earlier commit, takes its
turns too.

    python benchmarks/backfill.py --database postgresql --rows 30000 --wide 8000

measures rows with more columns than the function reads: a text of so many characters
and a JSON list beside, 30 columns, and five joined relations.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import films, report, wide  # noqa: E402 # needs the path

#: Names of the ways, with the rows that each is run on: all, or a sample.
WAYS = (
    "save",
    "save_committed",
    "bulk_update",
    "safefield",
    "safefield_expression",
    "floor_compute",
    "floor_update",
)
#: What takes long with many rows, and is run if it is named.
NAMED_WAYS = ("bulk_update_whole",)
SAMPLED = {"save", "save_committed"}


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=films.ALIASES, default="sqlite")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument(
        "--sample", type=int, default=20_000, help="rows for row.save()"
    )
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, *NAMED_WAYS), default=WAYS)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[],
        help="also run safefield and the floors, if in --ways, at these table sizes",
    )
    parser.add_argument(
        "--beside", type=Path, help="also run safefield as this other checkout has it"
    )
    parser.add_argument(
        "--wide", type=int, help="measure wide rows, with texts of so many characters"
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        choices=wide.SHAPES,
        default=wide.SHAPES,
        help="with --wide: which tables",
    )
    parser.add_argument("--seed", type=int, default=None, help="of the order")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--svg", type=Path, help="write a plot here")
    return parser.parse_args()


def main() -> None:
    """Measure, then print the table of ratios and write the files asked for."""
    arguments = parse_arguments()
    connection = films.create_database(arguments.database)
    try:
        films.load_source(connection, max(arguments.rows, *arguments.sizes, 1))
        if arguments.wide:
            runs = wide.measure_all(connection, arguments, run_way)
        else:
            runs = measure_all(connection, arguments)
    finally:
        films.drop_database(connection)
    result = {
        "database": arguments.database,
        "rows": arguments.rows,
        "machine": describe_machine(),
        "runs": runs,
    }
    render = wide.render_table if arguments.wide else report.render_table
    print(render(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(report.render_svg(result))


def measure_all(connection: Any, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run each way in each round, the order shuffled."""
    order = random.Random(arguments.seed)
    runs = []
    for number in range(arguments.rounds):
        sample = min(arguments.sample, arguments.rows)
        jobs = [
            (way, sample if way in SAMPLED else arguments.rows)
            for way in arguments.ways
        ]
        jobs += [
            (way, rows)
            for way in ("safefield", *report.FLOORS)
            if way in arguments.ways
            for rows in arguments.sizes
        ]
        if arguments.beside:
            jobs.append((report.BESIDE, arguments.rows))
        order.shuffle(jobs)
        for way, rows in jobs:
            run = measure(connection, way, rows, arguments.beside)
            runs.append({"round": number, **run})
            print(report.render_run(runs[-1]), flush=True)
    return runs


def measure(
    connection: Any, way: str, rows: int, beside: Path | None = None
) -> dict[str, Any]:
    """Run one way on a fresh table of `rows` rows."""
    films.create_table(connection, rows)
    run: dict[str, Any] = {
        "way": way,
        "rows": rows,
        **run_way(connection, [way], beside),
    }
    if size := films.measure_size(connection):
        run["size"] = size
    return run


def run_way(
    connection: Any, words: list[str], beside: Path | None = None
) -> dict[str, Any]:
    """Run a way, and on what, in a process of its own; return what it measured."""
    settings = json.dumps(films.get_settings(connection))
    connection.close()
    script = Path(__file__).with_name("run_way.py")
    way, *others = words
    if way == report.BESIDE and beside is not None:
        script, way = beside / "benchmarks" / script.name, "safefield"
    process = subprocess.run(
        [sys.executable, str(script.resolve()), way, *others],
        input=settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def describe_machine() -> str:
    """Return processor, cores, Python and Django in one line."""
    import os

    import django

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Django {django.__version__}"
    )


if __name__ == "__main__":
    main()
