"""The changes in tests/mutants fit the code, and the tests that they name are there."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.mutants import FOLDER, ROOT, Mutant, read_mutants
from tests.mutants.__main__ import CORE

GROUPS = sorted(path.stem for path in FOLDER.glob("*.toml"))
DATABASES = {"sqlite", "postgresql", "mariadb"}


@cache
def find_tests(path: str) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def has_test(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and (
        not name or name.partition("[")[0] in find_tests(path)
    )


@pytest.mark.parametrize("group", GROUPS)
def test_the_changes_fit_the_code(group: str) -> None:
    """Fails if code, a test or a database that a mutant names is there no more."""
    mutants = read_mutants(group)

    assert len({mutant.name for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        text = (ROOT / mutant.module).read_text()
        changed = mutant.change(text)
        assert changed != text
        compile(changed, mutant.module, "exec")
        assert [test for test in mutant.tests if not has_test(test)] == []
        assert mutant.tests
        assert set(mutant.databases.split(",")) <= DATABASES


def test_the_core_is_made_of_groups() -> None:
    """Fails if a group is renamed, and left out of the score without a word."""
    assert set(GROUPS) >= CORE


def test_a_change_that_does_not_fit() -> None:
    """Fails if a change of text that is there twice is made in one place or in both."""
    mutant = Mutant("pages", "pages.py", "P0", "Harm.", "a = 1", "a = 2", (), "sqlite")

    assert mutant.change("a = 1\n") == "a = 2\n"
    for text, count in [("b = 1\n", 0), ("a = 1\na = 1\n", 2)]:
        with pytest.raises(ValueError) as caught:
            mutant.change(text)
        assert str(caught.value) == (
            f"pages P0: its old text is {count} times in pages.py, not once:\na = 1"
        )
