"""The queries of a run: those of populate, and where they are not kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from safefield.progress import warn

#: Rows that a batch must have for its queries to say something.
FEWEST_ROWS = 10

#: How far relations are followed: row.author.country is two.
DEEPEST = 3


class QueryWatch:
    """Count the queries of populate, and warn once when there is one for each row."""

    def __init__(self, connection: BaseDatabaseWrapper, source: str) -> None:
        self.connection = connection
        #: How the warning names populate.
        self.source = source
        self.is_over = False

    @contextmanager
    def watch(self, rows: Sequence[Model]) -> Iterator[None]:
        """Count the queries of the block, in which `rows` go through populate."""
        if self.is_over or len(rows) < FEWEST_ROWS:
            yield
            return
        count = 0

        def count_query(execute: Any, *args: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*args)

        before = set(find_relations(rows[0]))
        with self.connection.execute_wrapper(count_query):
            yield
        names = [name for name in find_relations(rows[0]) if name not in before]
        if names and count >= len(rows):
            self.is_over = True
            warn(
                "%s makes a query for each row, for %s. Add select_related=%r to the "
                "operation, and one query will do for a whole batch.",
                self.source,
                " and ".join(f"row.{name.replace('__', '.')}" for name in names),
                names,
            )


class _Forgetful(deque[Any]):
    """Takes statements and keeps none. One of no length would have Django warn."""

    def append(self, statement: Any, /) -> None:
        """Forget it."""


@contextmanager
def not_kept(connection: Any) -> Iterator[None]:
    """
    Keep the statements of the block out of `connection.queries`.

    With DEBUG Django keeps the text of the last 9,000 statements there, and that of a
    batch has all its values. Who asked for them, as CaptureQueriesContext does, gets
    them.
    """
    if not settings.DEBUG or connection.force_debug_cursor:
        yield
        return
    before = connection.queries_log
    connection.queries_log = _Forgetful()
    try:
        yield
    finally:
        connection.queries_log = before


def find_relations(row: Model, depth: int = 1) -> Iterator[str]:
    """Yield the look-ups of the relations that were followed from `row`."""
    for name, related in row._state.fields_cache.items():
        if isinstance(related, Model):
            deeper = list(find_relations(related, depth + 1)) if depth < DEEPEST else []
            yield name
            yield from (f"{name}__{rest}" for rest in deeper)
