"""
The rooms of the package, read from its imports.

`python -m tests.support.rooms` prints the picture that CONTRIBUTING.md has, and how
large the rooms are; a folder as argument is another checkout.
"""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

#: From the ground up. A room imports from those before it, never from one beside it.
FLOORS = (
    {"shared"},
    {"backends"},
    {"filling"},
    {"steps"},
    {"operations"},
    {"authoring", "inspection"},
    {"commands and checks"},
)

#: Modules at the top of the package that are rooms, or parts of one.
ROOMS = {
    "safefield.steps": "steps",
    "safefield.operations": "operations",
    "safefield.apps": "commands and checks",
    "safefield.checks": "commands and checks",
}


#: Fills a row, and prints which functions of the package it came through to populate.
FILL = """
import sys
import django
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["safefield"])
django.setup()
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from safefield.operations import AddFieldWithBackfill

def populate(row):
    frame, names[:] = sys._getframe(1), []
    while frame is not None:
        if frame.f_globals["__name__"].startswith("safefield."):
            names.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")
        frame = frame.f_back
    return "slug"

names = []
key = ("id", models.AutoField(primary_key=True))
state = ProjectState()
for operation in (
    migrations.CreateModel("Movie", [key]),
    migrations.RunPython(lambda apps, _: apps.get_model("films.Movie")().save()),
    AddFieldWithBackfill("Movie", "slug", models.SlugField(), populate),
):
    before = state.clone()
    operation.state_forwards("films", state)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("films", editor, before, state)
print(*reversed(names), sep="\\n")
"""


class Import(NamedTuple):
    """One import of one module of the package by another, at the top or later."""

    importer: str
    imported: str


def find_modules(root: Path = ROOT) -> dict[str, Path]:
    """Return the path of each module of the package."""
    modules = {}
    for path in sorted((root / "safefield").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


def find_imports(root: Path = ROOT) -> Iterator[Import]:
    """Yield each import of a module of the package by another."""
    modules = find_modules(root)
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            for imported in _get_names(node):
                if imported in modules and imported != name:
                    yield Import(name, imported)


def _get_names(node: ast.AST) -> list[str]:
    """Return what may be the names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        parts = [f"{node.module}.{alias.name}" for alias in node.names]
        return parts if node.module == "safefield" else [node.module, *parts]
    return []


def get_room(module: str) -> str:
    """Return the name of the room that a module is in."""
    if module in ROOMS:
        return ROOMS[module]
    folder = module.removeprefix("safefield").removeprefix(".").partition(".")[0]
    if folder == "management":
        return "commands and checks"
    return folder if any(folder in rooms for rooms in FLOORS) else "shared"


def get_floor(room: str) -> int:
    """Return how high a room is, counted from the ground."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def draw(root: Path = ROOT) -> str:
    """Return the picture: each room, from the top down, and where it imports from."""
    arrows: dict[str, set[str]] = {room: set() for floor in FLOORS for room in floor}
    for found in find_imports(root):
        arrows[get_room(found.importer)].add(get_room(found.imported))
    lines = []
    for room in sorted(arrows, key=lambda room: (-get_floor(room), room)):
        others = sorted(
            arrows[room] - {room}, key=lambda name: (-get_floor(name), name)
        )
        lines.append(f"{room:<20}-> {', '.join(others)}" if others else room)
    return "\n".join(lines)


def count(root: Path = ROOT) -> str:
    """Return how large the package is, and how long its chains are."""
    modules = find_modules(root)
    lines = {name: len(path.read_text().splitlines()) for name, path in modules.items()}
    functions = [
        node.end_lineno - node.lineno + 1
        for path in modules.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
    ]
    largest = max(lines, key=lambda name: lines[name])
    at_top = [name for name in modules if name.count(".") == 1]
    at_top = [name for name in at_top if modules[name].name != "__init__.py"]
    return "\n".join(
        [
            f"{len(modules)} files, {len(at_top)} of them at the top",
            f"{sum(lines.values()):,} lines, median "
            f"{statistics.median(lines.values())}, largest {lines[largest]} "
            f"({largest})",
            f"{len(functions)} functions, {sum(length > 40 for length in functions)} "
            f"over 40 lines",
            f"longest chain of imports: {measure_chain(root) or 'a circle'}",
            f"frames from the operation to populate: {len(find_frames(root))}",
        ]
    )


def find_frames(root: Path = ROOT) -> list[str]:
    """Return the functions from the operation to populate, the outermost first."""
    return subprocess.run(
        [sys.executable, "-c", FILL],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()


def measure_chain(root: Path = ROOT) -> int | None:
    """Return how many files the longest chain of imports has; None for a circle."""
    graph: dict[str, set[str]] = {name: set() for name in find_modules(root)}
    for found in find_imports(root):
        graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return None

    @cache
    def measure(name: str) -> int:
        return 1 + max(map(measure, graph[name]), default=0)

    return max(map(measure, graph))


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if sys.argv[1:] else ROOT
    print(draw(chosen), count(chosen), sep="\n\n")
