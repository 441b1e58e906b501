"""Undo what populate does beside the rows, while it is only tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import NotSupportedError, connections, transaction
from django.db.backends.signals import connection_created

from safefield.backends import get_backend

#: How a statement begins that writes nothing.
READING = frozenset(
    {"BEGIN", "DECLARE", "EXPLAIN", "FETCH", "PRAGMA", "RELEASE", "ROLLBACK"}
) | frozenset({"SAVEPOINT", "SELECT", "SET", "SHOW", "START", "VALUES"})


class NeedsWriting(BaseException):
    """Populate writes: past its own `except Exception`, and that of the fill."""


class Trial:
    """
    A time in which populate is tried, and nothing of what it does is to stay.

    What it does through the connection of the rows is for the caller to roll back.

    Args:
        may_write (bool): Whether populate may go on when it writes. What it has
            created is gone in the end, and it may still remember it, as with
            functools.cache.
    """

    def __init__(self, connection: Any, *, may_write: bool = True) -> None:
        self.connection = connection
        self.may_write = may_write
        #: Aliases of other databases that were written to.
        self.written: set[str] = set()
        #: Aliases to which a connection was opened that is not the project's one, as
        #: a thread has it: what is done through it cannot be undone.
        self.strangers: set[str] = set()
        self._thread = threading.get_ident()

    @contextmanager
    def open(self) -> Iterator[None]:
        """
        Roll back, in the end, what was done through other connections.

        Raises:
            NotSupportedError: Out of populate, at a statement that would end the
                transaction of the rows.
            NeedsWriting: Out of populate, before it writes, if it may not.
        """
        with ExitStack() as stack:

            def undo_new(connection: Any, **kwargs: Any) -> None:
                if connection is self.connection:
                    return
                is_mine = threading.get_ident() == self._thread
                if is_mine and connections[connection.alias] is connection:
                    stack.enter_context(self._undo_new(connection))
                else:
                    self.strangers.add(connection.alias)

            stack.enter_context(self.connection.execute_wrapper(self._refuse))
            if not self.may_write:
                stack.enter_context(self._watch(self.connection))
            for other in connections.all(initialized_only=True):
                if other is not self.connection and other.connection is not None:
                    stack.enter_context(self._undo(other))
            # Connections that nobody needs are not opened: a server may be down.
            connection_created.connect(undo_new, weak=False)
            stack.callback(connection_created.disconnect, undo_new)
            yield

    def _refuse(self, execute: Any, sql: Any, *args: Any) -> Any:
        """Refuse a statement behind which nothing can be rolled back."""
        if get_backend(self.connection).shadow.ends_transaction(str(sql)):
            raise NotSupportedError(
                f"{' '.join(str(sql).split()[:2])} ends the transaction "
                f"and cannot be undone"
            )
        return execute(sql, *args)

    @contextmanager
    def _undo(self, other: Any) -> Iterator[None]:
        """Undo what is done through a connection that is open already."""
        with self._watch(other), transaction.atomic(using=other.alias):
            yield
            transaction.set_rollback(True, using=other.alias)

    @contextmanager
    def _undo_new(self, other: Any) -> Iterator[None]:
        """
        Undo what is done through a connection that has just been opened.

        It may have been opened in order to begin a transaction, which atomic()
        would then not notice to be the inner one.
        """
        before = other.get_autocommit()
        other.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
        try:
            with self._watch(other):
                yield
        finally:
            if other.connection is not None:
                other.rollback()
                other.set_autocommit(
                    before, force_begin_transaction_with_broken_autocommit=True
                )

    @contextmanager
    def _watch(self, other: Any) -> Iterator[None]:
        """Notice that something is written."""

        def watch(execute: Any, sql: Any, *args: Any) -> Any:
            words = str(sql).lstrip("( \n\t").split(None, 1)
            if words and words[0].upper() not in READING:
                self.written.add(other.alias)
                if not self.may_write:
                    raise NeedsWriting
            return execute(sql, *args)

        with other.execute_wrapper(watch):
            yield
