"""The test runner that puts safefield into Django's own test suite."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.db.migrations.autodetector import MigrationAutodetector
from django.test.runner import DiscoverRunner

#: Environment variables from run.py: which witness, and where the report goes.
WITNESS = "SAFEFIELD_WITNESS"
REPORT = "SAFEFIELD_WITNESS_REPORT"


class WitnessRunner(DiscoverRunner):
    """Installs safefield for every test, and writes down what failed."""

    def setup_test_environment(self, **kwargs: Any) -> None:
        super().setup_test_environment(**kwargs)
        install_safefield()
        WITNESSES[os.environ[WITNESS]]()

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        report = {
            "run": result.testsRun,
            "skipped": len(result.skipped),
            "failed": {
                test.id(): traceback
                for test, traceback in result.failures + result.errors
            },
            "unexpectedly_passed": [test.id() for test in result.unexpectedSuccesses],
        }
        Path(os.environ[REPORT]).write_text(json.dumps(report), encoding="utf-8")
        return super().suite_result(suite, result, **kwargs)


def install_safefield() -> None:
    """Keep safefield in front of whatever apps a test sets."""
    registry: Any = apps
    set_installed, set_available = apps.set_installed_apps, apps.set_available_apps

    def set_installed_apps(names: Iterable[str]) -> None:
        set_installed(["safefield", *(name for name in names if name != "safefield")])

    def set_available_apps(names: Iterable[str]) -> None:
        set_available([*names, "safefield"])

    registry.set_installed_apps = set_installed_apps
    registry.set_available_apps = set_available_apps
    registry.set_installed_apps(settings.INSTALLED_APPS)
    get_commands.cache_clear()
    assert get_commands()["makemigrations"] == "safefield"


def witness_command() -> None:
    """Leave the tests as they are: they call the command."""


def witness_autodetector() -> None:
    """Give safefield's classes to the tests that work with Django's directly."""
    from migrations import (  # type: ignore[import-not-found] # Django's tests
        test_autodetector,
        test_writer,
    )

    from safefield.authoring.autodetector import wrap_autodetector
    from safefield.authoring.migration_file import StubWriter

    test_autodetector.MigrationAutodetector = wrap_autodetector(MigrationAutodetector)
    test_writer.MigrationWriter = StubWriter


def witness_one_off_default() -> None:
    """Give every makemigrations the option --one-off-default."""
    from safefield.management.commands.makemigrations import BackfillCommand

    command: Any = BackfillCommand
    handle = command.handle

    def handle_with_option(self: Any, *labels: str, **options: Any) -> Any:
        return handle(self, *labels, **options | {"one_off_default": True})

    command.handle = handle_with_option


WITNESSES: dict[str, Callable[[], None]] = {
    "command": witness_command,
    "autodetector": witness_autodetector,
    "one_off_default": witness_one_off_default,
}
