"""
The system checks.

safefield.E001  a populate function is not written yet
safefield.E002  a migration that mentions safefield cannot be imported
safefield.E003  the setting SAFEFIELD is wrong
safefield.W001  another app's makemigrations is used instead of safefield's
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands, load_command_class
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from safefield.conf import get_configuration
from safefield.exceptions import escape
from safefield.populate import is_unwritten, is_unwritten_allowed, unwritten_message

# What the source of a migration with a backfill cannot do without. Looking for it
# takes a fraction of the time of importing every migration of a big project, and
# checks run before almost every command.
_MARK = b"safefield"


def check_written(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report each populate function in a migration that is not written yet."""
    messages: list[CheckMessage] = []
    # The second phase of a backfill has the function of the first.
    reported: set[int] = set()
    for app_config in app_configs or apps.get_app_configs():
        for name in _find_migrations(app_config.label):
            try:
                module = import_module(name)
            except Exception as exc:  # noqa: BLE001
                messages.append(_report_broken(app_config.label, name, exc))
                continue
            if not is_unwritten_allowed.get():
                messages += _report_unwritten(module, app_config.label, reported)
    return messages


def _find_migrations(app_label: str) -> Iterator[str]:
    """Yield the module names of the app's migrations that mention safefield."""
    package_name, _ = MigrationLoader.migrations_module(app_label)
    if package_name is None:
        return
    try:
        package = import_module(package_name)
    except Exception:  # noqa: BLE001 # No migrations, or Django reports it itself.
        return
    path = getattr(package, "__path__", [])
    if getattr(package, "__file__", None) is None and not isinstance(path, list):
        # A folder without __init__.py: Django does not load it.
        return
    for finder, name, is_package in pkgutil.iter_modules(path):
        if not is_package and name[0] not in "_~" and _is_marked(finder, name):
            yield f"{package_name}.{name}"


def _is_marked(finder: Any, name: str) -> bool:
    """Return whether a module mentions safefield, or has no source to read."""
    try:
        # Unlike get_source() of its loader, this decodes nothing.
        with open(os.path.join(finder.path, f"{name}.py"), "rb", buffering=0) as file:
            return _MARK in file.read()
    except (AttributeError, OSError):
        return True


def _report_broken(app_label: str, name: str, exc: Exception) -> CheckMessage:
    # An error, for what comes next would be Django's traceback of the same.
    return Error(
        f"It cannot be imported: {type(exc).__name__}: {escape(str(exc)).rstrip('.')}.",
        hint="Fix the file: migrate cannot import it either.",
        obj=f"{app_label}.{name.rpartition('.')[2]}",
        id="safefield.E002",
    )


def _report_unwritten(
    module: ModuleType, app_label: str, reported: set[int]
) -> Iterator[CheckMessage]:
    operations = getattr(getattr(module, "Migration", None), "operations", ())
    for operation in _flatten(operations):
        populate = getattr(operation, "populate", None)
        if (
            callable(populate)
            and id(populate) not in reported
            and is_unwritten(populate)
        ):
            reported.add(id(populate))
            yield Error(
                unwritten_message(populate),
                hint=(
                    "Return the value of one existing row, then run migrate. If every "
                    "row should get the same value, delete the migration and run "
                    "makemigrations --one-off-default."
                ),
                obj=f"{app_label}.{module.__name__.rpartition('.')[2]}",
                id="safefield.E001",
            )


def _flatten(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Yield the operations, also those within SeparateDatabaseAndState."""
    for operation in operations:
        yield operation
        yield from _flatten(getattr(operation, "database_operations", ()))


def check_settings(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report a key or a value in SAFEFIELD that would stop migrate."""
    try:
        get_configuration()
    except ImproperlyConfigured as exc:
        return [Error(str(exc), id="safefield.E003")]
    return []


def check_makemigrations(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report that another app's makemigrations stands before safefield's."""
    from safefield.management.commands.makemigrations import BackfillCommand

    app_name = get_commands()["makemigrations"]
    command = load_command_class(app_name, "makemigrations")
    if isinstance(command, BackfillCommand):
        return []
    return [
        Warning(
            f"The makemigrations command of {app_name!r} is used instead of "
            f"safefield's, so it asks for one-off defaults.",
            hint=(
                f"Put 'safefield' before {app_name!r} in INSTALLED_APPS: safefield "
                f"then uses that command too. Where {app_name!r} has to come first, "
                f"derive its Command from "
                f"safefield.management.commands.makemigrations.Command."
            ),
            id="safefield.W001",
        )
    ]
