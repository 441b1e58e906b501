"""PostgreSQL: lock_timeout within the transaction, and advisory locks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from django.db import DatabaseError, Error, transaction

from safefield.backends.base.locks import Locks, Result
from safefield.backends.base.sql import execute, fetch_all, fetch_value
from safefield.backends.base.waits import FIRST_SECONDS, Wait
from safefield.backends.postgresql.claims import Claim, is_pooled, make_claim
from safefield.backends.postgresql.rights import get_state
from safefield.backends.postgresql.session import LOCK_LIMITS, PostgreSQLSession
from safefield.conf import get_configuration
from safefield.progress import is_heard, step, warn

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

#: Seconds between two looks at whom a long statement waits for.
LOOK_SECONDS = 0.5

#: Who keeps a process waiting, by a lock or by a transaction that is older.
BLOCKING = (
    "SELECT pid, application_name, state, "
    "extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity "
    "WHERE pid = ANY (pg_blocking_pids(%s)) ORDER BY xact_start"
)


#: Who has an advisory lock of two numbers.
CLAIMANT = (
    "SELECT pid, application_name, state, "
    "extract(epoch FROM now() - xact_start)::int "
    "FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND (classid::bigint, objid::bigint) = (%s, %s) "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

#: SQLSTATEs of what ends a statement or a session that takes long, and the setting.
LIMITS = {
    "57014": "statement_timeout",
    "55P03": "lock_timeout",
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "57P05": "idle_session_timeout",
}


class PostgreSQLLocks(Locks):
    """The locks on PostgreSQL."""

    session_class = PostgreSQLSession

    _claim: Claim | None = None

    def claim(self) -> bool:
        self._claim = self._claim or make_claim(self.connection, self.plan)
        return self._claim.take()

    def find_claimants(self) -> Sequence[str]:
        assert self._claim is not None
        # The catalogue has them without a sign.
        keys = [key % 2**32 for key in self._claim.keys]
        rows = fetch_all(self.connection, CLAIMANT, keys)
        if rows:
            rows += fetch_all(self.connection, BLOCKING, [rows[0][0]])
        return [_describe_session(*row) for row in rows[:2]]

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
    def is_pooled(self) -> bool:
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
        execute(self.connection, "SET CONSTRAINTS ALL IMMEDIATE")

    def limit_wait(self) -> None:
        execute(self.connection, LIMIT_WAIT)

    def change_table(self, function: Callable[[], Result]) -> Result:
        if self.connection.in_atomic_block:
            # What the table is locked by is kept until the migration's end anyway.
            return function()

        def attempt() -> Result:
            try:
                with transaction.atomic(using=self.connection.alias):
                    self.limit_wait()
                    return function()
            except DatabaseError as exc:
                self.session.raise_interrupt(exc)
                raise

        return super().change_table(attempt)

    def work_online(self, title: str, function: Callable[[], object]) -> None:
        # It waits for the transactions of others, and keeps nobody waiting.
        with step(title), self.session.lifted(LOCK_LIMITS), self.watched():
            self.work_long(function)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say whom a long statement waits for, which is not tried again and again."""
        if self.is_pooled or not is_heard():
            # The process of one statement says nothing of the next.
            yield
            return
        pid = fetch_value(self.connection, "SELECT pg_backend_pid()")
        is_over = threading.Event()
        thread = threading.Thread(
            target=self._watch, args=[pid, is_over], name="safefield", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _watch(self, pid: int, is_over: threading.Event) -> None:
        """Say whom a process waits for, until that is over."""
        if is_over.wait(FIRST_SECONDS):
            return
        # The connection is busy with the statement.
        other = self.connection.copy()

        def find() -> list[str]:
            rows = fetch_all(other, BLOCKING, [pid])
            return [_describe_session(*session) for session in rows]

        wait = Wait(self.plan, find, self.clock)
        # No run fails because there is no connection to be had for this.
        with suppress(DatabaseError), closing(other):
            while not is_over.wait(LOOK_SECONDS):
                if find():
                    wait.tell()
                else:
                    wait = Wait(self.plan, find, self.clock)

    def blockers(self, *, with_sql: bool = True) -> Sequence[str]:
        tables = [self.plan.table]
        if self.plan.field.is_relation:
            tables.append(self.plan.field.related_model._meta.db_table)
        rows = fetch_all(
            self.connection,
            "SELECT pid, application_name, state, "
            "extract(epoch FROM now() - xact_start)::int, "
            "string_agg(DISTINCT mode, ', '), query "
            "FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE relation = ANY (%s::regclass[]) AND granted "
            "AND pid <> pg_backend_pid() "
            "GROUP BY pid, application_name, state, xact_start, query "
            "ORDER BY xact_start",
            [list(map(self.connection.ops.quote_name, tables))],
        )
        shows_sql = with_sql and get_configuration().SHOW_VALUES
        return [
            f"{_describe_session(*session)}, holds {modes}"
            + (f": {query}" if shows_sql else "")
            for *session, modes, query in rows
        ]


def _describe_session(
    pid: int, name: str, state: str | None, seconds: int | None
) -> str:
    if state is None:
        return f"process {pid}, of which this role may see no more"
    since = "" if seconds is None else f", in a transaction for {seconds} s"
    return f"process {pid} ({name or 'no application name'}), {state}{since}"
