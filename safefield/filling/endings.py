"""However a run ends early, one text says where things stand and how to go on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, SafefieldError
from safefield.filling.origins import find_migration, shorten
from safefield.interrupts import Stopped, Terminated, find_interrupt, stoppable
from safefield.plan import Plan
from safefield.reports import quote_error

#: Exit codes as shells have them: this and the number of the signal.
SIGNAL_CODE = 128

LOST = "the connection to the database was lost or closed."


def stop(interrupt: KeyboardInterrupt, text: str) -> Stopped:
    """Say what there is to say, and return the end of a process told to stop."""
    # The terminal may be what went away.
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    is_terminated = isinstance(interrupt, Terminated)
    number = interrupt.args[0] if is_terminated else signal.SIGINT
    return Stopped(SIGNAL_CODE + number)


class CommandEnding:
    """What is said of a command of safefield's own that ends early."""

    def __init__(self, connection: Any, command: str) -> None:
        self.command = command
        #: What it has done so far, a sentence.
        self.done = "Nothing was changed."
        backend = get_backend(connection)
        self.session = backend.schema.locks_class.session_class(connection)
        self.rights = backend.rights(connection)

    @contextmanager
    def told(self) -> Iterator[None]:
        """
        Turn signals, a lost connection and missing rights into one sentence.

        Raises:
            Stopped: Ctrl-C, SIGTERM or SIGHUP.
            SafefieldError: The connection was lost, or the database lets this user, or
                anybody, not do it.
        """
        with stoppable():
            try:
                with self.session.kept():
                    yield
            except (Error, SafefieldError, KeyboardInterrupt) as exc:
                interrupt = find_interrupt(exc)
                if interrupt is not None and not isinstance(exc, SafefieldError):
                    raise stop(interrupt, f"Stopped. {self.done}") from None
                text = self._explain(exc)
                if text is None:
                    raise
                text = f"{text[0].upper()}{text[1:]} {self.done}"
                text += f" Run {self.command} again."
                raise SafefieldError(text) from exc

    def _explain(self, exc: BaseException) -> str | None:
        if self.session.was_lost:
            return LOST
        return self.rights.describe(exc) if isinstance(exc, Error) else None


class Ending:
    """
    What is said of a run that ends early.

    Args:
        kept (str): What a run leaves done, a sentence.
        is_forwards (bool): Whether the run fills rows, which can be abandoned.
    """

    def __init__(
        self, plan: Plan, schema: Schema, kept: str, *, is_forwards: bool
    ) -> None:
        self.plan = plan
        self.schema = schema
        self.kept = kept
        self.is_forwards = is_forwards
        self.rights = get_backend(schema.connection).rights(schema.connection)

    @contextmanager
    def told(self) -> Iterator[None]:
        """
        Turn signals and a lost connection into one text in the block.

        Raises:
            Stopped: Ctrl-C, SIGTERM or SIGHUP.
            BackfillError: The connection was lost, or what the run failed of left
                rows without a value refused.
        """
        with stoppable():
            try:
                with self.schema.locks.session.kept():
                    yield
            except (BackfillError, Error, KeyboardInterrupt) as exc:
                if isinstance(exc, KeyboardInterrupt):
                    raise stop(exc, self._describe_stop()) from None
                # It may break the connection, of which transaction.atomic() then fails.
                was_lost = self.schema.locks.session.was_lost
                if was_lost and (interrupt := find_interrupt(exc)) is not None:
                    raise stop(interrupt, self._describe_stop()) from None
                error = self._explain(exc)
                if error is exc:
                    raise
                raise error from exc

    def _explain(self, exc: BackfillError | Error) -> BackfillError | Error:
        """Return what to say of an error; the error itself if that says all."""
        error = exc
        limit = self.schema.locks.name_limit(exc) if isinstance(exc, Error) else None
        if limit is not None:
            error = self.plan.error(self._describe_limit(limit))
        elif self.schema.locks.session.was_lost:
            error = self.plan.error(f"{self.plan.title}: {LOST} {self._resume()}")
        elif isinstance(exc, Error) and (said := self.rights.describe(exc)):
            error = self.plan.error(f"{self.plan.title}: {said} {self._resume()}")
        return self._add_guard(error) if self.schema.locks.left_guard else error

    def _add_guard(self, exc: BackfillError | Error) -> BackfillError:
        """Return the error with what else there is to know."""
        if not isinstance(exc, BackfillError):
            said = type(exc).__name__
            if get_configuration().SHOW_VALUES:
                said += f": {quote_error(exc)}"
            return self.plan.error(
                f"{self.plan.title}: {said}. {self._describe_guard()}"
            )
        return self.plan.error(f"{exc} {self._describe_guard()}", exc.rows)

    def _describe_limit(self, limit: str) -> str:
        return (
            f"{self.plan.title}: the server's setting {limit} ended a statement that "
            f"took longer. Set it to 0 for the user who migrates. {self._resume()}"
        )

    def _resume(self) -> str:
        if not self.schema.commits:
            return "Nothing was changed. Run migrate again."
        return f"{self.kept} Run migrate again to resume."

    def _describe_guard(self) -> str:
        guard = self.schema.locks.left_guard
        return (
            f"{guard[0].upper()}{guard[1:]} could not be dropped: until it is gone, "
            f"table {self.plan.table} refuses each INSERT that leaves out column "
            f"{self.plan.field.column}. Run migrate to resume, or "
            f"{self._spell_abandon()} to undo: both drop it first."
        )

    def _describe_stop(self) -> str:
        if not self.schema.commits or not self.is_forwards:
            return f"Stopped. {self._resume()}"
        try:
            done = self._describe_rows()
        except Error:
            done = self.kept
        if done is None:
            return "Stopped. Nothing was changed. Run migrate again."
        text = (
            f"Stopped. {done} Run migrate to resume, or {self._spell_abandon()} to "
            f"undo."
        )
        if self.schema.locks.left_guard:
            text += f" {self._describe_guard()}"
        return text

    def _describe_rows(self) -> str | None:
        """Return how many rows are filled; None if there is no column yet."""
        connection = self.schema.connection
        if self.schema.locks.session.was_lost:
            with suppress(Error):
                connection.close()
        if self.schema.catalogue.find_column() is None:
            return None
        tally = get_backend(connection).census(self.schema).count()
        if tally.filled is None:
            return self.kept
        of = "of" if tally.is_exact else "of about"
        return f"{tally.filled:,} {of} {tally.rows:,} rows are filled and stay."

    def _spell_abandon(self) -> str:
        alias = self.schema.connection.alias
        option = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
        migration = find_migration(self.plan.origin)
        if migration is None:
            return f"abandonbackfill{option} with this migration"
        name = f"{migration.app_label} {shorten(migration)}"
        return f"abandonbackfill {name}{option}"
