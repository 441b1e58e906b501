"""What the benchmark says: a line a run, a table of ratios, a plot."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

#: The way that runs the safefield of another checkout.
BESIDE = "safefield_beside"

#: What each way is called in the table.
LABELS = {
    "save": "row.save(), one transaction",
    "save_committed": "row.save(), each committed",
    "bulk_update": "bulk_update(), 1,000 rows",
    "bulk_update_whole": "bulk_update(), the whole queryset",
    "safefield": "safefield, populate in Python",
    BESIDE: "safefield of --beside, populate in Python",
    "safefield_expression": "safefield, an expression",
    "floor_compute": "floor: reading and computing alone",
    "floor_update": "floor: one UPDATE in the database",
}
FLOORS = ("floor_compute", "floor_update")
PARTS = ("fill", "whole")
SLOW_WAYS = ("save_committed", "bulk_update")


def render_run(run: dict[str, Any]) -> str:
    """Return one line about one run."""
    parts = ", ".join(f"{part} {value:.2f} s" for part, value in run["seconds"].items())
    return f"  {run['way']}, {run['rows']:,} rows: {parts}, {run['peak_mb']:.0f} MB"


def get_costs(result: dict[str, Any], way: str, part: str) -> list[float]:
    """Return the microseconds per row of `way`, one for each round."""
    sampled = {run["rows"] for run in result["runs"] if run["way"] == way}
    rows = result["rows"] if result["rows"] in sampled else min(sampled, default=0)
    return [
        run["seconds"][part] / run["rows"] * 1e6
        for run in result["runs"]
        if run["way"] == way and run["rows"] == rows and part in run["seconds"]
    ]


def get_ratios(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """Return how many times `fast` beats `slow`: lowest, median, highest."""
    ratios = [one / other for one, other in zip(slow, fast, strict=False)]
    return min(ratios), median(ratios), max(ratios)


def render_table(result: dict[str, Any]) -> str:
    """Return the table of ratios in Markdown."""
    lines = [
        "",
        f"{result['database']}, {result['rows']:,} rows; {result['machine']}",
        "",
        "| way | fill, µs a row | whole, µs a row | safefield is faster, times |",
        "|---|---|---|---|",
    ]
    own = get_costs(result, "safefield", "whole")
    for way, label in LABELS.items():
        fill, whole = (get_costs(result, way, part) for part in PARTS)
        ratio = "–"
        if way not in ("safefield", *FLOORS) and whole and own:
            low, middle, high = get_ratios(whole, own)
            ratio = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        if fill:
            lines.append(
                f"| {label} | {render_cost(fill)} | {render_cost(whole)} | {ratio} |"
            )
    lines += ["", *render_floor(result), *render_sizes(result)]
    return "\n".join(lines)


def render_cost(costs: list[float]) -> str:
    """Return the median, and the spread where there is one."""
    if not costs:
        return "–"
    if len(costs) == 1:
        return f"{costs[0]:.1f}"
    return f"{median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})"


def render_floor(result: dict[str, Any]) -> list[str]:
    """Return how near the fill comes to what cannot be left out."""
    fill = get_costs(result, "safefield", "fill")
    floors = [get_costs(result, way, "fill") for way in FLOORS]
    if not fill or not all(floors):
        return []
    floor = [sum(pair) for pair in zip(*floors, strict=True)]
    low, middle, high = get_ratios(fill, floor)
    lines = [
        f"Fill against the floor (reading, computing, one UPDATE): "
        f"{middle:.2f} times ({low:.2f} to {high:.2f})."
    ]
    for way in SLOW_WAYS:
        # So a ratio can be told from what a trip to this server costs.
        if whole := get_costs(result, way, "whole"):
            low, middle, high = get_ratios(whole, floor)
            lines.append(
                f"{LABELS[way]}, against the floor: {middle:.1f} times "
                f"({low:.1f} to {high:.1f})."
            )
    return lines


def get_sizes(result: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Return time per row, its floor and peak of memory, by size of the table."""
    sizes = sorted({run["rows"] for run in result["runs"] if run["way"] == "safefield"})
    found: dict[int, dict[str, float]] = {}
    for rows in sizes:
        fill, whole = (get_cost(result, "safefield", rows, x) for x in PARTS)
        assert fill is not None and whole is not None
        found[rows] = {
            "fill": fill,
            "whole": whole,
            "peak_mb": max(
                run["peak_mb"]
                for run in result["runs"]
                if run["way"] == "safefield" and run["rows"] == rows
            ),
        }
        computed = get_cost(result, "floor_compute", rows, "fill")
        updated, altered = (get_cost(result, "floor_update", rows, x) for x in PARTS)
        if computed and updated and altered:
            found[rows]["floor_fill"] = computed + updated
            found[rows]["floor_whole"] = computed + altered
    return found


def get_cost(result: dict[str, Any], way: str, rows: int, part: str) -> float | None:
    """Return the median of the microseconds per row at one size of the table."""
    found = [
        run["seconds"][part] / rows * 1e6
        for run in result["runs"]
        if run["way"] == way and run["rows"] == rows
    ]
    return median(found) if found else None


def render_sizes(result: dict[str, Any]) -> list[str]:
    """Return time per row and peak of memory by size of the table, and its size."""
    lines = []
    if len(sizes := get_sizes(result)) > 1:
        lines += [
            "",
            "| rows | fill, µs a row | whole, µs a row | floor of each | peak MB |",
            "|---|---|---|---|---|",
        ]
        for rows, size in sizes.items():
            floor = "–"
            if "floor_fill" in size:
                floor = f"{size['floor_fill']:.1f}, {size['floor_whole']:.1f}"
            lines.append(
                f"| {rows:,} | {size['fill']:.1f} | {size['whole']:.1f} | {floor} "
                f"| {size['peak_mb']:.0f} |"
            )
    for way in ("bulk_update", "safefield"):
        found = [
            run["size"]
            for run in result["runs"]
            if run["way"] == way and run["rows"] == result["rows"] and "size" in run
        ]
        if found:
            lines.append(
                f"Size after {LABELS[way]}: "
                f"table {median(size['table_mb'] for size in found):.0f} MB, "
                f"indexes {median(size['indexes_mb'] for size in found):.0f} MB."
            )
    return lines


# The plot

WIDTH, BAR, GAP, LEFT, RIGHT = 720, 22, 10, 250, 90
GREEN, GREY = "#2a7f62", "#9aa5b1"
COLOURS = {"safefield": GREEN, "safefield_expression": GREEN}


def render_svg(result: dict[str, Any]) -> str:
    """Return a plot of bars: time a row by way, then time and memory by size."""
    name, rows = result["database"], result["rows"]
    by_way = []
    for way, label in LABELS.items():
        part = "fill" if way in FLOORS else "whole"
        if costs := get_costs(result, way, part):
            by_way.append((label, median(costs), COLOURS.get(way, GREY)))
    panels = [(f"{name}, {rows:,} rows: µs a row, less is better", by_way)]
    if len(sizes := get_sizes(result)) > 1:
        panels += [
            (
                f"{name}, safefield with a function: {title}",
                [(f"{rows:,} rows", size[key], GREEN) for rows, size in sizes.items()],
            )
            for title, key in [
                ("µs a row by size", "whole"),
                ("peak MB by size", "peak_mb"),
            ]
        ]
    lines: list[str] = []
    top = 0
    for title, bars in panels:
        lines += render_bars(title, bars, top)
        top += 60 + len(bars) * (BAR + GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
            f'font-family="sans-serif" font-size="13" role="img" '
            f'aria-label="{panels[0][0]}">',
            f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>',
            *lines,
            "</svg>",
            "",
        ]
    )


def render_bars(
    title: str, bars: Sequence[tuple[str, float, str]], top: int
) -> list[str]:
    """Return the elements of one panel: a bar of a colour for each label."""
    scale = (WIDTH - LEFT - RIGHT) / max((value for _, value, _ in bars), default=1)
    lines = [f'<text x="16" y="{top + 26}" font-size="15" fill="#222">{title}</text>']
    for position, (label, value, colour) in enumerate(bars):
        y = top + 44 + position * (BAR + GAP)
        middle = y + BAR * 0.7
        width = max(value * scale, 1)
        lines += [
            f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end" fill="#222">'
            f"{label}</text>",
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" '
            f'fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{middle:.0f}" fill="#222">'
            f"{value:.1f}</text>",
        ]
    return lines
