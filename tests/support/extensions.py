"""What a PostgreSQL server is built with: not every one has all extensions."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import NotSupportedError


def has_extension(connection: Any, name: str) -> bool:
    """Return whether an extension can be created."""
    return _finds(
        connection, "SELECT FROM pg_available_extensions WHERE name = %s", name
    )


def require_extension(connection: Any, name: str) -> None:
    """Create an extension, or skip the test where the server has it not."""
    if not has_extension(connection, name):
        pytest.skip(f"this server has no {name}")
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE EXTENSION IF NOT EXISTS {connection.ops.quote_name(name)}"
        )
    # As HStoreExtension of Django does, so that the driver knows its types at once.
    from django.contrib.postgres import signals

    signals.get_hstore_oids.cache_clear()
    signals.get_citext_oids.cache_clear()
    signals.register_type_handlers(connection)


def require_icu(connection: Any) -> None:
    """Skip the test where the server is built without ICU."""
    # PostgreSQL 16 lists a collation named "unicode" also where it cannot be used.
    if not _finds(
        connection, "SELECT FROM pg_collation WHERE collname = %s", "und-x-icu"
    ):
        pytest.skip("this server is built without ICU")


def require_xml(connection: Any) -> None:
    """Skip the test where the server is built without libxml."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT '<a/>'::xml")
    except NotSupportedError:
        pytest.skip("this server is built without libxml")


def _finds(connection: Any, sql: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, [name])
        return cursor.fetchone() is not None
