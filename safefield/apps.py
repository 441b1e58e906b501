"""What Django needs to know about safefield as an app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from safefield.checks import check_makemigrations, check_written

__all__ = ["SafefieldConfig"]


class SafefieldConfig(AppConfig):
    """Registers the system checks."""

    name = "safefield"
    verbose_name = "safefield"

    def ready(self) -> None:
        """Register the checks, so that `manage.py check` runs them."""
        checks.register(check_written, "safefield")
        checks.register(check_makemigrations, checks.Tags.commands)
