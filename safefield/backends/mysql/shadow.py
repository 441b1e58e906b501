"""MySQL and MariaDB: a temporary table, which no rollback removes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from safefield.backends.base.schema import Schema
from safefield.backends.base.shadow import Layout, Shadow
from safefield.backends.base.sql import fetch_one, fetch_values, putting_away
from safefield.backends.mysql.conversion import spell_options
from safefield.backends.mysql.rights import MySQLRights

#: Statements after which nothing can be rolled back. Source:
#: https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html
COMMITTING = re.compile(
    r"\s*(ALTER|ANALYZE|CACHE|CHECK|CREATE(?!\s+(OR\s+REPLACE\s+)?TEMPORARY)|"
    r"DROP(?!\s+TEMPORARY)|FLUSH|GRANT|INSTALL|LOCK|OPTIMIZE|RENAME|REPAIR|REVOKE|"
    r"TRUNCATE|UNINSTALL|UNLOCK)\b",
    re.IGNORECASE,
)

#: The lines of SHOW CREATE TABLE that say what values have to be like.
RULE = re.compile(
    r"^  (?:CONSTRAINT `(?:[^`]|``)*` )?(UNIQUE KEY .*?|CHECK .*?),?$", re.MULTILINE
)

GENERATED = re.compile(
    r"^  (`((?:[^`]|``)*)` .*? GENERATED ALWAYS AS .*?),?$", re.MULTILINE
)


class MySQLShadow(Shadow):
    """The temporary table on MySQL and MariaDB."""

    rights_class = MySQLRights

    slowdown = 1.9

    def __init__(self, connection: Any, layout: Layout) -> None:
        super().__init__(connection, layout)
        #: Tables with the final definitions, and how many of them have got rows.
        self._finals: list[str] = []
        self._enforced = 0

    @contextmanager
    def open(
        self, *, limit: int | None, may_write: bool, prepare: Callable[[], None]
    ) -> Iterator[None]:
        with putting_away(self._drop):
            # Before the transaction, which ALTER TABLE would end.
            self._create(limit)
            prepare()
            if not may_write:
                # Of the next transaction, which may write to temporary tables.
                self._execute("SET TRANSACTION READ ONLY")
            with transaction.atomic(using=self.connection.alias):
                yield
                transaction.set_rollback(True, using=self.connection.alias)

    def _drop(self) -> None:
        names = ", ".join([self._table, *self._finals])
        self._execute(f"DROP TEMPORARY TABLE IF EXISTS {names}")

    @staticmethod
    def ends_transaction(sql: str) -> bool:
        return COMMITTING.match(sql) is not None

    def change_type(self, schema: Schema) -> None:
        schema.change_type()

    def try_definition(self, schema: Any) -> None:
        # As long as it has no rows, for ALTER TABLE ends the transaction.
        name = self._quote(f"{self.layout.name}_{len(self._finals)}")
        self._finals.append(name)
        self._execute(f"CREATE TEMPORARY TABLE {name} LIKE {self._table}")
        changes = ", ".join(schema.spelling.add_all())
        self._execute(f"ALTER TABLE {name} {changes}")

    def enforce(self, schema: Schema) -> None:
        name = self._finals[self._enforced]
        self._enforced += 1
        columns = self._list(dict.fromkeys([*self.columns, schema.plan.field.column]))
        self._execute(
            f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {self._table}"
        )

    def find_triggers(self) -> list[str]:
        return fetch_values(
            self.connection,
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "
            "WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = %s "
            "AND EVENT_MANIPULATION = 'UPDATE' ORDER BY 1",
            [self.layout.table],
        )

    def _make(self) -> list[str]:
        live = self._live_columns()
        kept = self._needed() | {field.column for field in self.layout.copied}
        copied = [name for name in live if name in kept]
        generated = self._generated()
        copied = [name for name in copied if name not in generated]
        keys = self._list(key.column for key in self.keys)
        parts = [*generated.values(), f"PRIMARY KEY ({keys})", *self._rules()]
        # With the real types and character sets.
        self._execute(
            f"CREATE TEMPORARY TABLE {self._table} ({', '.join(parts)})"
            f"{spell_options(self.connection, self.layout.table)} "
            f"AS SELECT {self._list(copied)} "
            f"FROM {self._quote(self.layout.table)} LIMIT 0"
        )
        return copied

    def _find_rules(self) -> list[str]:
        return RULE.findall(self._show())

    def _find_generated(self) -> dict[str, str]:
        return {
            name.replace("``", "`"): text
            for text, name in GENERATED.findall(self._show())
        }

    def _show(self) -> str:
        """Return the server's text of the real table: a line for each thing."""
        table = self._quote(self.layout.table)
        return str(fetch_one(self.connection, f"SHOW CREATE TABLE {table}")[1])
