"""What Django needs to know about safefield as an app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate

from safefield.checks import check_makemigrations, check_settings, check_written


class SafefieldConfig(AppConfig):
    """Registers the system checks, and listens to migrate."""

    name = "safefield"
    verbose_name = "safefield"

    def ready(self) -> None:
        """Register the checks for `manage.py check`, and what notes `--verbosity`."""
        checks.register(check_written, "safefield")
        checks.register(check_settings, "safefield")
        checks.register(check_makemigrations, checks.Tags.commands)
        pre_migrate.connect(begin_command, dispatch_uid="safefield")
        post_migrate.connect(end_command, dispatch_uid="safefield")


# Imported when migrate runs: what it says is loaded for no other command.
def begin_command(**kwargs: Any) -> None:
    """Take note of what migrate was asked for."""
    from safefield import progress

    progress.begin_command(**kwargs)


def end_command(**kwargs: Any) -> None:
    """Forget it."""
    from safefield import progress

    progress.end_command(**kwargs)
