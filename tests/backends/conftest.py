"""Other sessions on the database of a test's `history`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.history import History
from tests.support.sessions import Session


@pytest.fixture
def other(history: History) -> Iterator[Session]:
    """Yield the session of somebody else."""
    with Session(history.connection) as session:
        yield session


@pytest.fixture
def watcher(history: History) -> Iterator[Session]:
    """Yield a session that sees whether another one waits."""
    with Session(history.connection) as session:
        yield session
