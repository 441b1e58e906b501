"""What keeps rows without a value from coming while a column is made required."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error

from safefield.backends.base.locks import Locks
from safefield.exceptions import SafefieldError
from safefield.interrupts import undisturbed


class Guard:
    """
    What refuses new rows without a value, also those of code that knows no better.

    So it stands only for a moment, and goes however the run ends. This one is that of
    a database that needs none.
    """

    def __init__(self, locks: Locks) -> None:
        self.locks = locks
        #: Whether this run may have created it.
        self._may_stand = False

    @property
    def title(self) -> str:
        """How messages name it: what it is, and its name."""
        return ""

    def is_there(self) -> bool:
        """Return whether the table has it."""
        return False

    def create(self) -> None:
        """Create it, unless it is there."""
        if not self.is_there():
            self._may_stand = True
            self.add()

    def add(self) -> None:
        """Create it."""

    def drop(self) -> None:
        """Drop it if it is there, also that of a run that was stopped."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Drop it if the block fails, whatever it fails of."""
        try:
            yield
        except BaseException as exc:
            if self._may_stand:
                with undisturbed(exc):
                    self._clear_up()
            raise

    def _clear_up(self) -> None:
        try:
            if self.locks.session.is_lost():
                self.locks.recover()
            self.drop()
        except (Error, SafefieldError, KeyboardInterrupt):
            # Said together with what the run fails of.
            self.locks.left_guard = self.title
