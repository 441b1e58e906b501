"""Rows that collide in a unique column."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import migrations, models
from django.utils.text import slugify

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.catalogue import without_names
from tests.history import History
from tests.test_films import MOVIE as FILM
from tests.test_films import load_films


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
        ("year", models.IntegerField(default=1900)),
    ],
)


def populate(movie: Any) -> str:
    return str(movie.title)


def create(history: History, *titles: str) -> None:
    history.apply(MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=pk, title=title, year=1900 + pk)
        for pk, title in enumerate(titles, start=1)
    )


def add_slug(history: History, deduplicate: Any, max_length: int = 50) -> list[str]:
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True, max_length=max_length),
            populate,
            deduplicate=deduplicate,
        )
    )
    return list(history.rows("Movie").values_list("slug", flat=True))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("treasure-island", 2, None), "treasure-island-2"),
        (("treasure-island", 10, 17), "treasure-islan-10"),
        (("treasure-island", 10, 12), "treasure-10"),
        (("abc", 1000, 5), "-1000"),
    ],
)
def test_numbered(arguments: tuple[str, int, int | None], expected: str) -> None:
    value, n, max_length = arguments

    assert safefield.numbered(None, value, n, max_length=max_length) == expected


def test_numbered_is_for_texts() -> None:
    with pytest.raises(ValidationError) as caught:
        safefield.numbered(None, 7, 2)

    assert caught.value.messages == [
        "safefield.numbered is for texts, and this value is of type int"
    ]


def test_earliest_key_keeps_its_value(history: History) -> None:
    create(history, "a", "b", "a", "a", "b", "c")

    assert add_slug(history, safefield.numbered) == [
        "a",
        "b",
        "a-2",
        "a-3",
        "b-2",
        "c",
    ]


def test_rows_that_have_the_answer_of_their_own_keep_it(history: History) -> None:
    create(history, "a", "a", "a-2", "a-3", "a", "a-2")

    assert add_slug(history, safefield.numbered) == [
        "a",
        "a-4",
        "a-2",
        "a-3",
        "a-5",
        "a-2-2",
    ]


def test_many_answers_that_are_taken(history: History) -> None:
    create(history, "a", "a", *[f"a-{n}" for n in range(2, 300)], "a")

    slugs = add_slug(history, safefield.numbered)

    assert slugs[1] == "a-300"
    assert slugs[-1] == "a-301"
    assert slugs[2:-1] == [f"a-{n}" for n in range(2, 300)]


def test_never_longer_than_the_field(history: History) -> None:
    create(history, *["abcdefgh"] * 12)

    assert add_slug(history, safefield.numbered, max_length=8) == [
        "abcdefgh",
        *[f"abcdef-{n}" for n in range(2, 10)],
        *[f"abcde-{n}" for n in range(10, 13)],
    ]


def test_function_of_the_row(history: History) -> None:
    def with_year(movie: Any, value: str, n: int) -> str:
        return f"{value}-{movie.year}" if n == 2 else f"{value}-{movie.year}-{n}"

    create(history, "a", "a", "a", "a-1903")
    history.rows("Movie").filter(pk=1).update(title="a")

    assert add_slug(history, with_year) == ["a", "a-1902", "a-1903-3", "a-1903"]


def test_equal_is_what_the_database_says(history: History) -> None:
    create(history, "a", "A", "a")
    is_sensitive = history.connection.vendor != "mysql"

    assert add_slug(history, safefield.numbered) == (
        ["a", "A", "a-2"] if is_sensitive else ["a", "A-2", "a-3"]
    )


def test_calls_grow_with_the_rows_alone(history: History) -> None:
    calls: Counter[int] = Counter()

    def counted(movie: Any, value: str, n: int) -> str:
        calls[movie.pk] += 1
        return f"{value}-{n}"

    create(history, *["a"] * 2_000)

    assert add_slug(history, counted) == ["a", *[f"a-{n}" for n in range(2, 2_001)]]
    assert calls.total() <= 3 * 2_000


def test_answer_that_is_always_the_same(history: History) -> None:
    create(history, "a", "a", "a")

    with pytest.raises(BackfillError) as caught:
        add_slug(history, lambda movie, value, n: "b")

    assert [row.pk for row in caught.value.rows] == [3]


def test_existing_field_becomes_unique(history: History) -> None:
    create(history, "a", "b", "a")
    field = models.CharField(max_length=200, unique=True)

    history.apply(
        AlterFieldWithBackfill("Movie", "title", field, deduplicate=safefield.numbered)
    )
    history.apply(
        migrations.CreateModel(
            "Twin", [MOVIE.fields[0], ("title", field.clone()), MOVIE.fields[2]]
        )
    )

    assert list(history.rows("Movie").values_list("title", flat=True)) == [
        "a",
        "b",
        "a-2",
    ]
    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )


def test_films(alias: str) -> None:
    history = History(alias)
    history.apply(FILM)
    load_films(history)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True, max_length=320),
            lambda movie: slugify(movie.title),
            deduplicate=safefield.numbered,
        )
    )

    slugs = dict(history.rows("Movie").values_list("pk", "slug"))
    titles = dict(history.rows("Movie").values_list("pk", "title"))
    assert len(set(slugs.values())) == len(slugs) == 36_273
    islands = [pk for pk, title in titles.items() if title == "Treasure Island"]
    assert [slugs[pk] for pk in sorted(islands)] == [
        "treasure-island",
        *[f"treasure-island-{n}" for n in range(2, 10)],
    ]
    changed = [pk for pk, slug in slugs.items() if slug != slugify(titles[pk])]
    assert len(changed) == 3_183
