"""Whether the tests are laid out so that each file can be read by itself."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_test_file_is_imported() -> None:
    """Fails if tests share something that is not in tests/support."""
    wrong = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in sorted(TESTS.rglob("*.py"))
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
