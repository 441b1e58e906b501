"""What an error of the database says was violated: one table for all of them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from django.db import DatabaseError, DataError, IntegrityError


class _Signs(NamedTuple):
    """
    How the databases tell a violation.

    Args:
        states (set[str]): SQLSTATEs of PostgreSQL. Source: its appendix A.
        numbers (set[int]): Error numbers of MySQL and MariaDB. Source:
            mysqld_error.h and mariadb.com/kb/en/mariadb-error-codes/.
        texts (tuple[str, ...]): What SQLite's messages begin with. Source:
            sqlite.org/rescode.html.
    """

    states: frozenset[str]
    numbers: frozenset[int]
    texts: tuple[str, ...]


class Violation(Enum):
    """A kind of violation; its value is how a message calls it."""

    NOT_NULL = "a value is missing (NOT NULL)"
    UNIQUE = "a value is there twice (UNIQUE)"
    FOREIGN_KEY = "a key points nowhere (FOREIGN KEY)"
    CHECK = "a value breaks a check constraint (CHECK)"
    TOO_LONG = "a value is too long for the column"
    TOO_LONG_FOR_INDEX = "a value is too long for an index"
    WRONG_TYPE = "a value is not of the column's type"


_TABLE = {
    Violation.NOT_NULL: _Signs(
        frozenset({"23502"}),
        frozenset({1048, 1138, 1263, 1364}),
        ("NOT NULL constraint failed",),
    ),
    Violation.UNIQUE: _Signs(
        frozenset({"23505"}), frozenset({1062, 1586}), ("UNIQUE constraint failed",)
    ),
    Violation.FOREIGN_KEY: _Signs(
        frozenset({"23503"}),
        frozenset({1216, 1217, 1451, 1452}),
        ("FOREIGN KEY constraint failed", "The row in table"),
    ),
    Violation.CHECK: _Signs(
        frozenset({"23514"}), frozenset({3819, 4025}), ("CHECK constraint failed",)
    ),
    Violation.TOO_LONG: _Signs(
        frozenset({"22001"}), frozenset({1406}), ("string or blob too big",)
    ),
    # On MySQL, an index that may be too long is refused with its definition.
    Violation.TOO_LONG_FOR_INDEX: _Signs(frozenset({"54000"}), frozenset(), ()),
    Violation.WRONG_TYPE: _Signs(
        frozenset({"22P02", "22003", "22007", "22008", "22021", "22P05", "42804"}),
        frozenset({1264, 1265, 1292, 1366, 1367, 1411, 1690}),
        ("datatype mismatch",),
    ),
}


def find_violation(exc: DatabaseError) -> Violation | None:
    """Return what `exc` says was violated; None if it is about something else."""
    cause = exc.__cause__
    # psycopg 3 has sqlstate, psycopg2 has pgcode.
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    first = exc.args[0] if exc.args else None
    for violation, signs in _TABLE.items():
        if state in signs.states or first in signs.numbers:
            return violation
        if isinstance(first, str) and first.startswith(signs.texts):
            return violation
    return None


def is_about_values(exc: DatabaseError) -> bool:
    """Return whether other values might not have raised `exc`."""
    return isinstance(exc, (DataError, IntegrityError)) or bool(find_violation(exc))
