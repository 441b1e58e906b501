"""What the README shows is what happens: each block is done, or .ci/run does it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.site import REPOSITORY
from tests.support.walk import is_illustration, list_blocks, make_walk

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_walk(tmp_path: Path) -> None:
    walk = make_walk("README.md", tmp_path)

    walk.walk_readme()

    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection:
        rows = connection.execute("SELECT slug FROM films_movie ORDER BY id").fetchall()
        columns = connection.execute("PRAGMA table_info(films_movie)").fetchall()
        indexes = connection.execute("PRAGMA index_list(films_movie)").fetchall()
    assert rows == [
        ("treasure-island-1972-1",),
        ("treasure-island-1972-2",),
        ("senor-1926-3",),
    ]
    # Number, name, type, NOT NULL, default, key.
    assert columns[-1] == (3, "slug", "varchar(420)", 1, None, 0)
    # Number, name, unique, how it was made, partial.
    assert [index[2:4] for index in indexes] == [(1, "u")]


def test_it_is_short_and_code_comes_first() -> None:
    assert README[: README.index("```python")].count("\n") < 15
    assert README.count("\n") <= 150


def test_commands_are_those_of_ci() -> None:
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    commands = dict(re.findall(r'^readme_(\w+)="(.*)"$', ci, re.M))

    assert set(commands) == {"tests", "demo"}
    shown = [
        line.removeprefix("$ ")
        for block in list_blocks("README.md")
        if is_illustration("README.md", block)
        for line in block.text.splitlines()
    ]
    assert sorted(shown) == sorted(commands.values())


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_commands_exist(tmp_path: Path) -> None:
    site = make_walk("commands.md", tmp_path).site
    site.write_models("class Movie(models.Model):\n    title = models.TextField()\n")
    site.manage("makemigrations")
    section = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^- `([\w ]+)` (.*)$", section, re.M)
    commands = [(command.split()[0], text) for command, text in rows]

    helps = {name: site.manage(name, "--help").out for name, _ in commands}

    assert list(helps) == [
        "makemigrations",
        "rehearsebackfill",
        "showbackfills",
        "abandonbackfill",
    ]
    for name, text in commands:
        for option in re.findall(r"`(--[\w-]+)`", text):
            assert option in helps[name]
