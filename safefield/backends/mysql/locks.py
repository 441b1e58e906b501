"""MySQL and MariaDB: session lock timeouts, and named locks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from django.db import DatabaseError, Error

from safefield.backends.base.locks import Locks
from safefield.backends.base.sql import execute, fetch_all, fetch_one, putting_away
from safefield.backends.mysql.session import MySQLSession, set_variables, setting
from safefield.conf import get_configuration

#: Error numbers of what passes: "Lock wait timeout exceeded" and "Deadlock
#: found". Source: mysqld_error.h, ER_LOCK_WAIT_TIMEOUT and ER_LOCK_DEADLOCK.
PASSING = {1205, 1213}

#: Seconds that a statement waits for its lock. Everybody who comes meanwhile
#: waits behind it, so this is a stall of the site; 1 is the least that both
#: servers take.
LOCK_WAIT_SECONDS = 1

#: Session variables that say how long to wait for a table and for a row.
WAIT_VARIABLES = ("lock_wait_timeout", "innodb_lock_wait_timeout")

#: Error numbers of a statement that took too long, and the setting that ended it.
#: Source: mysqld_error.h, ER_STATEMENT_TIMEOUT and ER_QUERY_TIMEOUT.
LIMITS = {1969: "max_statement_time", 3024: "max_execution_time"}

#: Name of the lock that a run of migrate holds. Of a hash, because a lock's
#: name may have 64 characters and that of a table alone as many. Of SHA2(), because
#: MySQL 9.6 and later have no other by themselves.
CLAIM = "CONCAT('safefield', LEFT(SHA2(CONCAT(DATABASE(), '.', %(table)s), 256), 40))"

#: The servers do not say alike who holds a lock on the definition of a table, but any
#: open transaction that has read one of this database may. The first is MySQL's alone,
#: whose second fails where any session at all runs a statement with a character of four
#: bytes (3854).
BLOCKERS = (
    """
    SELECT DISTINCT p.ID, COALESCE(TIMER_WAIT DIV 1000000000000, p.TIME) AS seconds,
           p.COMMAND, p.INFO
      FROM performance_schema.metadata_locks
      JOIN performance_schema.threads t ON t.THREAD_ID = OWNER_THREAD_ID
      JOIN performance_schema.processlist p ON p.ID = t.PROCESSLIST_ID
      LEFT JOIN performance_schema.events_transactions_current e
        ON e.THREAD_ID = t.THREAD_ID AND e.STATE = 'ACTIVE'
     WHERE OBJECT_TYPE = 'TABLE' AND OBJECT_SCHEMA = DATABASE()
       AND LOCK_STATUS = 'GRANTED' AND p.ID <> CONNECTION_ID()
     ORDER BY seconds DESC
    """,
    """
    SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()), COMMAND, INFO
      FROM information_schema.INNODB_TRX
      JOIN information_schema.PROCESSLIST ON ID = trx_mysql_thread_id
     WHERE trx_mysql_thread_id <> CONNECTION_ID() AND DB = DATABASE()
     ORDER BY trx_started
    """,
)


class MySQLLocks(Locks):
    """The locks on MySQL and MariaDB."""

    session_class = MySQLSession

    #: The server's number of the session that has the claim.
    _claimant: int | None = None

    @contextmanager
    def claim_table(self) -> Iterator[None]:
        with super().claim_table(), self.waiting(LOCK_WAIT_SECONDS):
            yield

    def claim(self) -> bool:
        is_ours, claimant = self._fetch(f"GET_LOCK({CLAIM}, 0), IS_USED_LOCK({CLAIM})")
        if is_ours:
            self._claimant = claimant
        return bool(is_ours)

    def find_claimants(self) -> Sequence[str]:
        (claimant,) = self._fetch(f"IS_USED_LOCK({CLAIM})")
        return [] if claimant is None else [f"connection {claimant}"]

    def release(self) -> None:
        self._fetch(f"RELEASE_LOCK({CLAIM})")

    def recover(self) -> None:
        self._renew_session()
        (claimant,) = self._fetch(f"IS_USED_LOCK({CLAIM})")
        if claimant is not None and claimant == self._claimant:
            # The lost session goes on with its statement, which nobody waits for.
            with suppress(DatabaseError):
                # Unless it has come to its end since.
                execute(self.connection, f"KILL {int(claimant)}")
        self._claim_in_time()
        self.session.lift(self.session.limits)
        set_variables(self.connection, dict.fromkeys(WAIT_VARIABLES, LOCK_WAIT_SECONDS))

    def _fetch(self, functions: str) -> Any:
        """Return what functions of the claim say."""
        return fetch_one(
            self.connection, f"SELECT {functions}", {"table": self.plan.table}
        )

    @contextmanager
    def whole_tables(self, tables: Iterable[str]) -> Iterator[None]:
        """
        Keep everybody else away from tables; wait for them only shortly.

        What is done meanwhile has nobody to wait for.
        """
        quote_name = self.connection.ops.quote_name
        locks = ", ".join(f"{quote_name(table)} WRITE" for table in tables)
        waiting: AbstractContextManager[None]
        if self.connection.mysql_is_mariadb:
            # Three trips to the server less; MySQL has no WAIT.
            locks += f" WAIT {LOCK_WAIT_SECONDS}"
            waiting = nullcontext()
        else:
            waiting = self.waiting(LOCK_WAIT_SECONDS)
        with waiting:
            execute(self.connection, f"LOCK TABLES {locks}")
            with putting_away(lambda: execute(self.connection, "UNLOCK TABLES")):
                yield

    def waiting(self, seconds: int) -> AbstractContextManager[None]:
        """Wait for locks no longer than this, and as before afterwards."""
        return setting(self.connection, **dict.fromkeys(WAIT_VARIABLES, seconds))

    def is_passing(self, exc: DatabaseError) -> bool:
        return bool(exc.args) and exc.args[0] in PASSING

    def name_limit(self, exc: Error) -> str | None:
        return LIMITS.get(exc.args[0]) if exc.args else None

    def blockers(self, *, with_sql: bool = True) -> Sequence[str]:
        shows_sql = with_sql and get_configuration().SHOW_VALUES
        is_mariadb = self.connection.mysql_is_mariadb
        for sql in BLOCKERS[is_mariadb:]:
            # An ordinary user may not ask: then nobody is named.
            with suppress(DatabaseError):
                return [
                    f"connection {connection} ({command}), in a transaction for "
                    f"{seconds} s" + (f": {query}" if query and shows_sql else "")
                    for connection, seconds, command, query in fetch_all(
                        self.connection, sql
                    )
                ]
        return []
