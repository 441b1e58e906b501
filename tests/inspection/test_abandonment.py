"""A run that was stopped at any statement can be abandoned."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.inspection.abandonment import Remnant, find_remnants
from safefield.inspection.entries import find_entries
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.movies import create_movies, slug_of, values
from tests.support.sessions import Session
from tests.support.stops import FIELDS, POPULATE, Stopped, abandon, stop_at

#: The case that is stopped at each statement, the others behind what writes.
IN_FULL = "unique"


def abandon_everywhere(
    history: History, operation: Any, case: str, *, after: bool
) -> int:
    """
    Stop the operation one statement later each time, and abandon it.

    Returns how often there was something to remove.
    """
    before = history.describe("Movie")
    count = 0
    for number in itertools.count(1):
        try:
            with stop_at(
                history.connection.alias,
                number,
                after=after,
                also_at_reads=case == IN_FULL,
            ):
                history.apply(operation)
        except Stopped:
            # As after a crash: what was not committed is gone.
            history.connection.close()
            count += abandon(history, operation)
            assert history.describe("Movie") == before
        else:
            return count
    raise AssertionError("unreachable")


def get_stops(cases: Iterable[str]) -> list[Any]:
    """
    Return each case, stopped before every statement, and one stopped after them.

    Behind a statement all is as before the next one, or, without the COMMIT that
    may be between them, as before the transaction: only the last one leaves more.
    """
    before = [
        pytest.param(
            case,
            False,
            id=f"{case}-before",
            marks=[]
            if case == IN_FULL
            else pytest.mark.thorough_on("mariadb", "mysql"),
        )
        for case in cases
    ]
    return [*before, pytest.param("unique", True, id="unique-after")]


@pytest.mark.parametrize(("case", "after"), get_stops(FIELDS))
def test_addition_stopped_everywhere(alias: str, case: str, after: bool) -> None:
    history = History(alias)
    create_movies(history, 30)
    history.rows("Studio").create(pk=1, name="One")
    rows = values(history, "id", "title", "year")
    operation = AddFieldWithBackfill("Movie", "extra", FIELDS[case], POPULATE[case])

    count = abandon_everywhere(history, operation, case, after=after)

    assert values(history, "id", "title", "year") == rows
    # On SQLite only what is stopped between the last commit and the record.
    assert count >= (0 if alias == "default" else 5)


ALTERED: dict[str, tuple[Any, Any]] = {
    "required": (models.CharField(max_length=80, db_comment="for URLs"), slug_of),
    "longer": (
        models.CharField(max_length=90, null=True, db_comment="for URLs"),
        slug_of,
    ),
    "unique": (models.CharField(max_length=80, unique=True), slug_of),
    "index": (models.CharField(max_length=80, db_index=True), slug_of),
    "foreign key": (models.ForeignKey("films.Studio", models.CASCADE), lambda _: 1),
    "foreign key to another table": (
        models.ForeignKey("films.Movie", models.CASCADE, related_name="+"),
        lambda _: 1,
    ),
    "default": (
        models.CharField(
            max_length=80, null=True, db_default="x", db_comment="for URLs"
        ),
        slug_of,
    ),
}


@pytest.mark.parametrize(("case", "after"), get_stops(ALTERED))
def test_alteration_stopped_everywhere(alias: str, case: str, after: bool) -> None:
    history = History(alias)
    create_movies(history, 30)
    history.rows("Studio").create(pk=1, name="One")
    field, populate = ALTERED[case]
    nullable = models.CharField(max_length=80, null=True, db_comment="for URLs")
    if field.is_relation:
        nullable = models.ForeignKey("films.Studio", models.CASCADE, null=True)
    history.apply(migrations.AddField("Movie", "extra", nullable))
    operation = AlterFieldWithBackfill("Movie", "extra", field, populate)

    count = abandon_everywhere(history, operation, case, after=after)

    assert count >= (0 if alias == "default" else 1)


def stop(history: History) -> tuple[Any, Any]:
    """Stop a backfill half-way; return it and what it has left."""
    create_movies(history, 3)
    operation = AddFieldWithBackfill(
        "Movie",
        "extra",
        models.CharField(max_length=80),
        lambda movie: 1 // (movie.pk - 2),
    )
    with pytest.raises(BackfillError):
        history.apply(operation)
    (entry,) = find_entries(history.make(operation), history.state.clone())
    (remnant,) = find_remnants(entry, history.connection)
    return entry, remnant


def test_filled_values_that_the_former_type_would_cut(alias: str) -> None:
    """Fails if the definition from before comes back without a look at the values."""
    history = History(alias)
    identifier = ("id", models.BigAutoField(primary_key=True))
    code = models.CharField(max_length=5, null=True)
    history.apply(migrations.CreateModel("Movie", [identifier, ("code", code)]))
    for pk in (1, 2):
        history.rows("Movie").create(pk=pk)

    def populate(movie: Any) -> str:
        if movie.pk == 1:
            return "far too long"
        raise ValueError("not yet")

    operation = AlterFieldWithBackfill("Movie", "code", models.TextField(), populate)
    with pytest.raises(BackfillError):
        history.apply(operation)
    if history.connection.vendor == "sqlite":
        # Nothing is left of it.
        assert abandon(history, operation) == 0
        return

    with pytest.raises(BackfillError) as caught:
        abandon(history, operation)

    assert [row.pk for row in caught.value.rows] == [1]
    assert values(history, "code") == ["far too long", None]
    history.rows("Movie").filter(pk=1).update(code="short")
    assert abandon(history, operation) == 1


def test_table_in_a_schema(postgresql_alias: str) -> None:
    """Fails if the column is looked for by a name that has the schema in it."""
    history = History(postgresql_alias)
    identifier = ("id", models.BigAutoField(primary_key=True))
    code = models.CharField(max_length=5, null=True, db_comment="a code")
    table = '"safefield_names"."movie"'
    operation = AlterFieldWithBackfill(
        "Movie", "code", models.CharField(max_length=5), lambda movie: str(movie.pk)
    )
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA safefield_names")
    try:
        history.apply(
            migrations.CreateModel(
                "Movie", [identifier, ("code", code)], options={"db_table": table}
            )
        )
        assert abandon(history, operation) == 0
        with history.connection.cursor() as cursor:
            cursor.execute(f"COMMENT ON COLUMN {table}.code IS NULL")

        assert abandon(history, operation) == 1
        assert abandon(history, operation) == 0
    finally:
        with history.connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA safefield_names CASCADE")


def test_view_that_needs_the_column(postgresql_alias: str) -> None:
    # Fails if nobody looks first: Django 5.2 drops the view with the column.
    history = History(postgresql_alias)
    _, remnant = stop(history)
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE VIEW extras AS SELECT extra FROM films_movie")

    with pytest.raises(BackfillError) as caught:
        remnant.remove(history.connection)

    assert str(caught.value) == (
        "films.Movie.extra cannot be removed: view extras needs the column. Drop it, "
        "then run migrate again. Nothing was changed."
    )
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM extras")
        assert cursor.fetchone() == (3,)


@on_servers
def test_beside_a_run(alias: str) -> None:
    # Fails without the claim: the column goes while another session fills it.
    history = History(alias)
    create_movies(history, 3)
    told = []

    def populate(movie: Any) -> str:
        with Session(history.connection) as session:
            # Once: what waits for the locks of this run does so for long.
            if not told and "extra" in history.describe("Movie")["columns"]:
                with pytest.raises(BackfillError) as caught:
                    Remnant(entry, "", "").remove(session.connection)
                told.append(str(caught.value))
        return "x"

    operation = AddFieldWithBackfill(
        "Movie", "extra", models.CharField(max_length=80), populate
    )
    (entry,) = find_entries(history.make(operation), history.state.clone())

    history.apply(operation)

    assert told[0].startswith("films.Movie.extra: another migrate is running on table ")
    assert values(history, "extra") == ["x", "x", "x"]


def test_beside_a_change_of_the_table(mysql_alias: str) -> None:
    """Fails if a column that comes between two looks at the catalogue is a KeyError."""
    history = History(mysql_alias)
    create_movies(history, 3)
    nullable = models.CharField(max_length=80, null=True, db_comment="for URLs")
    history.apply(migrations.AddField("Movie", "extra", nullable))
    operation = AlterFieldWithBackfill(
        "Movie", "extra", models.CharField(max_length=80), lambda movie: None
    )
    with pytest.raises(BackfillError):
        history.apply(operation)
    count = 0

    def change(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal count
        result = execute(sql, *args)
        if "information_schema" in sql.lower():
            count += 1
            with Session(history.connection) as other:
                other.execute(f"ALTER TABLE films_movie ADD COLUMN late{count} int")
        return result

    with history.connection.execute_wrapper(change):
        assert abandon(history, operation) == 1

    assert count > 1
