"""Code that knows nothing of the column, and inserts in the worst moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.history import History
from tests.support.sessions import Session


class OldCode:
    """
    Inserts a row that has no slug just before the table is rebuilt.

    Args:
        history: The history of its database.
        times: How often.
        after_trigger: What happens once the trigger is there; None for nothing.
        before_trigger: What happens in place of CREATE TRIGGER; None for nothing.
    """

    def __init__(
        self,
        history: History,
        times: int,
        *,
        before_trigger: Callable[[], None] | None = None,
        after_trigger: Callable[[], None] | None = None,
    ) -> None:
        self.history = history
        self.times = times
        self.before_trigger = before_trigger
        self.after_trigger = after_trigger
        self.inserted = 0

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if "MODIFY `slug`" in sql and "NOT NULL" in sql and self.inserted < self.times:
            self.inserted += 1
            with Session(self.history.connection) as other:
                other.execute(
                    "INSERT INTO films_movie (id, title, year) VALUES (%s, 'Late', 1)",
                    [9 + self.inserted],
                )
        if sql.startswith("CREATE TRIGGER") and self.before_trigger:
            self.before_trigger()
        result = execute(sql, params, many, context)
        if sql.startswith("CREATE TRIGGER") and self.after_trigger:
            self.after_trigger()
        return result


class Insertion:
    """Inserts a row with a low key from another session, at one statement."""

    def __init__(self, history: History, at: Callable[[str], bool]) -> None:
        self.history = history
        self.at = at
        self.is_done = False

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not self.is_done and self.at(sql):
            self.is_done = True
            with Session(self.history.connection) as other:
                other.execute("INSERT INTO films_movie (id, title) VALUES (5, 'Late')")
        return execute(sql, params, many, context)
