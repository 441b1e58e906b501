"""Whether the rooms are as CONTRIBUTING.md draws them, and the tests apart."""

from __future__ import annotations

import ast

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


def test_few_frames_lie_between_an_operation_and_populate() -> None:
    """Fails if a traceback out of populate has more of ours than can be read."""
    frames = rooms.find_frames()

    assert frames == [
        "safefield.operations.database_forwards",
        "safefield.steps.forwards",
        "safefield.filling.fill.fill_and_check",
        "safefield.filling.table_walk.run",
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
