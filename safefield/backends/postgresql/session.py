"""PostgreSQL: the session of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safefield.backends.base.session import Session
from safefield.backends.base.sql import execute, fetch_all
from safefield.backends.postgresql.claims import is_pooled

#: For statements that wait for the transactions of others and keep nobody waiting:
#: CREATE INDEX CONCURRENTLY and VALIDATE.
LOCK_LIMITS = ("lock_timeout",)


class PostgreSQLSession(Session):
    """The session of a run on PostgreSQL."""

    #: Not lock_timeout, which a batch and a change of the table have of their own.
    #: Source: https://www.postgresql.org/docs/current/runtime-config-client.html
    limits = (
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    )

    def answers(self) -> bool:
        # The driver notices with the statement that failed, and a transaction that
        # failed takes no other one.
        return not self.connection.connection.closed

    def read_limits(self, names: Sequence[str]) -> Mapping[str, str]:
        if is_pooled(self.connection):
            # A setting of the session would be somebody else's with the next statement.
            return {}
        rows = fetch_all(
            self.connection,
            "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) name "
            "WHERE current_setting(name, true) <> '0'",
            [list(names)],
        )
        return dict(rows)

    def write_settings(self, settings: Mapping[str, str]) -> None:
        if settings:
            execute(
                self.connection,
                "SELECT set_config(name, value, false) "
                "FROM unnest(%s::text[], %s::text[]) settings (name, value)",
                [list(settings), list(settings.values())],
            )
