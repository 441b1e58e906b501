"""Reading rows as instances without Model.__init__."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import QuerySet
from django.db.models.query import ModelIterable
from django.db.models.signals import post_init

from safefield.filling.instances import PlainIterable, read_quickly
from tests.support.history import History

pytestmark = pytest.mark.thorough_on("mariadb", "mysql")

STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20)),
    ],
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("data", models.JSONField()),
        ("studio", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
    ],
)


@pytest.fixture
def movies(alias: str) -> QuerySet[Any]:
    """Three films, two of them of one studio."""
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    studio = history.rows("Studio").create(name="Ufa")
    for number in range(3):
        history.rows("Movie").create(
            title=f"Film {number}",
            data={"number": number},
            studio_id=studio.pk if number else None,
        )
    return QuerySet(history.model("Movie"), using=alias).order_by("pk")


def dump(instance: Any) -> dict[str, Any]:
    """Return all that an instance keeps, the peers by their keys."""
    assert instance._state.fields_cache == {}  # Which makes it, if it is not there.
    state = dict(vars(instance._state))
    if "peers" in state:
        state["peers"] = [peer().pk for peer in state["peers"]]
    return {**vars(instance), "_state": state}


def with_peers(queryset: QuerySet[Any]) -> QuerySet[Any]:
    if hasattr(models, "FETCH_PEERS"):  # Django 6.1
        return queryset.fetch_mode(models.FETCH_PEERS)
    return queryset


def test_instances_are_those_that_django_makes(movies: QuerySet[Any]) -> None:
    for queryset in (movies, with_peers(movies)):
        expected = list(queryset)
        found = list(read_quickly(queryset.all()))

        assert [type(movie) for movie in found] == [type(movie) for movie in expected]
        assert [dump(movie) for movie in found] == [dump(movie) for movie in expected]
        assert found == expected


def test_rows_without_relations_are_those_that_django_makes(alias: str) -> None:
    """They are filled in another way than those with relations."""
    history = History(alias)
    poster = migrations.CreateModel(
        "Poster",
        [("id", models.BigAutoField(primary_key=True)), ("data", models.JSONField())],
    )
    history.apply(poster)
    history.rows("Poster").bulk_create(
        history.model("Poster")(data={"number": number}) for number in range(3)
    )
    posters: QuerySet[Any] = QuerySet(history.model("Poster"), using=alias)
    posters = posters.order_by("pk")

    found = read_quickly(posters.all())

    assert found._iterable_class is PlainIterable  # type: ignore[attr-defined] # private
    assert [dump(poster) for poster in found] == [dump(poster) for poster in posters]


def test_peers_fetch_their_relation_in_one_query(
    movies: QuerySet[Any], django_assert_num_queries: Any
) -> None:
    found = list(read_quickly(with_peers(movies)))
    queries = 1 if hasattr(models, "FETCH_PEERS") else 2

    with django_assert_num_queries(queries, connection=connections[movies.db]):
        names = [movie.studio and movie.studio.name for movie in found]

    assert names == [None, "Ufa", "Ufa"]


def test_a_filter_and_a_prefetch_keep_it(movies: QuerySet[Any]) -> None:
    queryset = read_quickly(movies.all()).prefetch_related("studio").filter(pk__gt=1)

    assert queryset._iterable_class is PlainIterable  # type: ignore[attr-defined] # private
    assert [movie.studio.name for movie in queryset] == ["Ufa", "Ufa"]


def test_joined_rows_are_made_by_django(movies: QuerySet[Any]) -> None:
    queryset = read_quickly(movies.select_related("studio"))

    assert queryset._iterable_class is ModelIterable  # type: ignore[attr-defined] # private


def test_a_model_that_looks_at_its_instances_has_them_made_by_django(
    movies: QuerySet[Any],
) -> None:
    seen = []

    def look(instance: Any, **kwargs: Any) -> None:
        seen.append(instance.pk)

    post_init.connect(look, sender=movies.model)
    try:
        found = list(read_quickly(movies.all()))
    finally:
        post_init.disconnect(look, sender=movies.model)

    assert seen == [movie.pk for movie in found]


@pytest.mark.parametrize("name", ["__init__", "from_db", "__setattr__"])
def test_a_base_with_code_of_its_own_has_its_instances_made_by_django(
    movies: QuerySet[Any], name: str
) -> None:
    original = getattr(movies.model, name)

    def override(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    setattr(movies.model, name, override)
    try:
        queryset = read_quickly(movies.all())
    finally:
        delattr(movies.model, name)

    assert queryset._iterable_class is ModelIterable  # type: ignore[attr-defined] # private
