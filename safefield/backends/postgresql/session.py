"""PostgreSQL: the session of a run."""

from __future__ import annotations

from safefield.backends.base.session import Session

__all__ = ["PostgreSQLSession"]


class PostgreSQLSession(Session):
    """The session of a run on PostgreSQL."""

    def answers(self) -> bool:
        # The driver notices with the statement that failed, and a transaction that
        # failed takes no other one.
        return not self.connection.connection.closed
