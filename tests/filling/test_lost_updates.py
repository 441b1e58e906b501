"""Titles keep changing while the fill runs: each slug is of the right one of them."""

from __future__ import annotations

import itertools
import random
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

from tests.support.history import History
from tests.support.ledger import Ledger, add_slug, get_rows
from tests.support.movies import create_movies
from tests.support.sessions import Session, wait_until

ROWS = 1_000
WRITERS = 4

#: Changes that have to be made between two batches.
CHANGES = 20


#: Rows without a slug, in the end. On PostgreSQL a row that came just before the
#: check for NOT NULL cannot be updated either, until the sweep has come to it. On
#: SQLite a writer who never gets a turn is refused in the end.
MAY_BE_REFUSED = re.compile("INSERT|UPDATE: (.*_notnull|database is locked)")


def test_no_update_is_lost(alias: str) -> None:
    """
    A writer notes in the transaction of each change whether the row has a slug.

    Where it has none, the fill comes later and must see the change; where it has
    one, the fill was earlier and cannot have. So for each row there is exactly one
    title that its slug can be of.
    """
    history = History(alias)
    create_movies(history, ROWS)
    titles = {n + 1: f"Film Number {n}" for n in range(ROWS)}
    is_over = Event()

    def count() -> int:
        return sum(ledger.done for ledger in ledgers)

    def wait_for_changes(
        execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        # Nothing is locked before a batch locks its rows.
        if " UPDATE SKIP LOCKED" in sql or " UPDATE OF" in sql:
            before = count()
            wait_until(lambda: count() >= before + CHANGES)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        ledgers = [
            Ledger(
                stack.enter_context(Session(history.connection)),
                {pk: title for pk, title in titles.items() if pk % WRITERS == number},
            )
            for number in range(WRITERS)
        ]
        executor = stack.enter_context(ThreadPoolExecutor(WRITERS))
        futures = [
            executor.submit(write, ledger, number, is_over)
            for number, ledger in enumerate(ledgers)
        ]
        try:
            wait_until(lambda: count() >= CHANGES)
            with history.connection.execute_wrapper(wait_for_changes):
                history.apply(add_slug(batch_size=50))
        finally:
            is_over.set()
        for future in futures:
            future.result()

    expected = sorted(row for ledger in ledgers for row in ledger.get_expected())
    assert get_rows(history) == expected
    refused = [text for ledger in ledgers for text in ledger.refused]
    assert [text for text in refused if not MAY_BE_REFUSED.match(text)] == []
    changes = [
        (title, ledger.sources[pk], titles.get(pk))
        for ledger in ledgers
        for pk, title in ledger.titles.items()
    ]
    # Some were changed before they were filled, and on a server others after.
    assert any(source != first for _, source, first in changes)
    if history.connection.vendor != "sqlite":
        assert any(last != source for last, source, _ in changes)


def write(ledger: Ledger, number: int, is_over: Event) -> None:
    """Change titles and insert rows until it is over, some rows more often."""
    chance = random.Random(number)
    for step in itertools.count(1):
        # Writers who never pause would not let anybody else write to SQLite.
        if is_over.wait(0.02 if ledger.session.vendor == "sqlite" else 0):
            return
        pk = chance.choice([*ledger.titles][:: chance.choice([1, 7])])
        ledger.update(pk, f"Title {number} {step}")
        if step % 10 == 0:
            ledger.insert(10_000 * (number + 1) + step, f"Late {number} {step}")
