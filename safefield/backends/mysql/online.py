"""MySQL and MariaDB: alter a table beside its writers, or say that they wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError

from safefield.plan import Plan
from safefield.progress import note

#: Error numbers: "… is not supported for this operation", and the same with a reason.
#: Source: mysqld_error.h, ER_ALTER_OPERATION_NOT_SUPPORTED and …_REASON.
NOT_ONLINE = {1845, 1846}

#: What asks for it, by how a statement begins. The algorithm is left to the server:
#: it takes the one that does least. MariaDB has no LOCK for DROP INDEX.
CLAUSES = (
    (re.compile(r"ALTER TABLE `(.+?)` "), ", LOCK=NONE"),
    (re.compile(r"CREATE (?:UNIQUE |SPATIAL )?INDEX .+? ON `(.+?)` "), " LOCK=NONE"),
)

REASON = re.compile(r"Reason: (.+?)\. Try ")


@contextmanager
def beside_writers(editor: Any, plan: Plan) -> Iterator[None]:
    """
    Let others write while statements of `editor` alter their table.

    Where the server cannot do that, the statement runs all the same, and whoever
    watches is told that writers wait for it, once for each table.
    """
    told: set[str] = set()
    outer = editor.__dict__.get("execute")
    execute = editor.execute

    def execute_online(sql: Any, params: Any = ()) -> None:
        for pattern, clause in CLAUSES:
            if found := pattern.match(str(sql)):
                try:
                    execute(f"{sql}{clause}", params)
                except DatabaseError as exc:
                    if exc.args[0] not in NOT_ONLINE:
                        raise
                    if found[1] not in told:
                        told.add(found[1])
                        _tell(plan, found[1], exc)
                else:
                    return
        execute(sql, params)

    editor.execute = execute_online
    try:
        yield
    finally:
        if outer is None:
            del editor.execute
        else:
            editor.execute = outer


def _tell(plan: Plan, table: str, exc: DatabaseError) -> None:
    """Say that nobody can write to a table for a while, and why."""
    reason = REASON.search(str(exc.args[1]))
    note(
        "%s: nobody can write to table %s until the server has altered it%s.",
        plan.title,
        table,
        f" ({reason[1]})" if reason else "",
    )
