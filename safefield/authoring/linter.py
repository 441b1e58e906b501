"""django-migration-linter, which deletes new migrations that it does not like."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db.migrations import Migration

from safefield.authoring.migration_file import get_backfills


def spare_from_linter(migrations: Iterable[Migration]) -> None:
    """
    Keep `makemigrations --lint` from deleting some of the migrations of one app.

    A backfill sets NOT NULL, which the linter reports, and `makemigrations
    --lint --noinput` deletes each file that it reports: a file with a function
    to be written, on which the next migration may depend. So all of them stay
    where one has a backfill. In memory only: the files do not need the linter,
    and `lintmigrations` reports on them as on any other.
    """
    migrations = list(migrations)
    if not apps.is_installed("django_migration_linter"):
        return
    if not any(map(get_backfills, migrations)):
        return
    linter = import_module("django_migration_linter")
    written: Any
    for written in migrations:
        written.operations = [*written.operations, linter.IgnoreMigration()]
