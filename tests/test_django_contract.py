"""
The private names of Django that safefield stands on.

A new Django that lacks one fails here, by name, before anything else does.
"""

from __future__ import annotations

import inspect
from operator import attrgetter
from typing import Any

import pytest
from django.core.management.commands import makemigrations, migrate
from django.core.validators import validate_slug
from django.db import models
from django.db.backends.base import schema
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.sqlite3.schema import (
    DatabaseSchemaEditor as SQLiteSchemaEditor,
)
from django.db.migrations import autodetector, executor, utils, writer
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Value
from django.db.models.fields.files import FieldFile
from django.db.models.query import ModelIterable, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.utils.text import format_lazy

# (where, name, parameters that are given to it or overridden; None for an attribute)
CONTRACT: list[tuple[Any, str, list[str] | None]] = [
    # safefield/authoring/autodetector.py
    (
        autodetector.MigrationAutodetector,
        "_generate_added_field",
        ["self", "app_label", "model_name", "field_name"],
    ),
    (
        autodetector.MigrationAutodetector,
        "add_operation",
        ["self", "app_label", "operation", "dependencies", "beginning"],
    ),
    (autodetector.MigrationAutodetector, "generate_altered_fields", ["self"]),
    (autodetector.MigrationAutodetector, "_build_migration_list", ["self", "graph"]),
    (autodetector, "OperationDependency", None),
    (
        autodetector.MigrationAutodetector,
        "changes",
        ["self", "graph", "trim_to_apps", "convert_apps", "migration_name"],
    ),
    (
        autodetector.MigrationAutodetector,
        "_generate_removed_field",
        ["self", "app_label", "model_name", "field_name"],
    ),
    # safefield/authoring/dependencies.py
    (autodetector.MigrationAutodetector, "_resolve_dependency", ["dependency"]),
    (
        autodetector.MigrationAutodetector,
        "check_dependency",
        ["self", "operation", "dependency"],
    ),
    (
        utils,
        "field_references",
        [
            "model_tuple",
            "field",
            "reference_model_tuple",
            "reference_field_name",
            "reference_field",
        ],
    ),
    (ModelState, "get_field", ["self", "field_name"]),
    # safefield/operations.py
    (ProjectState, "clear_delayed_apps_cache", ["self"]),
    # safefield/backends/base/keys.py
    (
        BaseDatabaseSchemaEditor,
        "_constraint_names",
        [
            "self",
            "model",
            "column_names",
            "unique",
            "primary_key",
            "index",
            "foreign_key",
            "check",
            "type_",
            "exclude",
        ],
    ),
    # safefield/filling/columns_read.py
    (models.Model, "from_db", None),
    (models.Model, "__getstate__", ["self"]),
    (models.Model, "get_deferred_fields", ["self"]),
    # safefield/filling/instances.py
    (SQLCompiler, "get_select", None),
    (ModelIterable, "__iter__", ["self"]),
    (
        SQLCompiler,
        "results_iter",
        ["self", "results", "tuple_expected", "chunked_fetch", "chunk_size"],
    ),
    # safefield/filling/values.py
    (Value, "_output_field_or_none", None),
    (type(format_lazy("")), "_proxy____cast", ["self"]),
    # safefield/backends/mysql/writer.py
    (QuerySet, "_update", None),
    # safefield/backends/base/preflight.py
    (schema, "_related_non_m2m_objects", ["old_field", "new_field"]),
    # safefield/backends/sqlite/remake.py
    (
        SQLiteSchemaEditor,
        "_remake_table",
        ["self", "model", "create_field", "delete_field", "alter_fields"],
    ),
    (SQLiteSchemaEditor, "_field_indexes_sql", ["self", "model", "field"]),
    (SQLiteSchemaEditor, "sql_create_column", None),
    # safefield/authoring/migration_file.py
    (makemigrations, "MigrationWriter", ["migration", "include_header"]),
    (writer.MigrationWriter, "as_string", ["self"]),
    # safefield/inspection/history.py
    (
        executor.MigrationExecutor,
        "_create_project_state",
        ["self", "with_applied_migrations"],
    ),
    # safefield/fields.py
    (models.Model, "_get_expr_references", ["expr"]),
    # safefield/management/commands/makemigrations.py
    (
        makemigrations.Command,
        "write_migration_files",
        ["self", "changes", "update_previous_migration_paths"],
    ),
    (makemigrations.Command, "get_relative_path", ["path"]),
    (makemigrations.Command, "log", ["self", "msg"]),
    (makemigrations.Command, "autodetector", None),
    (migrate.Command, "autodetector", None),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}") for row in CONTRACT],
)
def test_private_name_exists(
    owner: Any, name: str, parameters: list[str] | None
) -> None:
    value = attrgetter(name)(owner)

    if parameters is not None:
        assert list(inspect.signature(value).parameters) == parameters


def test_private_attributes_of_instances() -> None:
    # safefield/filling/values.py, safefield/filling/strictness.py
    validators = [validate_slug]

    assert models.Field(validators=validators)._validators == validators  # type: ignore[attr-defined]  # private
    file = FieldFile(None, models.FileField(), "a")  # type: ignore[arg-type]  # no row is needed
    assert file._committed is True  # type: ignore[attr-defined]  # private


@pytest.mark.parametrize(
    "name",
    ["generated_operations", "migrations", "renamed_models", "from_state", "to_state"],
)
def test_autodetector_keeps_its_work_in(name: str) -> None:
    source = inspect.getsource(autodetector.MigrationAutodetector)

    assert f"self.{name} = " in source


@pytest.mark.parametrize(
    "question",
    [
        "ask_not_null_addition",
        "ask_auto_now_add_addition",
        "ask_unique_callable_default_addition",
    ],
)
def test_question_is_asked_while_a_field_is_added(question: str) -> None:
    source = inspect.getsource(autodetector.MigrationAutodetector._generate_added_field)

    assert f"self.questioner.{question}(" in source


def test_question_is_asked_just_before_the_alteration_is_added() -> None:
    source = inspect.getsource(
        autodetector.MigrationAutodetector.generate_altered_fields
    )

    assert source.index("self.questioner.ask_not_null_alteration(") < source.index(
        "self.add_operation("
    )
    assert source.count("self.questioner.") == 1


def test_writer_is_looked_up_in_the_module_of_the_command() -> None:
    source = inspect.getsource(makemigrations.Command.write_migration_files)

    assert "writer = MigrationWriter(migration, self.include_header)" in source


def test_functions_of_migrations_are_listed_in_a_comment() -> None:
    source = inspect.getsource(writer.MigrationWriter.as_string)

    assert "# Functions from the following migrations need manual " in source
    assert "import (.*)\\.\\d+[^\\s]*$" in source
