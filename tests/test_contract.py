"""The main promise, on every database and in every kind of migration."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F
from django.utils import timezone

from safefield import BackfillError, BadRow
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.fields import FIELDS
from tests.support.history import History
from tests.support.movies import (
    MOVIE,
    STUDIO,
    add_slug,
    create_movies,
    slug_of,
    values,
)
from tests.support.people import PERSON, join_names, split_name

pytestmark = [pytest.mark.core, pytest.mark.beside, pytest.mark.edges]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def test_fills_each_row_with_its_own_value(history: History) -> None:
    create_movies(history, 250)

    history.apply(add_slug())

    assert values(history, "slug") == [f"film-number-{n}" for n in range(250)]


@pytest.mark.parametrize("case", FIELDS)
def test_ends_as_django_would_have_made_it(history: History, case: str) -> None:
    field, populate, expected = FIELDS[case]
    twin = migrations.CreateModel(
        "Twin", [*MOVIE.fields, ("extra", field.clone())], options={}
    )
    create_movies(history)
    before = history.describe("Movie"), values(history, "id", "title", "year")

    history.apply(AddFieldWithBackfill("Movie", "extra", field, populate))
    history.apply(twin)

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )
    found = values(history, "extra")
    assert None not in found
    if expected is not None:
        assert found == expected
    assert values(history, "id", "title", "year") == before[1]

    history.unapply()
    history.unapply()

    assert (history.describe("Movie"), values(history, "id", "title", "year")) == before


def test_there_and_back_and_there_again(history: History) -> None:
    create_movies(history, 300)
    before = history.describe("Movie"), values(history, "id", "title", "year")

    history.apply(add_slug())
    after = history.describe("Movie"), values(history, "slug")
    history.unapply()
    back = history.describe("Movie"), values(history, "id", "title", "year")
    history.apply(add_slug())

    assert back == before
    assert (history.describe("Movie"), values(history, "slug")) == after


def test_default_is_called_once_per_row(history: History) -> None:
    create_movies(history, 300)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "key", models.UUIDField(default=uuid.uuid4, unique=True)
        )
    )

    assert len(set(values(history, "key"))) == 300


def test_auto_now_add(history: History) -> None:
    create_movies(history)
    now = timezone.now()

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "created",
            models.DateTimeField(auto_now_add=True),
            lambda movie: now,
        )
    )

    assert values(history, "created") == [now] * 5


def test_empty_table(history: History) -> None:
    history.apply(STUDIO, MOVIE)
    before = history.describe("Movie")

    history.apply(add_slug())
    history.apply(
        migrations.CreateModel(
            "Twin",
            [*MOVIE.fields, ("slug", models.SlugField(unique=True, max_length=80))],
        )
    )

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )
    history.unapply()
    history.unapply()
    assert history.describe("Movie") == before


def test_row_has_the_columns_of_that_point_in_history(history: History) -> None:
    create_movies(history)
    seen = set()

    def populate(movie: Any) -> str:
        seen.add(tuple(field.name for field in movie._meta.concrete_fields))
        return slug_of(movie)

    history.apply(add_slug(populate=populate))

    assert seen == {("id", "title", "year")}


def fail_on_last(movie: Any) -> str:
    if movie.year == 2199:
        raise LookupError("no such film")
    return slug_of(movie)


def test_bad_last_row_then_fixed(history: History) -> None:
    create_movies(history, 300)
    before = history.describe("Movie"), values(history, "id", "title", "year")
    last = history.rows("Movie").last()
    rolls_back = history.connection.vendor == "sqlite" or (
        history.connection.features.can_rollback_ddl and history.atomic
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=fail_on_last))

    assert (caught.value.model, caught.value.field) == ("films.Movie", "slug")
    assert [row.pk for row in caught.value.rows] == [last.pk]
    assert isinstance(caught.value.rows[0], BadRow)
    if rolls_back:
        assert history.describe("Movie") == before[0]
    else:
        assert history.describe("Movie")["columns"]["slug"]["null"] is True
        # Code that knows nothing of the column goes on as before.
        history.rows("Movie").create(title="Written Meanwhile", year=1800)
    assert values(history, "id", "title", "year")[:300] == before[1]

    history.apply(add_slug())

    slugs = values(history, "slug")
    assert slugs[:300] == [f"film-number-{n}" for n in range(300)]
    assert slugs[300:] == ([] if rolls_back else ["written-meanwhile"])


def test_populate_that_never_works_changes_nothing(history: History) -> None:
    def populate(movie: Any) -> str:
        return movie.no_such_field  # type: ignore[no-any-return]  # the point

    create_movies(history)
    before = history.describe("Movie")

    with pytest.raises(BackfillError, match="Nothing was changed."):
        history.apply(add_slug(populate=populate))

    assert history.describe("Movie") == before


def populate_movie_slug(movie: Any) -> str:
    """Return the slug of one existing movie."""
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")


@pytest.mark.parametrize("count", [0, 5])
def test_unwritten_populate_changes_nothing(history: History, count: int) -> None:
    create_movies(history, count)
    before = history.describe("Movie")
    line = populate_movie_slug.__code__.co_firstlineno

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate_movie_slug))

    assert str(caught.value) == (
        "films.Movie.slug cannot be backfilled: populate_movie_slug() in "
        f"{__file__}:{line} is not written yet. Make it return the value of "
        "one existing row, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


def test_reverse_writes_values_back(history: History) -> None:
    history.apply(PERSON)
    people = [
        ("Mary Ann", "Evans"),
        ("Émile", "Zola"),
        *[("A", f"B{n}") for n in range(300)],
    ]
    history.rows("Person").bulk_create(
        history.model("Person")(first_name=first, last_name=last)
        for first, last in people
    )
    before = history.describe("Person")

    history.apply(
        AddFieldWithBackfill(
            "Person",
            "full_name",
            models.CharField(max_length=101),
            join_names,
            split_name,
        )
    )
    history.rows("Person").update(first_name="-", last_name="-")
    history.rows("Person").filter(pk=1).update(full_name="George Eliot")
    history.unapply()

    assert list(history.rows("Person").values_list("first_name", "last_name")) == [
        ("George", "Eliot"),
        *people[1:],
    ]
    assert history.describe("Person") == before


def test_bad_reverse_then_fixed(history: History) -> None:
    def never(person: Any) -> dict[str, str]:
        if person.full_name == "A B299":
            raise LookupError("nobody")
        return split_name(person)

    history.apply(PERSON)
    history.rows("Person").bulk_create(
        history.model("Person")(first_name="A", last_name=f"B{n}") for n in range(300)
    )
    before = history.describe("Person")
    operation = AddFieldWithBackfill(
        "Person", "full_name", models.CharField(max_length=101), join_names, never
    )
    history.apply(operation)
    history.rows("Person").update(first_name="-", last_name="-")

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert [row.pk for row in caught.value.rows] == [
        history.rows("Person").values_list("pk", flat=True).last()
    ]

    operation.reverse = split_name
    history.unapply()

    assert list(history.rows("Person").values_list("first_name", "last_name")) == [
        ("A", f"B{n}") for n in range(300)
    ]
    assert history.describe("Person") == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"select_related": ["studio"]},
            "select_related=('studio',): Invalid field name(s) given in "
            "select_related: 'studio'. Choices are: (none).",
        ),
        (
            {"prefetch_related": ["studio"]},
            "prefetch_related=('studio',): Cannot find 'studio' on Movie object, "
            "'studio' is an invalid parameter to prefetch_related().",
        ),
    ],
)
def test_unknown_relations_change_nothing(
    history: History, options: dict[str, Any], reason: str
) -> None:
    create_movies(history)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(**options))

    assert str(caught.value) == (
        f"films.Movie.slug: the rows cannot be read with {reason} Fix these "
        f"arguments, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"populate": slug_of, "select_related": ["studio"]},
            "the rows cannot be read with select_related=('studio',): Invalid field "
            "name(s) given in select_related: 'studio'. Choices are: (none). Fix "
            "these arguments, then run migrate again. Nothing was changed.",
        ),
        (
            {"populate": F("studio")},
            "F(studio) cannot be computed: Cannot resolve keyword 'studio' into field. "
            "Choices are: code, id, title, year. Fix the expression, then run "
            "migrate again. Nothing was changed.",
        ),
    ],
    ids=["function", "expression"],
)
def test_unknown_names_of_a_column_that_is_there(
    history: History, options: dict[str, Any], reason: str
) -> None:
    """Fails if they are looked at only before a new column is added."""
    create_movies(history)
    history.apply(
        migrations.AddField("Movie", "code", models.CharField(max_length=80, null=True))
    )
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "code", models.CharField(max_length=80), **options
            )
        )

    assert str(caught.value) == f"films.Movie.code: {reason}"
    assert history.describe("Movie") == before
