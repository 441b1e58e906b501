"""The file of a migration with a backfill: functions and class."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import takewhile
from types import ModuleType
from typing import Any

from django.core.management.commands import makemigrations
from django.db.migrations import Migration
from django.db.migrations.writer import MigrationWriter, OperationWriter

from safefield.authoring.stubs import Stub, StubSerializer
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
    BackfillOperation,
)


def get_backfills(migration: Migration) -> list[BackfillOperation]:
    """Return the backfills among the operations of a migration."""
    return [
        operation
        for operation in migration.operations
        if isinstance(operation, BACKFILLS)
    ]


def is_first_phase(first: Any, second: Any) -> bool:
    """Return whether `second` makes the field required that `first` adds."""
    return (
        isinstance(first, AddFieldWithBackfill)
        and isinstance(second, AlterFieldWithBackfill)
        and first.model_name_lower == second.model_name_lower
        and first.name.lower() == second.name.lower()
    )


@contextmanager
def write_stubs() -> Iterator[None]:
    """Make Django's makemigrations command write the functions too."""
    # write_migration_files() looks the writer up in its module; Django has no
    # other hook for text outside the Migration class.
    module: Any = makemigrations
    original = module.MigrationWriter
    module.MigrationWriter = type("StubWriter", (StubWriter, original), {})
    MigrationWriter.register_serializer(Stub, StubSerializer)
    try:
        yield
    finally:
        module.MigrationWriter = original
        MigrationWriter.unregister_serializer(Stub)


def refuse_unwritable(migrations: Iterable[Migration]) -> None:
    """
    Refuse what cannot be written, as a lambda, before one of the files is.

    In one file, as Django has it, nothing would be written. A part alone is no change
    that anybody has made.

    Raises:
        ValueError: Django's own, about a value.
    """
    for migration in migrations:
        for operation in migration.operations:
            OperationWriter(operation).serialize()


class StubWriter(MigrationWriter):
    """Writes a migration with a backfill; any other one as its base does."""

    def __init__(self, migration: Migration, include_header: bool = True) -> None:
        super().__init__(migration, include_header)
        self._module = _get_module(migration)
        # Here, because the command describes the operations before it asks for the
        # text.
        taken = set(vars(self._module)) if self._module else set()
        for operation in get_backfills(migration):
            if isinstance(stub := operation.populate, Stub):
                while stub.__name__ in taken:
                    stub = replace(stub, number=stub.number + 1)
                taken.add(stub.__name__)
                operation.populate = stub

    def as_string(self) -> str:
        """Return the text of the file."""
        text = super().as_string()
        backfills = get_backfills(self.migration)
        if not backfills:
            return text
        if not self.migration.atomic and not re.search("^    atomic = ", text, re.M):
            # Django 5.2: MigrationWriter does not write `atomic`. Delete with 5.2
            # support.
            text = re.sub(
                r"^(class .*\n)", r"\1\n    atomic = False\n", text, flags=re.M
            )
        stubs = (operation.populate for operation in backfills)
        functions = [stub.render() for stub in stubs if isinstance(stub, Stub)]
        if self._module is not None:
            text = self._use_bare_names(self._module, text)
            source = inspect.getsource(self._module)
            # Else it is not Python yet: Django says so, and keeps the old file.
            if not self.needs_manual_porting and _has_code(source):
                return _update_file(source, text, functions)
        return _insert_functions(text, functions)

    def _use_bare_names(self, own: ModuleType, text: str) -> str:
        """Return the text with bare names for what its own file has."""
        bare = text
        for name in {own.__name__, *re.findall(r"^# (\S+\.\d\S*)$", text, re.M)}:
            prefix = rf"(?<![\w.]){re.escape(name)}\."
            for found in re.findall(rf"{prefix}(\w+)", text):
                module = sys.modules[name]
                if getattr(own, found, None) is not getattr(module, found):
                    return text
            # A file whose name does not start with a digit is imported, not listed.
            bare = re.sub(rf"{prefix}(?=\w)", "", bare.replace(f"import {name}\n", ""))
        self.needs_manual_porting = False
        return bare


def _get_module(migration: Migration) -> ModuleType | None:
    """Return the module of a migration that was loaded from its file."""
    name = type(migration).__module__
    module = sys.modules.get(name)
    # A migration that the autodetector has made is in no module.
    is_loaded = getattr(module, "Migration", None) is type(migration)
    return module if is_loaded and type(migration) is not Migration else None


def _insert_functions(text: str, functions: list[str]) -> str:
    """Return the text of a new file, with functions before the class."""
    head, separator, body = text.partition("class Migration(")
    imports = re.findall("^(?:import|from) .*", head, re.M)
    # MigrationWriter makes no group of what comes with Python.
    own = [line for line in imports if _is_of_python(line)]
    others = [line for line in imports if line not in own]
    groups = "\n\n".join("\n".join(group) for group in (own, others) if group)
    head = head.replace("\n".join(imports), groups).rstrip("\n")
    is_definition = not functions or functions[0].startswith("def ")
    blocks = [*functions, separator + body]
    return head + "\n" * (3 if is_definition else 2) + "\n\n\n".join(blocks)


def _is_of_python(statement: str) -> bool:
    return statement.split()[1].partition(".")[0] in sys.stdlib_module_names


def _has_code(source: str) -> bool:
    """Return whether a file has more than imports and its class."""
    return not all(
        isinstance(node, (ast.Import, ast.ImportFrom)) or _is_migration(node)
        for node in ast.parse(source).body
    )


def _is_migration(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == "Migration"


def _update_file(source: str, text: str, functions: list[str]) -> str:
    """
    Return an existing file with another class, and with new imports and functions.

    Functions cannot be imported from a file whose name starts with a digit. So all
    that stands beside the class stays.
    """
    lines, tree = source.splitlines(), ast.parse(source)
    definition = next(filter(_is_migration, tree.body))
    heading = list(takewhile(_is_in_heading, tree.body))
    end = heading[-1].end_lineno if heading else 0
    present = set(_list_imports(tree))
    missing = [each for each in _list_imports(ast.parse(text)) if each not in present]
    head = [*lines[:end], *missing, *lines[end : definition.lineno - 1]]
    blocks = [
        "\n".join(head),
        *functions,
        text[text.index("class Migration(") :],
        "\n".join(lines[definition.end_lineno :]),
    ]
    return "\n\n\n".join(filter(None, (b.strip("\n") for b in blocks))) + "\n"


def _is_in_heading(node: ast.stmt) -> bool:
    """Return whether a statement is an import, or the docstring."""
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr))


def _list_imports(tree: ast.Module) -> Iterator[str]:
    """Yield the imports of a file, as statements of one name each."""
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                single = copy(node)
                single.names = [alias]
                yield ast.unparse(single)
