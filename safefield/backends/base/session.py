"""The session of a run on its server: the one that it began with, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, InterfaceError

from safefield.backends.base.sql import putting_away
from safefield.interrupts import find_interrupt


class Session:
    """
    What a run has on its server, and does not have in another session: its claim
    on the table, its timeouts, its mode.

    Django connects again by itself where a connection was closed. Within kept() it
    gets an error instead.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        #: Whether the last run lost its session, or somebody closed it.
        self.was_lost = False
        #: None outside of kept(), as in a rehearsal, which loses nothing.
        self._identity: tuple[Any, ...] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let no other session take the place of this one in the block."""
        self.connection.ensure_connection()
        self._identity = self.identify()
        self.was_lost = False
        self.connection.connect = self._refuse
        try:
            yield
        except BaseException as exc:
            of_database = Error, KeyboardInterrupt
            if isinstance(exc, of_database) or isinstance(exc.__cause__, of_database):
                self.is_lost()
            raise
        finally:
            vars(self.connection).pop("connect", None)
            self._identity = None

    def _refuse(self) -> None:
        raise InterfaceError("The connection of this run is closed.")

    def identify(self) -> tuple[Any, ...]:
        """Return what only this session has, without asking the server."""
        return (self.connection.connection,)

    def is_lost(self) -> bool:
        """Return whether the session is over, or another one is in its place."""
        self.was_lost = self.was_lost or not (
            self.connection.connection is not None
            and self._identity in (None, self.identify())
            and self.answers()
        )
        return self.was_lost

    def raise_interrupt(self, exc: Exception) -> None:
        """
        Raise the interrupt after which an error came, if there is one.

        Told to stop at a COMMIT, Django cannot go back to autocommit, says so, and
        forgets why.
        """
        if (interrupt := find_interrupt(exc)) is None:
            return
        if not self.is_lost() and not self.connection.in_atomic_block:
            self.connection.rollback()
            self.connection.set_autocommit(True)
        raise interrupt from None

    def answers(self) -> bool:
        """Return whether the server takes statements."""
        return bool(self.connection.is_usable())

    #: Settings by which a project ends what takes long, and which would end a run.
    limits: Sequence[str] = ()

    #: What lets those of them end nothing of which 0 does not.
    unlimited: Mapping[str, str] = {}

    @contextmanager
    def lifted(self, names: Sequence[str]) -> Iterator[None]:
        """Let these settings end nothing in the block; they are put back after it."""
        before = self.lift(names)
        with putting_away(lambda: self.write_settings(before)):
            yield

    def lift(self, names: Sequence[str]) -> Mapping[str, str]:
        """Let these settings end nothing; return what they were, where they did."""
        before = self.read_limits(names)
        self.write_settings({name: self.unlimited.get(name, "0") for name in before})
        return before

    def read_limits(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return those of these settings that end something."""
        return {}

    def write_settings(self, settings: Mapping[str, str]) -> None:
        """Give the session these settings."""

    def renew(self) -> None:
        """Begin another session, to put away what the lost one has left behind."""
        vars(self.connection).pop("connect", None)
        # Django takes a block whose COMMIT found the session gone for one that is
        # still open, and would not connect within it.
        self.connection.in_atomic_block = False
        with suppress(Error):
            # It may be past that, too.
            self.connection.close()
        self.connection.connection = None
        self.connection.ensure_connection()
