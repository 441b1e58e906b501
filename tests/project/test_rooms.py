"""Whether the rooms are as CONTRIBUTING.md draws them, and the tests apart."""

from __future__ import annotations

import ast
import re

from tests.support import rooms


def test_nothing_is_imported_from_above_or_beside() -> None:
    """Fails if a room imports from a higher one, or from one on the same floor."""
    wrong = [
        f"{found.importer} imports {found.imported}"
        for found in rooms.find_imports()
        if (room := rooms.get_room(found.importer))
        != (other := rooms.get_room(found.imported))
        and rooms.get_floor(room) <= rooms.get_floor(other)
    ]

    assert wrong == []


def test_no_two_files_import_each_other() -> None:
    """Fails if imports go in a circle, however long, or put off by a function."""
    assert rooms.measure_chain() is not None


def test_contributing_has_the_picture() -> None:
    """Fails if an arrow came or went and CONTRIBUTING.md does not say so."""
    text = (rooms.ROOT / "CONTRIBUTING.md").read_text()

    assert f"```text\n{rooms.draw()}\n```" in text


def test_contributing_names_what_is_there() -> None:
    """Fails if a file or a function of the package has another name by now."""
    text = (rooms.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## The rooms")[2].partition("## The databases")[0]
    sources = {
        f"/{path.relative_to(rooms.ROOT).as_posix()}": path.read_text(encoding="utf-8")
        for folder in ("safefield", "tests")
        for path in (rooms.ROOT / folder).rglob("*.py")
    }
    # Such as `TableWalk.run()` in `filling/table_walk.py`.
    functions = re.findall(r"`(?:(\w+)\.)?(\w+)\(\)` in `([\w/]+\.py)`", section)

    missing = [
        name
        for name in set(re.findall(r"`([\w/]+\.py)`", section))
        if not any(path.endswith(f"/{name}") for path in sources)
    ]
    wrong = [
        (owner, name, file)
        for owner, name, file in functions
        if f"def {name}(" not in (source := sources[f"/safefield/{file}"])
        or (owner and f"class {owner}" not in source)
    ]

    assert (missing, wrong, len(functions)) == ([], [], 10)


def test_few_frames_lie_between_an_operation_and_populate() -> None:
    """Fails if a traceback out of populate has more of ours than can be read."""
    frames = rooms.find_frames()

    assert frames == [
        "safefield.operations.database_forwards",
        "safefield.steps.forwards",
        "safefield.filling.fill.fill_and_check",
        "safefield.filling.table_walk.run",
        "safefield.filling.attempts.try_page",
        "safefield.filling.function_values._fill_page",
        "safefield.filling.function_values.compute",
    ]


def test_no_test_file_is_imported() -> None:
    """Fails if tests share something that is not in tests/support."""
    wrong = [
        f"{path.relative_to(rooms.ROOT)} imports {name}"
        for path in sorted((rooms.ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in get_imported_names(node)
        if name.startswith("tests.") and ".test_" in name
    ]

    assert wrong == []


def get_imported_names(node: ast.AST) -> list[str]:
    """Return what may be the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
