"""A copy of the example site to play with, and its database seen from outside."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import CommandError

import safefield
from demo.changes import Change


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    output: str


class Column(NamedTuple):
    """One column as the catalogue has it."""

    name: str
    type: str
    is_not_null: bool


class ScratchSite:
    """
    A copy of the example site in a temporary directory, on SQLite.

    A context manager: the directory goes away on exit, whatever happened.

    Args:
        is_colored (bool): Whether commands are to write in colour.
    """

    def __init__(self, *, is_colored: bool) -> None:
        self.color_option = "--force-color" if is_colored else "--no-color"
        self.directory = tempfile.TemporaryDirectory(prefix="safefield-demo-")
        self.path = Path(self.directory.name).resolve()

    def __enter__(self) -> ScratchSite:
        try:
            shutil.copytree(
                settings.BASE_DIR,
                self.path,
                ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"),
                dirs_exist_ok=True,
            )
        except BaseException:
            self.directory.cleanup()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.directory.cleanup()

    # The files

    def read(self, path: str) -> str:
        """Return the text of a file of the site."""
        return (self.path / path).read_text(encoding="utf-8")

    def apply(self, change: Change) -> None:
        """
        Edit a file as a developer would.

        Raises:
            CommandError: The place is not there, or not only once.
        """
        text = self.read(change.path)
        if text.count(change.old) != 1:
            raise CommandError(
                f"{change.path} should hold these lines once, and holds them "
                f"{text.count(change.old)} times:\n{change.old}"
                f"The demo edits the example site as it was committed: undo changes to "
                f"it, if there are any, and run the demo again."
            )
        (self.path / change.path).write_text(
            text.replace(change.old, change.new), encoding="utf-8"
        )

    def copy_to(self, path: Path) -> None:
        """Copy the site, with its database, to a directory that stays."""
        shutil.copytree(self.path, path)

    # The commands

    def run(self, *arguments: str, shows_progress: bool = False) -> Result:
        """
        Run manage.py in a process of its own, with nobody there to answer it.

        Args:
            arguments (str): Command and options.
            shows_progress (bool): Let the command write to the terminal itself,
                if there is one; its output is then not in the result.
        """
        to_terminal = shows_progress and sys.stderr is not None and sys.stderr.isatty()
        process = subprocess.run(
            [sys.executable, "manage.py", *arguments, self.color_option],
            cwd=self.path,
            env=self.get_environment(),
            stdin=subprocess.DEVNULL,
            stdout=None if to_terminal else subprocess.PIPE,
            stderr=None if to_terminal else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return Result(process.returncode, process.stdout or "")

    def get_environment(self) -> dict[str, str]:
        """Return the environment, less what would lead away from the copy."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "FILMS_"))
        }
        # The safefield that runs the demo, however it came to be importable.
        paths = [str(Path(safefield.__file__).parent.parent)]
        if "PYTHONPATH" in environment:
            paths.append(environment["PYTHONPATH"])
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        # A file that is edited twice within a second must not come from a cache.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["PYTHONIOENCODING"] = "utf-8"
        return environment

    # The database, asked without Django and without safefield

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Return what the database answers."""
        with closing(sqlite3.connect(self.path / "films.sqlite3")) as connection:
            return connection.execute(sql, parameters).fetchall()

    def read_films(self) -> list[Any]:
        """Return all films without the slug, each with the type of each value."""
        return self.query(
            "SELECT id, typeof(title), title, typeof(year), year, typeof(genres), "
            "genres FROM films_movie ORDER BY id"
        )

    def read_columns(self) -> list[Column]:
        """Return the columns of the films."""
        return [
            Column(name, kind, bool(not_null))
            for _, name, kind, not_null, _, _ in self.query(
                "PRAGMA table_info(films_movie)"
            )
        ]

    def read_indexes(self) -> list[Any]:
        """Return the columns of each index of the films, and whether it is unique."""
        return [
            (self.query(f'PRAGMA index_info("{name}")')[0][2], bool(is_unique))
            for _, name, is_unique, *_ in self.query("PRAGMA index_list(films_movie)")
        ]

    def read_statement(self) -> str:
        """Return the CREATE TABLE of the films."""
        ((statement,),) = self.query(
            "SELECT sql FROM sqlite_master WHERE name = 'films_movie'"
        )
        return statement
