"""Try a page again where that may do better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from django.db import DatabaseError, Error, transaction

from safefield.backends.base.retries import BATCH
from safefield.backends.base.schema import Schema
from safefield.exceptions import SafefieldError


def try_page(schema: Schema, *, skips_locked: bool) -> Iterator[Attempt]:
    """
    Yield the tries of a page: again while others hold locks, then row by row.

    Each is to be entered, and its transaction within it.

    Args:
        skips_locked (bool): Whether rows that others have locked are passed over.

    Raises:
        BackfillError: Others held locks each time; the text names them.
    """
    pauses = schema.locks.pause_between(BATCH)
    attempt = Attempt(schema, skips_locked)
    while True:
        yield attempt
        if attempt.error is None:
            return
        is_passing = attempt.is_passing(attempt.error)
        if is_passing and not next(pauses, False):
            raise schema.locks.make_error() from attempt.error
        attempt = Attempt(schema, skips_locked, is_singly=not is_passing)


class Attempt:
    """
    One try of a page. What may be put right by another one it holds back.

    Args:
        skips_locked (bool): Whether rows that others have locked are passed over.
        is_singly (bool): Whether it is found out row by row which one is bad.
    """

    def __init__(
        self, schema: Schema, skips_locked: bool, *, is_singly: bool = False
    ) -> None:
        self.schema = schema
        self.skips_locked = skips_locked
        self.is_singly = is_singly
        #: What was raised, if another try is to follow.
        self.error: Exception | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception) and self._may_follow(error):
            self.error = error
            return True
        return False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin the transaction of the batch, and end it."""
        commits = self.schema.commits
        with transaction.atomic(using=self.schema.connection.alias):
            if commits and not self.skips_locked:
                self.schema.locks.limit_wait()
            old = self.schema.plan.old_field
            is_key = commits and old is not None and old.is_relation
            # Else the database checks keys at the commit, and nobody knows of which
            # row. A batch of a column without a foreign key is told so the second
            # time: it may write other columns, and populate other tables.
            if self.is_singly or is_key:
                self.schema.locks.check_keys_at_once()
            yield

    def is_passing(self, error: Exception) -> bool:
        """Return whether `error` is about a lock, so that the next try may work."""
        return isinstance(error, DatabaseError) and self.schema.locks.is_passing(error)

    def _may_follow(self, error: Exception) -> bool:
        """Return whether another try may do better."""
        if isinstance(error, (MemoryError, SafefieldError)):
            return False
        locks = self.schema.locks
        locks.session.raise_interrupt(error)
        if self.is_passing(error):
            return self.schema.commits
        if isinstance(error, Error) and (
            not isinstance(error, DatabaseError) or locks.name_limit(error)
        ):
            # Not about a row: the connection, or a timeout of the server's.
            return False
        # With needs_rollback the whole transaction is lost, as to a full disk. Else
        # populate broke that of the batch, or the database or its driver refused a
        # value. Row by row it is known which one.
        return not (self.is_singly or self.schema.connection.needs_rollback)
