"""What Django needs to know about safefield as an app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate

from safefield.checks import check_makemigrations, check_settings, check_written
from safefield.progress import begin_command, end_command


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
