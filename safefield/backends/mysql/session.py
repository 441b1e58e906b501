"""MySQL and MariaDB: the session of a run, in which no value is changed silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from safefield.backends.base.session import Session
from safefield.backends.base.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    putting_away,
)

#: Modes in which a server refuses what does not fit, and does not change it.
STRICT_MODES = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}


class MySQLSession(Session):
    """The session of a run on MySQL and MariaDB."""

    #: Those that one of the servers has. Sources:
    #: https://mariadb.com/kb/en/server-system-variables/ and
    #: https://dev.mysql.com/doc/refman/9.7/en/server-system-variables.html
    limits = (
        "max_statement_time",
        "max_execution_time",
        "idle_transaction_timeout",
        "idle_readonly_transaction_timeout",
        "idle_write_transaction_timeout",
        "wait_timeout",
    )

    #: The default, in seconds that a session may be idle.
    unlimited = {"wait_timeout": "28800"}

    def identify(self) -> tuple[Any, ...]:
        # PyMySQL connects again within its own connection when it is pinged.
        raw = self.connection.connection
        return raw, raw and raw.thread_id()

    def answers(self) -> bool:
        # Not the ping of is_usable(), for the same reason. After Ctrl-C mysqlclient may
        # be "out of sync", and takes no statement.
        try:
            fetch_all(self.connection.connection, "SELECT 1")
        except self.connection.Database.Error:
            return False
        return True

    def read_limits(self, names: Sequence[str]) -> Mapping[str, str]:
        rows = fetch_all(
            self.connection,
            "SHOW SESSION VARIABLES WHERE Variable_name IN %s",
            [tuple(names)],
        )
        return {
            name: value
            for name, value in rows
            if 0 < float(value) < float(self.unlimited.get(name, "inf"))
        }

    def write_settings(self, settings: Mapping[str, str]) -> None:
        if settings:
            # As the server writes them: a number of whole seconds takes no fraction.
            assignments = [
                f"SESSION {name} = {value}" for name, value in settings.items()
            ]
            execute(self.connection, f"SET {', '.join(assignments)}")


@contextmanager
def setting(connection: Any, **values: object) -> Iterator[None]:
    """Set variables of the session, and give them back what they had before."""
    names = ", ".join(f"@@SESSION.{name}" for name in values)
    row = fetch_one(connection, f"SELECT {names}")
    before = dict(zip(values, row, strict=True))
    set_variables(connection, values)
    with putting_away(lambda: set_variables(connection, before)):
        yield


def set_variables(connection: Any, values: Mapping[str, object]) -> None:
    """Set variables of the session."""
    assignments = ", ".join(f"SESSION {name} = %s" for name in values)
    execute(connection, f"SET {assignments}", list(values.values()))


@contextmanager
def strict_mode(connection: Any) -> Iterator[None]:
    """Let the server refuse a value that it would change, such as NULL to ''."""
    sql_mode = str(fetch_value(connection, "SELECT @@SESSION.sql_mode"))
    modes = [mode for mode in sql_mode.split(",") if mode]
    if STRICT_MODES & set(modes):
        yield
        return
    with setting(connection, sql_mode=",".join([*modes, "STRICT_TRANS_TABLES"])):
        yield


def without_foreign_key_checks(connection: Any) -> AbstractContextManager[None]:
    """Let a foreign key come without a look at the rows, which takes a copy of them."""
    return setting(connection, foreign_key_checks=0)
