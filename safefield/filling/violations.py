"""What an error of the database says was violated: one table for all of them."""

from __future__ import annotations

from enum import Enum

from django.db import DatabaseError, DataError, IntegrityError


class Violation(Enum):
    """A kind of violation; its value is how a message calls it."""

    NOT_NULL = "a value is missing (NOT NULL)"
    UNIQUE = "a value is there twice (UNIQUE)"
    FOREIGN_KEY = "a key points nowhere (FOREIGN KEY)"
    CHECK = "a value breaks a check constraint (CHECK)"
    TOO_LONG = "a value is too long for the column"
    TOO_LONG_FOR_INDEX = "a value is too long for an index"
    WRONG_TYPE = "a value is not of the column's type"


#: How the databases tell them: the SQLSTATE of PostgreSQL (source: its appendix A), the
#: number of MySQL and MariaDB (source: mysqld_error.h and
#: mariadb.com/kb/en/mariadb-error-codes/), what the text of SQLite begins with (source:
#: sqlite.org/rescode.html).
SIGNS: dict[Violation, tuple[str | int, ...]] = {
    Violation.NOT_NULL: ("23502", 1048, 1138, 1263, 1364, "NOT NULL constraint failed"),
    Violation.UNIQUE: ("23505", 1062, 1586, "UNIQUE constraint failed"),
    Violation.FOREIGN_KEY: (
        *("23503", 1216, 1217, 1451, 1452),
        *("FOREIGN KEY constraint failed", "The row in table"),
    ),
    Violation.CHECK: ("23514", 3819, 4025, "CHECK constraint failed"),
    Violation.TOO_LONG: ("22001", 1406, "string or blob too big"),
    # On MySQL, an index that may be too long is refused with its definition.
    Violation.TOO_LONG_FOR_INDEX: ("54000",),
    Violation.WRONG_TYPE: (
        *("22P02", "22003", "22007", "22008", "22021", "22P05", "42804"),
        *(1264, 1265, 1292, 1366, 1367, 1411, 1690, "datatype mismatch"),
    ),
}


def find_violation(exc: DatabaseError) -> Violation | None:
    """Return what `exc` says was violated; None if it is about something else."""
    cause = exc.__cause__
    # psycopg 3 has sqlstate, psycopg2 has pgcode.
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    first = exc.args[0] if exc.args else None
    for violation, signs in SIGNS.items():
        if state in signs or first in signs:
            return violation
        if any(isinstance(sign, str) and str(first).startswith(sign) for sign in signs):
            return violation
    return None


def is_about_values(exc: DatabaseError) -> bool:
    """Return whether other values might not have raised `exc`."""
    return isinstance(exc, (DataError, IntegrityError)) or bool(find_violation(exc))
