"""The benchmarks run; what they measure is not for a test to say."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.benchmarks import run
from tests.support.servers import LABELS
from tests.support.site import REPOSITORY

BESIDE = "safefield_beside"
WAYS = [
    "bulk_update",
    "floor_compute",
    "floor_update",
    "safefield",
    BESIDE,
    "safefield_expression",
    "save",
    "save_committed",
]


@pytest.mark.thorough_on("postgresql", "mariadb", "mysql")
def test_backfill(alias: str, tmp_path: Path) -> None:
    figures, plot = tmp_path / "figures.json", tmp_path / "plot.svg"
    options = ["--rows=200", "--sample=10", "--rounds=1", "--seed=1"]
    # What is measured apart from the ways is so without a look at the database.
    if alias == "default":
        options += ["--sizes=50", f"--beside={REPOSITORY}", f"--svg={plot}"]

    out = run("backfill.py", "--database", LABELS[alias], *options, f"--json={figures}")

    runs = json.loads(figures.read_text())["runs"]
    ways = WAYS if alias == "default" else [w for w in WAYS if w != BESIDE]
    assert sorted({run["way"] for run in runs}) == ways
    assert all(seconds > 0 for run in runs for seconds in run["seconds"].values())
    assert all(run["peak_mb"] > 0 for run in runs)
    assert "| bulk_update(), 1,000 rows |" in out
    assert "Fill against the floor" in out
    if alias != "default":
        return
    assert "| safefield of --beside, populate in Python |" in out
    assert "| 50 |" in out
    assert ElementTree.parse(plot).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.thorough
def test_wide_rows(sqlite_alias: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    options = ["--rows=200", "--wide=500", "--rounds=1", f"--json={figures}"]

    out = run("backfill.py", "--database", LABELS[sqlite_alias], *options)

    runs = json.loads(figures.read_text())["runs"]
    assert sorted((run["shape"], run["way"]) for run in runs) == [
        (shape, way)
        for shape in ("columns", "narrow", "relations", "wide")
        for way in ("bulk_update", "bulk_update_only", "floor_update", "safefield")
    ]
    assert all(seconds > 0 for run in runs for seconds in run["seconds"].values())
    assert "wide: the fill takes " in out
    assert "wide: one UPDATE in the database takes " in out
    assert "| relations | bulk_update() of rows read with only() | " in out


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("count", [2])
def test_empty_table(alias: str, count: int) -> None:
    options = [f"--migrations={count}", "--rounds=1"]
    out = run("empty_table.py", "--database", LABELS[alias], *options)

    assert "AddFieldWithBackfill takes " in out
    assert f"migrate over {count} migrations: " in out


@pytest.mark.thorough_on("postgresql", "mariadb", "mysql")
def test_extremes(alias: str) -> None:
    options = ["--slow-rows=3", "--heavy-rows=2"]
    out = run("extremes.py", "--database", LABELS[alias], *options)

    assert "2 rows of 1 MB each: peak " in out
    assert ("3 rows of 50 ms each: " in out) == (alias != "default")


@pytest.mark.thorough_on("mariadb", "mysql")
def test_deduplicate(alias: str) -> None:
    out = run("deduplicate.py", "--database", LABELS[alias], "--rows=300", "--rounds=1")

    assert "one shared value, groups of two: " in out


def test_big_project() -> None:
    out = run("big_project.py", "--apps=1", "--migrations=11", "--rounds=1")

    assert "makemigrations --check: " in out
    assert "check: " in out
