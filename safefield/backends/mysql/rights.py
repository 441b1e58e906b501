"""MySQL and MariaDB: what the user of a connection may not do."""

from __future__ import annotations

from django.db import Error

from safefield.backends.base.rights import Rights
from safefield.backends.base.sql import fetch_one

#: Error numbers of what a user may not do: with a database, a table, a column, without
#: a right of the server, with a routine. Source: mysqld_error.h.
REFUSALS = {1044, 1142, 1143, 1227, 1370}

#: Error numbers of a server or a transaction that is only for reading. 1290 is
#: ER_OPTION_PREVENTS_STATEMENT, also of other options. Source: mysqld_error.h.
READ_ONLY = {1290, 1792, 1836}


class MySQLRights(Rights):
    """The rights of the user of a connection."""

    def is_refusal(self, exc: BaseException) -> bool:
        return bool(exc.args) and exc.args[0] in REFUSALS

    def is_read_only(self, exc: BaseException) -> bool:
        is_about_options = bool(exc.args) and exc.args[0] in READ_ONLY
        return is_about_options and "read" in str(exc).lower()

    def spell_temporary(self) -> str:
        return self.spell_grant("CREATE TEMPORARY TABLES")

    def spell_grant(self, right: str) -> str:
        """Return the statement that gives this user a right on its database."""
        database, user = fetch_one(self.connection, "SELECT DATABASE(), CURRENT_USER()")
        name, _, host = user.rpartition("@")
        quoted = self.connection.ops.quote_name(database)
        return f"GRANT {right} ON {quoted}.* TO '{name}'@'{host}'"

    def quote(self, exc: Error) -> str:
        return str(exc.args[-1])
