"""What the user of a connection may not do, and how it is let do it."""

from __future__ import annotations

from typing import Any

from django.db import Error


class Rights:
    """The rights of the user of a connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def is_refusal(self, exc: BaseException) -> bool:
        """Return whether an error says that this user may not do it."""
        return False

    def is_read_only(self, exc: BaseException) -> bool:
        """Return whether an error says that nobody may write in this session."""
        return False

    def spell_temporary(self) -> str:
        """Return the statement that lets this user create temporary tables."""
        return ""

    def describe(self, exc: Error) -> str | None:
        """Return what to say of an error about rights; None of another one."""
        if self.is_read_only(exc):
            return (
                f"the database takes no changes from this session: {self.quote(exc)}. "
                f"Let it write, or connect to a server that does."
            )
        if self.is_refusal(exc):
            return (
                f"this user may not do what is needed: {self.quote(exc)}. Give it the "
                f"right."
            )
        return None

    def describe_temporary(self, exc: Error) -> str:
        """Return what the database said of a temporary table, and how to have it."""
        how = f" ({self.spell_temporary()})" if self.is_refusal(exc) else ""
        return f"It said: {self.quote(exc)}. Let this user create temporary tables{how}"

    def quote(self, exc: Error) -> str:
        """Return the first line of what the database said."""
        return str(exc).strip().partition("\n")[0].rstrip(".")
