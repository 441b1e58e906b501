from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from tests.support import catalogue


def create_tables(connection):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (id integer PRIMARY KEY)")
        cursor.execute("CREATE TABLE child (id integer REFERENCES parent (id))")
        cursor.execute("CREATE VIEW parents AS SELECT * FROM parent")


@pytest.fixture
def forgotten():
    """Connections that nobody closes before the databases have been emptied."""
    found = []
    yield found
    for connection in found:
        connection.close()


class TestAlias:
    def test_starts_empty_and_in_autocommit(self, alias):
        connection = connections[alias]

        assert catalogue.list_tables(connection) == []
        assert connection.get_autocommit() is True
        assert connection.in_atomic_block is False
        create_tables(connection)
        transaction.atomic(using=alias).__enter__()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO parent VALUES (1)")

    # The same again: whichever runs second finds nothing of the first.
    test_leaves_nothing_behind = test_starts_empty_and_in_autocommit

    def test_ends_the_locks_of_other_connections(self, forgotten, alias):
        create_tables(connections[alias])
        other = connections[alias].copy()
        other.inc_thread_sharing()
        forgotten.append(other)

        def hold_lock():
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("INSERT INTO parent VALUES (1)")

        thread = threading.Thread(target=hold_lock)
        thread.start()
        thread.join()


def test_single_aliases(sqlite_alias, postgresql_alias, mariadb_alias):
    aliases = [sqlite_alias, postgresql_alias, mariadb_alias]

    assert aliases == ["default", "postgresql", "mariadb"]
