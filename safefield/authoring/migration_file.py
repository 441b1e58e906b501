"""The file of a migration with a backfill: functions and class."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

from django.core.management.commands import makemigrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import MigrationWriter

from safefield.authoring.source import Block, CarriedSource, join_blocks, sort_imports
from safefield.authoring.stubs import ImportedStub, Stub, StubSerializer
from safefield.operations import (
    BACKFILLS,
    AddFieldWithBackfill,
    AlterFieldWithBackfill,
)

Backfill = AddFieldWithBackfill | AlterFieldWithBackfill


def get_backfills(migration: Migration) -> list[Backfill]:
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


class StubWriter(MigrationWriter):
    """Writes a migration with a backfill; any other one as its base does."""

    def __init__(self, migration: Migration, include_header: bool = True) -> None:
        super().__init__(migration, include_header)
        self._carried: CarriedSource | None = None
        if get_backfills(migration):
            self._carried = get_carried_source(migration)
            # Here, because the command describes the operations before it
            # asks for the text.
            _number_stubs(migration, self._carried.names if self._carried else set())

    def as_string(self) -> str:
        """Return the text of the file."""
        text = super().as_string()
        backfills = get_backfills(self.migration)
        if not backfills:
            return text
        functions = [
            Block(stub.render(), is_definition=not isinstance(stub, ImportedStub))
            for stub in (operation.populate for operation in backfills)
            if isinstance(stub, Stub)
        ]
        if self._carried is not None:
            text = self._use_bare_names(text)
        if self.needs_manual_porting:
            # Not Python yet: Django says so, and keeps the old file.
            return _insert_functions(text, functions)
        return _compose(text, functions, self._carried, atomic=self.migration.atomic)

    def _use_bare_names(self, text: str) -> str:
        """Return the text with bare names for what is carried over."""
        own_module = type(self.migration).__module__
        modules = {own_module} | set(
            re.findall(r"^# (\S+\.\d\S*)$", text, re.MULTILINE)
        )
        if not all(self._has_names_of(module, text) for module in modules):
            return text
        self.needs_manual_porting = False
        for module in modules:
            # A file whose name does not start with a digit is imported, not listed.
            text = text.replace(f"import {module}\n", "")
            text = re.sub(rf"{_get_prefix(module)}(?=\w)", "", text)
        return text

    def _has_names_of(self, module: str, text: str) -> bool:
        """Return whether the file has what `text` takes from `module`."""
        own, other = sys.modules[type(self.migration).__module__], sys.modules[module]
        return own is other or all(
            getattr(own, name, None) is getattr(other, name)
            for name in re.findall(rf"{_get_prefix(module)}(\w+)", text)
        )


def _get_prefix(module: str) -> str:
    """Return the pattern of a module's name and the dot after it."""
    return rf"(?<![\w.]){re.escape(module)}\."


def _number_stubs(migration: Migration, names: set[str]) -> None:
    """Give each stub of the migration a name of its own, apart from `names`."""
    taken = set(names)

    def number_stub(operation: Operation, stub: Stub) -> Stub:
        while stub.__name__ in taken:
            stub = replace(stub, number=stub.number + 1)
        taken.add(stub.__name__)
        return stub

    set_stubs(migration, number_stub)


def set_stubs(migration: Migration, change: Callable[[Operation, Stub], Stub]) -> None:
    """Put `change(operation, stub)` in the place of each stub of a migration."""

    def change_stub(operation: Backfill) -> dict[str, Any]:
        stub = operation.populate
        return {"populate": change(operation, stub)} if isinstance(stub, Stub) else {}

    change_backfills(migration, change_stub)


def change_backfills(
    migration: Migration, change: Callable[[Backfill], dict[str, Any]]
) -> None:
    """Give each backfill of a migration the arguments that `change` says."""
    operations: list[Any] = list(migration.operations)
    for index, operation in enumerate(operations):
        if isinstance(operation, BACKFILLS) and (changes := change(operation)):
            # Operations are immutable: each changed one is a new one.
            _, args, kwargs = operation.deconstruct()
            operations[index] = type(operation)(*args, **{**kwargs, **changes})
    migration.operations[:] = operations  # type: ignore[index] # a list on instances


def get_carried_source(migration: Migration) -> CarriedSource | None:
    """Return the functions of a migration that comes from a file, or None."""
    module = _get_module(migration)
    return CarriedSource(inspect.getsource(module)) if module else None


def _get_module(migration: Migration) -> ModuleType | None:
    """Return the module of a migration that was loaded from its file."""
    name = type(migration).__module__
    module = sys.modules.get(name)
    # A migration that the autodetector has made is in no module.
    is_loaded = getattr(module, "Migration", None) is type(migration)
    return module if is_loaded and type(migration) is not Migration else None


def _insert_functions(text: str, functions: list[Block]) -> str:
    head, separator, body = text.partition("class Migration(")
    return (
        head
        + "".join(f"{function.text}\n\n\n" for function in functions)
        + (separator + body)
    )


def _compose(
    text: str, functions: list[Block], carried: CarriedSource | None, *, atomic: bool
) -> str:
    """Return the file: header, imports, functions and the class."""
    tree = ast.parse(text)
    *preamble, definition = tree.body
    assert isinstance(definition, ast.ClassDef), ast.dump(definition)
    lines = text.splitlines()
    start, end = preamble[0].lineno - 1, preamble[-1].end_lineno
    imports = lines[start:end]
    blocks = []
    if carried is not None:
        imports += carried.get_missing_imports(tree)
        blocks += carried.blocks
    blocks += functions
    names = {ast.unparse(node.targets[0]) for node in _get_assignments(definition)}
    body = lines[definition.lineno : definition.end_lineno]
    if not atomic and "atomic" not in names:
        # Django 5.2: MigrationWriter does not write `atomic`. Delete with 5.2
        # support.
        body = ["", "    atomic = False", *body]
    blocks.append(Block("\n".join([lines[definition.lineno - 1], *body, ""]), True))
    head = "\n".join([*lines[:start], sort_imports(imports)])
    return head + join_blocks(blocks)


def _get_assignments(definition: ast.ClassDef) -> list[ast.Assign]:
    return [node for node in definition.body if isinstance(node, ast.Assign)]
