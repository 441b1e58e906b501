"""The benchmark of a busy site runs; what it measures is not for a test to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.benchmarks import run
from tests.support.ledger import on_servers
from tests.support.servers import LABELS


@pytest.mark.thorough_on("mariadb", "mysql")
@on_servers
def test_busy_site(alias: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    options = f"--rows 400 --quiet 0.1 --pause 1 --no-inserts --json {path}".split()

    out = run("busy_site.py", "--database", LABELS[alias], *options)

    results = json.loads(path.read_text())
    assert [(result["way"], result["error"]) for result in results] == [
        ("nothing", None),
        ("three_steps", None),
        ("safefield", None),
    ]
    assert all(0 < result["p50_ms"] <= result["worst_ms"] for result in results)
    assert "| three steps in one migration |" in out


@pytest.mark.usefixtures("postgresql_alias")
def test_foreign_key() -> None:
    out = run("foreign_key.py", "--rows", "400", "--rounds", "1")

    assert "times as long as after" in out
