"""Django settings of the test run: four databases, no models of its own."""

from __future__ import annotations

from tests.support import servers

SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "safefield",
    "django.contrib.auth",
    "django.contrib.contenttypes",
]
DATABASES = servers.get_databases()
if "postgresql" in DATABASES:
    # It needs psycopg.
    INSTALLED_APPS.append("django.contrib.postgres")
