"""The main promise, on every database and in every kind of migration."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import migrations, models
from django.utils import timezone
from django.utils.text import slugify

from safefield import BackfillError, BadRow
from safefield.operations import AddFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
        ("year", models.IntegerField()),
    ],
)
STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=200, unique=True)),
    ],
)


def create_movies(history: History, count: int = 5) -> None:
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=f"Film Number {n}", year=1900 + n)
        for n in range(count)
    )


def values(history: History, *names: str) -> list[Any]:
    return list(history.rows("Movie").values_list(*names, flat=len(names) == 1))


def slug_of(movie: Any) -> str:
    return slugify(movie.title)


def studio_of(movie: Any, apps: Any) -> Any:
    """Create the studio of a movie on demand, one for every two films."""
    studios = apps.get_model("films", "Studio").objects.using(movie._state.db)
    return studios.get_or_create(name=f"Studio {movie.year // 2}")[0]


def add_slug(**options: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        "Movie",
        "slug",
        models.SlugField(unique=True, max_length=80),
        options.pop("populate", slug_of),
        **options,
    )


def test_fills_each_row_with_its_own_value(history: History) -> None:
    create_movies(history, 250)

    history.apply(add_slug())

    assert values(history, "slug") == [f"film-number-{n}" for n in range(250)]


#: Name, the field, populate, and what the five movies of 1900 to 1904 get.
FIELDS: dict[str, tuple[models.Field[Any, Any], Callable[..., Any] | None, Any]] = {
    "unique slug": (
        models.SlugField(unique=True),
        slug_of,
        [f"film-number-{n}" for n in range(5)],
    ),
    "indexed char": (
        models.CharField(max_length=30, db_index=True),
        lambda movie: movie.title.upper(),
        [f"FILM NUMBER {n}" for n in range(5)],
    ),
    "text with a Python default": (
        models.TextField(default="none", blank=True),
        lambda movie: "" if movie.year == 1900 else movie.title,
        ["", *(f"Film Number {n}" for n in range(1, 5))],
    ),
    "char with a comment": (
        models.CharField(max_length=30, db_comment="It's the title"),
        lambda movie: movie.title,
        [f"Film Number {n}" for n in range(5)],
    ),
    "boolean with a default": (
        models.BooleanField(default=True),
        None,
        [True] * 5,
    ),
    "positive integer": (
        models.PositiveIntegerField(),
        lambda movie: movie.year - 1900,
        [0, 1, 2, 3, 4],
    ),
    "integer with a database default": (
        models.IntegerField(db_default=7),
        lambda movie: movie.year,
        [1900, 1901, 1902, 1903, 1904],
    ),
    "decimal": (
        models.DecimalField(max_digits=8, decimal_places=3),
        lambda movie: decimal.Decimal(movie.year) / 8,
        [decimal.Decimal(1900 + n) / 8 for n in range(5)],
    ),
    "JSON": (
        models.JSONField(),
        lambda movie: {"title": movie.title, "tags": [movie.year, None]},
        [{"title": f"Film Number {n}", "tags": [1900 + n, None]} for n in range(5)],
    ),
    "date": (
        models.DateField(),
        lambda movie: dt.date(movie.year, 2, 1),
        [dt.date(1900 + n, 2, 1) for n in range(5)],
    ),
    "aware datetime": (
        models.DateTimeField(),
        lambda movie: dt.datetime(movie.year, 2, 1, 12, 30, tzinfo=dt.timezone.utc),
        [dt.datetime(1900 + n, 2, 1, 12, 30, tzinfo=dt.timezone.utc) for n in range(5)],
    ),
    "foreign key by instance, created on demand": (
        models.ForeignKey("films.Studio", models.CASCADE),
        studio_of,
        None,
    ),
    "nullable foreign key": (
        models.ForeignKey("films.Studio", models.CASCADE, null=True, db_index=False),
        studio_of,
        None,
    ),
    "nullable indexed char": (
        models.CharField(max_length=30, db_index=True, null=True),
        lambda movie: movie.title.upper(),
        [f"FILM NUMBER {n}" for n in range(5)],
    ),
    "one-to-one by key": (
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie, apps: (
            apps.get_model("films", "Studio")
            .objects.using(movie._state.db)
            .create(name=f"Only {movie.pk}")
            .pk
        ),
        None,
    ),
    "foreign key without a constraint": (
        models.ForeignKey("films.Studio", models.DO_NOTHING, db_constraint=False),
        lambda movie: movie.year,
        None,
    ),
    "self-referential foreign key": (
        models.ForeignKey("self", models.CASCADE, db_column="sequel_of"),
        lambda movie: movie,
        None,
    ),
}


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
        f"{__file__}, line {line}, is not written yet. Make it return the value of "
        "one existing row, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


PERSON = migrations.CreateModel(
    "Person",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("first_name", models.CharField(max_length=50)),
        ("last_name", models.CharField(max_length=50)),
    ],
)


def join_names(person: Any) -> str:
    return f"{person.first_name} {person.last_name}"


def split_name(person: Any) -> dict[str, str]:
    first_name, last_name = person.full_name.rsplit(" ", 1)
    return {"first_name": first_name, "last_name": last_name}


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
            "select_related=('studio',) and prefetch_related=(): Invalid field name(s) "
            "given in select_related: 'studio'. Choices are: (none)",
        ),
        (
            {"prefetch_related": ["studio"]},
            "select_related=() and prefetch_related=('studio',): Cannot find 'studio' "
            "on Movie object, 'studio' is an invalid parameter to prefetch_related()",
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
        f"films.Movie.slug: the rows cannot be read with {reason} Fix these arguments "
        f"and run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before
