"""PostgreSQL: the advisory lock that keeps other runs away, also behind a pooler."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, Error

from safefield.backends.base.sql import execute, fetch_one, fetch_value
from safefield.exceptions import BackfillError
from safefield.plan import Plan

#: How Django is told of a pooler that hands out a connection for each transaction.
POOLED = "DISABLE_SERVER_SIDE_CURSORS"

#: The numbers of the lock, which is the same in each session.
KEYS = "SELECT hashtext('safefield'), hashtext(%s::regclass::oid::text)"

#: The process of the server that runs this statement.
PID = "SELECT pg_backend_pid()"

#: In the transaction of a claim, which is idle all the time.
UNLIMITED = "SET LOCAL idle_in_transaction_session_timeout = 0"
UNLIMITED_17 = "SET LOCAL transaction_timeout = 0"


def is_pooled(connection: Any) -> bool:
    """Return whether each transaction may go over another connection."""
    return bool(connection.settings_dict.get(POOLED))


class Claim:
    """A lock of the session of a run."""

    #: Whether it is still there when the session of the run is lost.
    outlives_session = False

    def __init__(self, connection: Any, keys: tuple[int, int]) -> None:
        self.connection = connection
        self.keys = keys

    def take(self) -> bool:
        """Return whether it could be had."""
        return self._call("pg_try_advisory_lock")

    def give_back(self) -> bool:
        """Return whether it was still there."""
        return self._call("pg_advisory_unlock")

    def _call(self, function: str) -> bool:
        return bool(
            fetch_value(self.connection, f"SELECT {function}(%s, %s)", self.keys)
        )


class PooledClaim(Claim):
    """
    A lock of a transaction over a connection of its own.

    Behind a pooler of transactions, a lock of the session would be left with somebody
    else. A transaction that has read nothing keeps nobody waiting, and no old rows.
    """

    outlives_session = True

    def __init__(self, connection: Any, keys: tuple[int, int], plan: Plan) -> None:
        super().__init__(connection, keys)
        self.plan = plan
        self._beside: Any = None
        self._was_pooled = connection.settings_dict.get(POOLED)

    def take(self) -> bool:
        if self._beside is not None:
            return True
        pid = fetch_value(self.connection, PID)
        beside = self.connection.copy()
        try:
            beside_pid = self._begin(beside)
            sql = "SELECT pg_try_advisory_xact_lock(%s, %s)"
            if not fetch_value(beside, sql, self.keys):
                beside.close()
                return False
        except DatabaseError as exc:
            beside.close()
            if "statement pooling" not in str(exc):
                raise
            raise self._make_error() from exc
        self._beside = beside
        if not pid == fetch_value(self.connection, PID) != beside_pid:
            # Not a pooler of sessions. As if the project had said so: Django leaves out
            # the cursors that would be lost.
            self.connection.settings_dict[POOLED] = True
        return True

    def _begin(self, beside: Any) -> int:
        execute(beside, "BEGIN")
        execute(beside, UNLIMITED)
        if beside.pg_version >= 170000:
            execute(beside, UNLIMITED_17)
        return int(fetch_value(beside, PID))

    def give_back(self) -> bool:
        """Return whether it was still there."""
        self.connection.settings_dict[POOLED] = self._was_pooled
        beside, self._beside = self._beside, None
        if beside is None:
            return False
        try:
            # The server may notice only later that the session has ended.
            execute(beside, "ROLLBACK")
        except Error:
            return False
        finally:
            beside.close()
        return True

    def _make_error(self) -> BackfillError:
        return self.plan.error(
            f"{self.plan.title}: the pooler in front of the database hands out a "
            f"connection for each statement, and a backfill needs transactions. Let "
            f"migrate connect to the database itself, or to a pooler of transactions. "
            f"Nothing was changed."
        )


def make_claim(connection: Any, plan: Plan) -> Claim:
    """Return the claim of a run on its table."""
    *keys, pid = fetch_one(
        connection, f"{KEYS}, pg_backend_pid()", [connection.ops.quote_name(plan.table)]
    )
    # A pooler has numbers of its own for its clients.
    if is_pooled(connection) or pid != connection.connection.info.backend_pid:
        return PooledClaim(connection, (keys[0], keys[1]), plan)
    return Claim(connection, (keys[0], keys[1]))
