"""Rows with more columns than a function reads, beside narrow ones, in one run."""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks import report

#: As in shapes.py, which needs a Django that is configured.
SHAPES = ("narrow", "wide", "columns", "relations")

WAYS = (
    "bulk_update",
    "bulk_update_whole",
    "bulk_update_only",
    "safefield",
    "floor_update",
)
LABELS = {**report.LABELS, "bulk_update_only": "bulk_update() of rows read with only()"}
PARTS = ("read", "compute", "write", "enforce")


def measure_all(
    connection: Any, arguments: Namespace, run_way: Callable[..., dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run each way on each table in each round, the order shuffled."""
    from benchmarks import shapes

    shapes.load_bodies(connection, arguments.wide)
    ways = [way for way in WAYS if way not in report.LABELS or way in arguments.ways]
    if arguments.beside:
        ways.append(report.BESIDE)
    jobs = [(shape, way) for shape in arguments.shapes for way in ways]
    order = random.Random(arguments.seed)
    runs = []
    for number in range(arguments.rounds):
        order.shuffle(jobs)
        for shape, way in jobs:
            shapes.create_table(connection, shape, arguments.rows)
            found = run_way(connection, [way, shape], arguments.beside)
            run = {"round": number, "shape": shape, "way": way, **found}
            runs.append({"rows": arguments.rows, **run})
            print(f"  {shape}:{report.render_run(runs[-1])}", flush=True)
    shapes.drop_tables(connection)
    return runs


def render_table(result: dict[str, Any]) -> str:
    """Return the time of each part, in Markdown, and what is to be compared."""
    lines = [
        "",
        f"{result['database']}, {result['rows']:,} rows; {result['machine']}",
        "",
        "Microseconds a row, medians:",
        "",
        f"| table | way | fill | {' | '.join(PARTS)} | whole | peak MB |",
        f"|---|---|{'---|' * (len(PARTS) + 3)}",
    ]
    for shape in SHAPES:
        for way, label in LABELS.items():
            costs = [
                get_costs(result, shape, way, part)
                for part in ("fill", *PARTS, "whole")
            ]
            if costs[0]:
                cells = " | ".join(
                    f"{median(cost):.1f}" if cost else "" for cost in costs
                )
                peak = max(get_peaks(result, shape, way))
                lines.append(f"| {shape} | {label} | {cells} | {peak:.0f} |")
    return "\n".join([*lines, "", *render_ratios(result)])


def render_ratios(result: dict[str, Any]) -> list[str]:
    """Return what is to be compared: with a narrow table, and with other ways."""
    lines = []
    narrow = get_costs(result, "narrow", "safefield", "fill")
    for shape in SHAPES:
        fill, whole = (
            get_costs(result, shape, "safefield", part) for part in ("fill", "whole")
        )
        if not fill:
            continue
        if narrow and shape != "narrow":
            lines.append(
                f"{shape}: the fill takes {render_ratio(fill, narrow)} times that of "
                f"the narrow table."
            )
            lines += render_floor(result, shape)
        for way, label in LABELS.items():
            others = [get_costs(result, shape, way, part) for part in ("fill", "whole")]
            if way not in ("safefield", *report.FLOORS) and others[0]:
                filling, all_in_all = map(render_ratio, others, (fill, whole))
                lines.append(
                    f"{shape}: {label} takes {filling} times as long for the fill, "
                    f"{all_in_all} for the whole."
                )
    return lines


def render_floor(result: dict[str, Any], shape: str) -> list[str]:
    """Return what one UPDATE of all rows takes, and what that leaves possible."""
    wide, narrow = (
        get_costs(result, name, "floor_update", "fill") for name in (shape, "narrow")
    )
    if not (wide and narrow):
        return []
    more = median(wide) - median(narrow)
    fill = median(get_costs(result, "narrow", "safefield", "fill"))
    return [
        f"{shape}: one UPDATE in the database takes {median(wide):.1f} µs a row, and "
        f"{median(narrow):.1f} in the narrow table. That alone makes a fill take "
        f"{1 + more / fill:.2f} times that of the narrow table."
    ]


def render_ratio(slow: list[float], fast: list[float]) -> str:
    """Return the median of the ratios, and the spread where there is one."""
    low, middle, high = report.get_ratios(slow, fast)
    return f"{middle:.2f}" if low == high else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def get_costs(result: dict[str, Any], shape: str, way: str, part: str) -> list[float]:
    """Return the microseconds a row of a part, one for each round."""
    return [
        run["seconds"][part] / run["rows"] * 1e6
        for run in sorted(result["runs"], key=lambda run: int(run["round"]))
        if (run["shape"], run["way"]) == (shape, way) and part in run["seconds"]
    ]


def get_peaks(result: dict[str, Any], shape: str, way: str) -> list[float]:
    """Return the most megabytes that the process had, one for each round."""
    return [
        run["peak_mb"]
        for run in result["runs"]
        if (run["shape"], run["way"]) == (shape, way)
    ]
