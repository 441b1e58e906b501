"""A run that was stopped at any statement is finished by running it again."""

from __future__ import annotations

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.movies import MOVIE, STUDIO, create_movies, slug_of, values
from tests.support.people import PERSON, join_names, split_name
from tests.support.servers import LABELS
from tests.support.stops import FIELDS, POPULATE, run_with_stops

pytestmark = [pytest.mark.newest, pytest.mark.edges]


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", FIELDS)
def test_forwards_and_backwards_stopped_everywhere(
    alias: str, case: str, after: bool
) -> None:
    expected, history = History(alias), History(alias)
    operation = AddFieldWithBackfill("Movie", "extra", FIELDS[case], POPULATE[case])
    create_movies(expected, 30)
    expected.rows("Studio").create(pk=1, name="One")
    before = expected.describe("Movie"), values(expected, "id", "title", "year")
    expected.apply(operation)
    after_all = expected.describe("Movie"), values(expected, "id", "extra")
    expected.unapply()
    history.states, history.migrations = expected.states, expected.migrations

    def forwards() -> None:
        if len(history.migrations) == 1:
            history.apply(operation)

    def backwards() -> None:
        if len(history.migrations) == 2:
            history.unapply()

    # One case is stopped at each statement, the others behind what writes.
    options = {"after": after, "also_at_reads": case == "unique"}
    stops = run_with_stops(history, forwards, **options)
    assert (history.describe("Movie"), values(history, "id", "extra")) == after_all
    assert stops > 5

    stops = run_with_stops(history, backwards, **options)
    assert (history.describe("Movie"), values(history, "id", "title", "year")) == before
    assert stops > 1


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_reverse_stopped_everywhere(alias: str, after: bool) -> None:
    history = History(alias)
    history.apply(PERSON)
    names = [("A", f"B{n}") for n in range(150)]
    history.rows("Person").bulk_create(
        history.model("Person")(first_name=first, last_name=last)
        for first, last in names
    )
    before = history.describe("Person")
    history.apply(
        AddFieldWithBackfill(
            "Person",
            "full_name",
            models.CharField(max_length=101, unique=True),
            join_names,
            split_name,
        )
    )
    history.rows("Person").update(first_name="-", last_name="-")

    def backwards() -> None:
        if len(history.migrations) == 2:
            history.unapply()

    stops = run_with_stops(history, backwards, after=after)

    assert list(history.rows("Person").values_list("first_name", "last_name")) == names
    assert history.describe("Person") == before
    assert stops > 5


def test_empty_table_stopped_everywhere(alias: str) -> None:
    expected, history = History(alias), History(alias)
    operation = AddFieldWithBackfill("Movie", "extra", FIELDS["unique"], slug_of)
    expected.apply(STUDIO, MOVIE)
    expected.apply(operation)
    after_all = expected.describe("Movie")
    expected.unapply()
    history.states, history.migrations = expected.states, expected.migrations

    def forwards() -> None:
        if len(history.migrations) == 1:
            history.apply(operation)

    run_with_stops(history, forwards, after=True)

    assert history.describe("Movie") == after_all


@pytest.mark.parametrize("count", [0, 5])
def test_other_column_of_that_name(alias: str, count: int) -> None:
    history = History(alias)
    create_movies(history, count)
    history.apply(migrations.AddField("Movie", "slug", models.IntegerField(null=True)))
    history.states.pop()
    history.migrations.pop()
    before = history.describe("Movie")
    found, expected = {
        "sqlite": ("integer", "varchar(80)"),
        "postgresql": ("integer", "character varying(80)"),
        "mariadb": ("int(11)", "varchar(80)"),
        "mysql": ("int", "varchar(80)"),
    }[LABELS[alias]]

    with pytest.raises(Exception) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "slug", models.SlugField(unique=True, max_length=80), slug_of
            )
        )

    assert str(caught.value) == (
        "films.Movie.slug cannot be added: table films_movie already has a column "
        f"slug of type {found}, and {expected} was expected. Rename or drop that "
        "column, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


def test_column_of_that_name_without_its_check(alias: str) -> None:
    """Fails if the type alone is looked at: Django's AddField would make both."""
    history = History(alias)
    create_movies(history, 3)
    field = models.PositiveSmallIntegerField()
    named = field.clone()
    named.set_attributes_from_name("votes")
    condition = named.db_check(history.connection)
    kind = named.db_type(history.connection)
    with history.connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE films_movie ADD COLUMN votes {kind}")
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "votes", field, lambda _: 7))

    assert str(caught.value) == (
        f"films.Movie.votes cannot be added: table films_movie already has a column "
        f"votes without CHECK ({condition}), which Django would make with it. Rename "
        f"or drop that column, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


def test_column_whose_name_differs_by_case(alias: str) -> None:
    """Fails if it is not found where the database takes both names for one."""
    history = History(alias)
    create_movies(history, 3)
    nullable = models.CharField(max_length=80, null=True, db_column="SLUG")
    history.apply(migrations.AddField("Movie", "slug", nullable))
    history.rows("Movie").filter(pk=2).update(slug="theirs")
    history.states.pop()
    history.migrations.pop()

    history.apply(
        AddFieldWithBackfill(
            "Movie", "slug", models.CharField(unique=True, max_length=80), slug_of
        )
    )

    columns = history.describe("Movie")["columns"]
    is_another = history.connection.vendor == "postgresql"
    assert values(history, "slug") == [
        "film-number-0",
        "film-number-1" if is_another else "theirs",
        "film-number-2",
    ]
    assert ("SLUG" in columns) == is_another
    assert not columns["slug"]["null"]
