"""Rehearse an operation, and compare with what migrate does."""

from __future__ import annotations

from typing import Any

from safefield import BackfillError
from safefield.inspection.entries import find_changes, find_entries
from safefield.inspection.rehearsal import Stage
from safefield.inspection.rehearsed import Rehearsal
from tests.support.history import History
from tests.support.movies import MOVIE, STUDIO


class NoParents:
    """Stands for the migrations of a project, all of which are applied."""

    def find_unapplied_parents(self, migration: Any) -> list[str]:
        return []


def rehearse(history: History, *operations: Any, limit: int | None = None) -> Rehearsal:
    """Rehearse the last of some operations, none of which has run."""
    migration = history.make(*operations)
    changes = list(find_changes(migration, history.state.clone()))
    *_, entry = find_entries(migration, history.state.clone())
    parents: Any = NoParents()
    return Stage(history.connection, parents, entry, limit, changes[:-1]).rehearse()


def create(history: History, *titles: str) -> None:
    """Make the tables, with a movie of each title."""
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=title, year=1900 + n)
        for n, title in enumerate(titles)
    )


def dump(history: History) -> Any:
    """Return the catalogue and all rows of all tables."""
    dumped = {}
    with history.connection.cursor() as cursor:
        for table in sorted(history.connection.introspection.table_names(cursor)):
            name = history.connection.ops.quote_name(table)
            cursor.execute(f"SELECT * FROM {name} ORDER BY 1")
            dumped[table] = cursor.fetchall()
    return dumped, history.describe("Movie")


def without_ending(error: BackfillError | None) -> str | None:
    """Return a message but for its last line, which says what became of the rows."""
    return None if error is None else str(error).rpartition("\n")[0]


def check(history: History, operation: Any) -> Rehearsal:
    """Rehearse, migrate, and compare."""
    before = dump(history)

    rehearsal = rehearse(history, operation)

    assert dump(history) == before
    failure = None
    try:
        history.apply(operation)
    except BackfillError as exc:
        failure = exc
    if history.connection.vendor != "mysql" or "with this key" not in str(failure):
        # MariaDB has the constraint from the beginning, and says so row by row.
        assert without_ending(rehearsal.error) == without_ending(failure)
    if failure is not None and rehearsal.error is not None:
        assert rehearsal.error.rows == failure.rows
    else:
        column = operation.name
        field = history.model("Movie")._meta.get_field(column)
        values = dict(history.rows("Movie").values_list("pk", field.attname))
        assert dict(rehearsal.samples).items() <= values.items()
        for pk, _, new in rehearsal.renumbered_samples:
            assert values[pk] == new
    return rehearsal
