"""Django settings for mypy's plugin, which must not start a database server."""

from __future__ import annotations

SECRET_KEY = "only for types"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "safefield",
    "django.contrib.auth",
    "django.contrib.contenttypes",
]
