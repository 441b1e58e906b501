"""The source of a migration file beside its class: imports, functions, spacing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A piece of a file, without blank lines around it."""

    text: str
    is_definition: bool


class CarriedSource:
    """
    What an existing migration file has besides its class.

    `makemigrations --update` writes an existing migration anew under another
    name. Functions cannot be imported from a file whose name starts with a
    digit, so they are copied.
    """

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.blocks: list[Block] = []
        self.names: set[str] = set()
        self._used: set[str] = set()
        end = 0
        for node in ast.parse(source).body:
            start, end = end, node.end_lineno or 0
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports.append(node)
            elif not (isinstance(node, ast.ClassDef) and node.name == "Migration"):
                self._add_block(node, start, end)
        if remainder := self._get_text(end, None):
            self.blocks.append(Block(remainder, is_definition=False))

    def _add_block(self, node: ast.stmt, start: int, end: int) -> None:
        self.names.update(_get_defined_names(node))
        self._used.update(
            child.id for child in ast.walk(node) if isinstance(child, ast.Name)
        )
        is_definition = isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        )
        self.blocks.append(Block(self._get_text(start, end), is_definition))

    def _get_text(self, start: int, end: int | None) -> str:
        return "\n".join(self._lines[start:end]).strip("\n")

    def get_missing_imports(self, tree: ast.Module) -> list[str]:
        """Return the imports that the blocks use and that `tree` lacks."""
        present = {name for node in tree.body for name in _get_imported(node)}
        missing = []
        for node in self.imports:
            names = [
                alias
                for alias in node.names
                if _get_key(node, alias) not in present and self._is_used(node, alias)
            ]
            if len(names) == len(node.names):
                # As it was written, comment included.
                lines = self._lines[node.lineno - 1 : node.end_lineno]
                missing.append("\n".join(lines))
            elif names:
                node.names = names
                missing.append(ast.unparse(node))
        return missing

    def _is_used(self, node: ast.stmt, alias: ast.alias) -> bool:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return True
        name = alias.asname or alias.name.partition(".")[0]
        return name in self._used or alias.name == "*"


def join_blocks(blocks: list[Block]) -> str:
    """Return the text of the blocks, with the blank lines that black wants."""
    text = ""
    is_after_definition = False
    for block in blocks:
        text += "\n\n\n" if is_after_definition or block.is_definition else "\n\n"
        text += block.text
        is_after_definition = block.is_definition
    return text


def sort_imports(statements: list[str]) -> str:
    """
    Return import statements in the order and in the groups of ruff and isort.

    MigrationWriter sorts the same way, but makes no groups.
    """
    groups: dict[int, list[str]] = {}
    for statement in sorted(statements, key=_get_import_key):
        groups.setdefault(_get_import_key(statement)[0], []).append(statement)
    return "\n\n".join("\n".join(group) for group in groups.values())


def _get_import_key(statement: str) -> tuple[int, bool, str]:
    """Return group, kind and module of an import statement."""
    keyword, module = statement.split()[:2]
    package = module.partition(".")[0]
    if package == "__future__":
        group = 0
    elif package in sys.stdlib_module_names:
        group = 1
    elif package in ("django", "safefield") or _is_installed(package):
        group = 2
    else:
        group = 3
    return group, keyword == "from", module


def _is_installed(package: str) -> bool:
    """Return whether a package is another project's, by where its files are."""
    origin = getattr(sys.modules.get(package), "__file__", None) or ""
    return {"site-packages", "dist-packages"} & set(Path(origin).parts) != set()


def _get_defined_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    return {
        child.id
        for child in ast.walk(node)
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
    }


def _get_imported(node: ast.stmt) -> set[tuple[str, str]]:
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return set()
    return {_get_key(node, alias) for alias in node.names}


def _get_key(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, str]:
    """Return what an import brings in, comparable between two statements."""
    module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return f"{module}{alias.name}", alias.asname or ""
