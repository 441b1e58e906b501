"""SQLite: a file that takes no changes."""

from __future__ import annotations

from safefield.backends.base.rights import Rights


class SQLiteRights(Rights):
    """SQLite has no users, but files that nobody may write to."""

    def is_read_only(self, exc: BaseException) -> bool:
        # Python 3.10 has no sqlite_errorcode.
        return "readonly database" in str(exc)
