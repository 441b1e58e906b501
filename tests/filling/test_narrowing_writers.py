"""A value that comes between the comparison and the new type is compared as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.sessions import Session

ID = ("id", models.BigAutoField(primary_key=True))

MESSAGE = (
    "films.Movie.code cannot be altered: in its new type, varchar(5), values would not "
    "be the same:\n"
    "  1 row: the value would be another (pk 2: 'far too long' would "
    "become 'far t')\n"
    "Nothing was changed. Change these values or the type of the field, then run "
    "migrate again."
)


def create(history: History, field: models.Field[Any, Any]) -> None:
    history.apply(migrations.CreateModel("Movie", [ID, ("code", field)]), atomic=False)
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=number, code=code)
        for number, code in [(1, "abc"), (2, "def"), (3, None)]
    )


def read(history: History) -> list[Any]:
    return list(history.rows("Movie").values_list("code", flat=True))


def before_each(
    beginnings: tuple[str, ...], *steps: Callable[[], object]
) -> Callable[..., Any]:
    """Return a wrapper that calls the next step before each such statement."""
    waiting = list(steps)

    def call(execute: Any, sql: str, *args: Any) -> Any:
        if str(sql).startswith(beginnings) and waiting:
            waiting.pop(0)()
        return execute(sql, *args)

    return call


#: What takes the lock on the table: whichever comes first.
LOCKS = ("LOCK TABLE", "ALTER TABLE")
WRITE = "UPDATE films_movie SET code = 'far too long' WHERE id = 2"


def narrow(history: History) -> None:
    field = models.CharField(max_length=5)
    history.apply(AlterFieldWithBackfill("Movie", "code", field, lambda movie: "new"))


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_row_written_behind_the_comparison(alias: str) -> None:
    """Fails if nothing is compared under the lock."""
    history = History(alias)
    create(history, models.TextField(null=True))
    before = history.describe("Movie")

    with Session(history.connection) as other:
        wrapper = before_each(LOCKS, lambda: other.execute(WRITE))
        with (
            history.connection.execute_wrapper(wrapper),
            pytest.raises(BackfillError) as caught,
        ):
            narrow(history)

    assert str(caught.value) == MESSAGE
    assert [row.pk for row in caught.value.rows] == [2]
    assert (history.describe("Movie"), read(history)) == (
        before,
        ["abc", "far too long", None],
    )


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_row_of_a_transaction_that_is_older(alias: str) -> None:
    """Fails if only transactions are looked at that began behind the comparison."""
    history = History(alias)
    create(history, models.TextField(null=True))

    with Session(history.connection) as other:
        other.execute("BEGIN")
        other.execute(WRITE)
        # The first time it has to wait, in vain.
        wrapper = before_each(
            ("LOCK TABLE",), lambda: None, lambda: other.execute("COMMIT")
        )
        with (
            history.connection.execute_wrapper(wrapper),
            pytest.raises(BackfillError) as caught,
        ):
            narrow(history)

    assert str(caught.value) == MESSAGE
    assert read(history) == ["abc", "far too long", None]


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_row_that_the_new_type_holds(alias: str) -> None:
    """Fails if what was written meanwhile is refused, or lost."""
    history = History(alias)
    create(history, models.TextField(null=True))
    statement = "UPDATE films_movie SET code = 'short' WHERE id = 2"

    with Session(history.connection) as other:
        wrapper = before_each(LOCKS, lambda: other.execute(statement))
        with history.connection.execute_wrapper(wrapper):
            narrow(history)

    assert read(history) == ["abc", "short", "new"]


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_row_written_on_the_way_back(alias: str) -> None:
    """Fails if only the way forwards compares under the lock."""
    history = History(alias)
    create(history, models.CharField(max_length=5, null=True))
    field = models.TextField()
    history.apply(AlterFieldWithBackfill("Movie", "code", field, lambda movie: "new"))

    with Session(history.connection) as other:
        wrapper = before_each(LOCKS, lambda: other.execute(WRITE))
        with (
            history.connection.execute_wrapper(wrapper),
            pytest.raises(BackfillError) as caught,
        ):
            history.unapply()

    assert str(caught.value) == MESSAGE
    assert read(history) == ["abc", "far too long", "new"]


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_atomic_migration_keeps_writers_away(alias: str) -> None:
    """Fails if the lock comes with the ALTER TABLE, behind the comparison."""
    history = History(alias, atomic=True)
    create(history, models.TextField(null=True))
    with Session(history.connection) as other:
        other.execute("SET lock_timeout = 1")
        refused: list[Exception] = []

        def write() -> None:
            with pytest.raises(Exception, match="lock timeout") as caught:
                other.execute(WRITE)
            refused.append(caught.value)

        wrapper = before_each(("ALTER TABLE",), write)
        with history.connection.execute_wrapper(wrapper):
            narrow(history)

    assert len(refused) == 1
    assert read(history) == ["abc", "def", "new"]
