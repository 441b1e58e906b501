"""Work on a page in one transaction, and try it again where that may do better."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, Error, transaction

from safefield.backends.base.retries import BATCH
from safefield.backends.base.schema import Schema
from safefield.exceptions import SafefieldError
from safefield.filling.key_pages import Batch


def try_page(
    schema: Schema, handle: Callable[[bool], Batch], *, skips_locked: bool
) -> Batch:
    """
    Call `handle` in a transaction: again while others hold locks, then row by row.

    Args:
        handle (Callable[[bool], Batch]): Does the work; with True, what is about one
            row alone is to be kept from the others.

    Raises:
        BackfillError: Others held locks each time; the text names them.
    """
    locks = schema.locks
    pauses = locks.pause_between(BATCH)
    is_singly = False
    while True:
        try:
            with _begin(schema, is_singly=is_singly, skips_locked=skips_locked):
                batch = handle(is_singly)
                if batch.found:
                    schema.settle()
            return batch
        except (MemoryError, SafefieldError):
            raise
        except Exception as exc:
            locks.session.raise_interrupt(exc)
            is_passing = isinstance(exc, DatabaseError) and locks.is_passing(exc)
            if is_passing:
                if not schema.commits:
                    raise
                if not next(pauses, False):
                    raise locks.make_error() from exc
            elif is_singly or not _may_be_about_a_row(schema, exc):
                raise
            is_singly = not is_passing


@contextmanager
def _begin(schema: Schema, *, is_singly: bool, skips_locked: bool) -> Iterator[None]:
    """Begin the transaction of the batch, and end it."""
    commits = schema.commits
    with transaction.atomic(using=schema.connection.alias):
        if commits and not skips_locked:
            schema.locks.limit_wait()
        old = schema.plan.old_field
        is_key = commits and old is not None and old.is_relation
        # Else the database checks keys at the commit, and nobody knows of which row.
        # A batch of a column without a foreign key is told so the second time: it may
        # write other columns, and populate other tables.
        if is_singly or is_key:
            schema.locks.check_keys_at_once()
        yield


def _may_be_about_a_row(schema: Schema, error: Exception) -> bool:
    """Return whether it can be found out row by row which one `error` is about."""
    if isinstance(error, Error) and (
        not isinstance(error, DatabaseError) or schema.locks.name_limit(error)
    ):
        # The connection, or a timeout of the server's.
        return False
    # With needs_rollback the whole transaction is lost, as to a full disk. Else
    # populate broke that of the batch, or the database or its driver refused a value.
    return not schema.connection.needs_rollback
