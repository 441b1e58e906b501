"""PostgreSQL: lock_timeout within the transaction, and advisory locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from django.db import DatabaseError, Error, transaction

from safefield.backends.base.locks import Locks
from safefield.backends.postgresql.claims import Claim, is_pooled, make_claim
from safefield.backends.postgresql.session import PostgreSQLSession
from safefield.conf import get_configuration
from safefield.progress import warn

__all__ = ["PostgreSQLLocks"]

#: Milliseconds that a statement waits for a strong lock, and a batch for a
#: row. Everybody who comes meanwhile waits behind a strong lock, so this is a
#: stall of the site.
LOCK_TIMEOUT_MS = 50

#: SET LOCAL: a setting of the session is lost, or found by somebody else, behind
#: a transaction pooler.
LIMIT_WAIT = f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"

#: SQLSTATEs of what passes: lock_not_available, deadlock_detected and
#: serialization_failure. Source: PostgreSQL's appendix A.
PASSING = {"55P03", "40P01", "40001"}


#: SQLSTATEs of what ends a statement or a session that takes long, and the setting.
LIMITS = {
    "57014": "statement_timeout",
    "55P03": "lock_timeout",
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "57P05": "idle_session_timeout",
}


def get_state(exc: Error) -> str | None:
    """Return the SQLSTATE of an error."""
    # psycopg 3 has sqlstate, psycopg2 has pgcode.
    cause = exc.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


class PostgreSQLLocks(Locks):
    """The locks on PostgreSQL."""

    session_class = PostgreSQLSession

    _claim: Claim | None = None

    def claim(self) -> bool:
        self._claim = self._claim or make_claim(self.connection, self.plan)
        return self._claim.take()

    def release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None and not claim.give_back():
            warn(
                "%s: the lock that keeps other runs of migrate away from table %s was "
                "lost before the end.",
                self.plan.title,
                self.plan.table,
            )

    def recover(self) -> None:
        if self._claim is not None and not self._claim.outlives_session:
            self._claim = None
        super().recover()

    @property
    def is_pooled(self) -> bool:  # type: ignore[override]  # an attribute in Locks
        return is_pooled(self.connection)

    def is_passing(self, exc: DatabaseError) -> bool:
        return get_state(exc) in PASSING

    def name_limit(self, exc: Error) -> str | None:
        # So that pg_cancel_backend() is not taken for it.
        name = LIMITS.get(get_state(exc) or "")
        if name == "statement_timeout" and "timeout" not in str(exc):
            return None
        return name

    def check_keys_at_once(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def limit_wait(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(LIMIT_WAIT)

    def change_table(self, function: Callable[[], object]) -> None:
        def attempt() -> None:
            with transaction.atomic(using=self.connection.alias):
                self.limit_wait()
                function()

        super().change_table(attempt)

    def execute_together(self, statements: Iterable[str]) -> None:
        """
        Do what change_table() does for statements, in one trip to the server.

        Raises:
            BackfillError: They did not get their lock; the text names who
                holds it.
        """
        # To PostgreSQL, a string of several statements is one transaction.
        sql = "\n".join([f"{LIMIT_WAIT};", *statements])

        def attempt() -> None:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)

        super().change_table(attempt)

    def blockers(self) -> Sequence[str]:
        tables = [self._quote(self.plan.table)]
        if self.plan.field.is_relation:
            related = self.plan.field.related_model
            tables.append(self._quote(related._meta.db_table))
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid, application_name, state, "
                "extract(epoch FROM now() - xact_start)::int, "
                "string_agg(DISTINCT mode, ', '), query "
                "FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE relation = ANY (%s::regclass[]) AND granted "
                "AND pid <> pg_backend_pid() "
                "GROUP BY pid, application_name, state, xact_start, query "
                "ORDER BY xact_start",
                [tables],
            )
            rows = cursor.fetchall()
        return [
            f"process {pid} ({name or 'no application name'}), {state}, in a "
            f"transaction for {seconds} s, holds {modes}"
            + (f": {query}" if get_configuration().SHOW_VALUES else "")
            for pid, name, state, seconds, modes, query in rows
        ]

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))
