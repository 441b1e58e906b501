"""Runs that are stopped at each statement in turn, and what becomes of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from unittest.mock import patch

from django.db import DatabaseError, connections, models

from safefield.inspection.abandonment import find_remnants
from safefield.inspection.entries import find_entries
from tests.support.history import History
from tests.support.movies import slug_of


class Stopped(BaseException):
    """Stands for a signal, a lost connection or a power cut."""


#: Behind such a statement all is as it was before it.
READS = re.compile(r"\s*(SELECT|SHOW|EXPLAIN)\b", re.IGNORECASE)


@contextmanager
def stop_at(
    alias: str, number: int, *, after: bool, also_at_reads: bool = True
) -> Iterator[Callable[[], bool]]:
    """
    Stop before or after the statement with this number.

    Without `also_at_reads`, a statement that only reads is none to stop after, nor is
    the next one to stop before, unless there is a COMMIT between the two.

    Yields a function that says whether it came to that. The cursor is closed, as
    Django closes it after an Exception: in the traceback it would outlive the
    connection, and keep SQLite's lock until the garbage is collected.
    """
    counter = itertools.count(1)
    connection = connections[alias]
    original_commit = connection._commit
    stopped = was_read = was_committed = False

    def commit() -> None:
        nonlocal was_committed
        original_commit()
        was_committed = True

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal stopped, was_read, was_committed
        is_behind_read, was_read = was_read, bool(READS.match(sql))
        is_behind_commit, was_committed = was_committed, False
        only_reads = was_read if after else is_behind_read
        counts = also_at_reads or is_behind_commit or not only_reads
        if not counts or next(counter) != number:
            return execute(sql, params, many, context)
        stopped = True
        with closing(context["cursor"]):
            if after:
                # Also behind one that fails, as the question for a missing column does.
                with suppress(DatabaseError):
                    execute(sql, params, many, context)
            raise Stopped

    with (
        patch.object(connection, "_commit", commit),
        connection.execute_wrapper(wrapper),
    ):
        yield lambda: stopped


def run_with_stops(
    history: History,
    run: Callable[[], None],
    *,
    after: bool,
    also_at_reads: bool = True,
) -> int:
    """
    Run again and again, each time stopped one statement later, until it is done.

    Returns the number of stops.
    """
    for number in itertools.count(1):
        try:
            with stop_at(
                history.connection.alias,
                number,
                after=after,
                also_at_reads=also_at_reads,
            ) as stopped:
                run()
        except Stopped:
            # As after a crash: what was not committed is gone.
            history.connection.close()
            continue
        assert not stopped()
        return number - 1
    raise AssertionError("unreachable")


FIELDS = {
    "unique": models.SlugField(unique=True, max_length=80, db_comment="for URLs"),
    "index": models.CharField(max_length=80, db_index=True),
    "foreign key": models.ForeignKey("films.Studio", models.CASCADE),
    "one-to-one": models.OneToOneField("films.Movie", models.CASCADE),
    "positive": models.PositiveIntegerField(db_default=3),
    "nullable": models.SlugField(unique=True, max_length=80, null=True),
}

POPULATE: dict[str, Callable[[Any], Any]] = {
    "unique": slug_of,
    "index": slug_of,
    "foreign key": lambda movie: 1,
    "one-to-one": lambda movie: movie,
    "positive": lambda movie: movie.year,
    "nullable": slug_of,
}


def abandon(history: History, operation: Any) -> int:
    """Remove what the operation has left; return what it was, in pieces."""
    migration = history.make(operation)
    (entry,) = find_entries(migration, history.state.clone())
    remnants = list(find_remnants(entry, history.connection))
    for remnant in remnants:
        remnant.remove(history.connection)
    assert list(find_remnants(entry, history.connection)) == []
    return len(remnants)
