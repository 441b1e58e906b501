"""SQLite: a file that takes no changes, or not now."""

from __future__ import annotations

from django.db import Error

from safefield.backends.base.rights import Rights


class SQLiteRights(Rights):
    """SQLite has no users, but files that nobody may write to."""

    def is_read_only(self, exc: BaseException) -> bool:
        # Python 3.10 has no sqlite_errorcode.
        return "readonly database" in str(exc)

    def describe(self, exc: Error) -> str | None:
        """Return what to say of an error about the file; None of another one."""
        if "database is locked" in str(exc):
            return (
                "another connection writes to the database file, for longer than this "
                "one waits (the timeout in OPTIONS). End it, or wait for it."
            )
        return super().describe(exc)
