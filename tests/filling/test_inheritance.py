"""Models whose rows are in several tables, or in none of their own."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import QuerySet
from django.test import override_settings

from safefield.operations import AddFieldWithBackfill
from tests.support.family import FAMILY, ID, TITLE
from tests.support.history import History


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


class VisibleManager(models.Manager):
    """A manager that hides rows, also in migrations."""

    use_in_migrations = True

    def get_queryset(self) -> QuerySet[Any, Any]:
        return super().get_queryset().exclude(title__startswith="hidden")


class QuietManager(VisibleManager):
    """The same, but unknown to migrations."""

    use_in_migrations = False


def add_slug(model_name: str = "Movie", **options: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        model_name,
        "slug",
        models.SlugField(unique=True),
        options.pop("populate", slug_of),
        batch_size=2,
        **options,
    )


def slug_of(movie: Any) -> str:
    return f"film-{movie.title}"


def create(history: History, name: str, *titles: str, **values: Any) -> None:
    for title in titles:
        history.model(name)(title=title, **values).save(using=history.connection.alias)


def slugs(history: History, name: str = "Movie") -> list[str]:
    return list(history.rows(name).values_list("slug", flat=True))


def create_family(history: History) -> None:
    history.apply(*FAMILY)
    create(history, "Work", "a", "b")
    create(history, "Movie", "c", "d", "e", year=1900)
    create(history, "Remake", "f", "g", year=1901)


@pytest.mark.parametrize(
    ("name", "expected"), [("Work", "abcdefg"), ("Movie", "cdefg"), ("Remake", "fg")]
)
def test_multi_table_inheritance(history: History, name: str, expected: str) -> None:
    """A child's populate reads the columns of all its parents."""
    create_family(history)
    tables = [history.describe(model) for model in ("Work", "Movie", "Remake")]

    history.apply(add_slug(name, reverse=lambda row: {"title": row.slug[5:]}))

    assert slugs(history, name) == [f"film-{title}" for title in expected]
    assert history.describe(name)["columns"]["slug"]["null"] is False

    history.rows("Work").update(title="-")
    history.unapply()

    titles = list(history.rows(name).values_list("title", flat=True))
    assert titles == list(expected)
    assert tables == [history.describe(model) for model in ("Work", "Movie", "Remake")]


def test_fields_of_an_abstract_base(history: History) -> None:
    """In migrations the columns of an abstract base are the model's own."""

    class Named(models.Model):
        class Meta:
            abstract = True
            app_label = "films"

        def shout(self) -> str:
            return "not to be had in migrations"

    history.apply(
        migrations.CreateModel("Movie", [ID, TITLE], bases=(Named, models.Model))
    )
    create(history, "Movie", "a", "b", "c")

    history.apply(add_slug())

    assert slugs(history) == ["film-a", "film-b", "film-c"]


@pytest.mark.parametrize("manager", [VisibleManager, QuietManager])
@pytest.mark.parametrize("option", ["default_manager_name", "base_manager_name"])
def test_manager_that_hides_rows(
    history: History, manager: type[Any], option: str
) -> None:
    managers = [("objects", manager())] if manager.use_in_migrations else []
    options = {option: "objects"} if managers else {}
    history.apply(
        migrations.CreateModel("Movie", [ID, TITLE], options, managers=managers)
    )
    create(history, "Movie", "hidden a", "b", "hidden c", "d")

    history.apply(
        add_slug(
            populate=lambda movie: movie.title.replace(" ", "-"),
            reverse=lambda movie: {"title": movie.slug.replace("-", "_")},
        )
    )

    assert slugs(history) == ["hidden-a", "b", "hidden-c", "d"]

    history.unapply()

    titles = list(history.rows("Movie").values_list("title", flat=True))
    assert titles == ["hidden_a", "b", "hidden_c", "d"]


def test_parent_with_a_manager_that_hides_rows(history: History) -> None:
    work, *rest = FAMILY
    assert isinstance(work, migrations.CreateModel)
    work = migrations.CreateModel(
        "Work", work.fields, managers=[("objects", VisibleManager())]
    )
    history.apply(work, *rest)
    create(history, "Movie", "hidden-a", "b", year=1900)

    history.apply(add_slug())

    assert slugs(history) == ["film-hidden-a", "film-b"]


def test_proxy_has_no_table_to_change(history: History) -> None:
    history.apply(
        migrations.CreateModel("Movie", [ID, TITLE]),
        migrations.CreateModel(
            "Classic", [], options={"proxy": True}, bases=("films.Movie",)
        ),
    )
    create(history, "Movie", "a", "b")

    history.apply(add_slug())

    assert slugs(history, "Classic") == ["film-a", "film-b"]


def test_unmanaged_model_is_left_alone(history: History) -> None:
    history.apply(
        migrations.CreateModel("Movie", [ID, TITLE], options={"managed": False})
    )

    history.apply(add_slug())
    history.unapply()

    assert "films_movie" not in history.connection.introspection.table_names()


def test_swapped_model_is_left_alone(history: History) -> None:
    with override_settings(FILMS_MOVIE_MODEL="other.Film"):
        history.apply(
            migrations.CreateModel(
                "Movie", [ID, TITLE], options={"swappable": "FILMS_MOVIE_MODEL"}
            )
        )

        history.apply(add_slug())
        history.unapply()

    assert "films_movie" not in history.connection.introspection.table_names()


def test_swappable_model_that_is_used(history: History) -> None:
    with override_settings(FILMS_MOVIE_MODEL="films.Movie"):
        history.apply(
            migrations.CreateModel(
                "Movie", [ID, TITLE], options={"swappable": "FILMS_MOVIE_MODEL"}
            ),
            migrations.CreateModel(
                "Review",
                [
                    ID,
                    TITLE,
                    (
                        "movie",
                        models.ForeignKey("films.Movie", models.CASCADE, null=True),
                    ),
                ],
            ),
        )
        create(history, "Movie", "a", "b")
        create(history, "Review", "a", "b")

        history.apply(
            add_slug(),
            AddFieldWithBackfill(
                "Review",
                "about",
                models.ForeignKey("films.Movie", models.CASCADE, related_name="+"),
                lambda review: review.pk,
            ),
        )

        assert slugs(history) == ["film-a", "film-b"]
        assert list(history.rows("Review").values_list("about", flat=True)) == [1, 2]


class OnlyOnOther:
    """A router that keeps films away from every database but one."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == self.alias


def test_router_that_refuses(history: History) -> None:
    history.apply(migrations.CreateModel("Movie", [ID, TITLE]))
    create(history, "Movie", "a", "b")
    before = history.describe("Movie")

    with override_settings(DATABASE_ROUTERS=[OnlyOnOther("no such alias")]):
        history.apply(add_slug())
        assert history.describe("Movie") == before
        history.unapply()

    assert history.describe("Movie") == before


def test_router_that_allows(history: History) -> None:
    history.apply(migrations.CreateModel("Movie", [ID, TITLE]))
    create(history, "Movie", "a", "b")

    with override_settings(DATABASE_ROUTERS=[OnlyOnOther(history.connection.alias)]):
        history.apply(add_slug())
        assert slugs(history) == ["film-a", "film-b"]
        history.unapply()

    assert "slug" not in history.describe("Movie")["columns"]


def test_no_signal_is_sent(history: History) -> None:
    """A receiver without a sender would be called for historical models too."""
    called = []

    def receive(sender: Any, **kwargs: Any) -> None:
        called.append(sender)

    history.apply(migrations.CreateModel("Movie", [ID, TITLE]))
    create(history, "Movie", "a", "b")
    for signal in (models.signals.pre_save, models.signals.post_save):
        signal.connect(receive)
    try:
        history.apply(add_slug(reverse=lambda movie: {"title": "-"}))
        history.unapply()
    finally:
        for signal in (models.signals.pre_save, models.signals.post_save):
            signal.disconnect(receive)

    assert called == []


def test_parent_of_a_related_row_is_as_it_is_by_then(history: History) -> None:
    """Fails if Django's delay of models that a rename concerns from afar is let be."""
    key = models.ForeignKey("films.Special", models.CASCADE)
    history.apply(
        migrations.CreateModel("Movie", [ID, TITLE]),
        migrations.CreateModel("Special", [], bases=("films.Movie",)),
        migrations.CreateModel("Poster", [ID, ("special", key)]),
    )
    create(history, "Special", "a")
    special = history.rows("Special").get()
    history.model("Poster")(special=special).save(using=history.connection.alias)
    history.apply(migrations.RenameField("Movie", "title", "name"))

    history.apply(add_slug("Poster", populate=lambda poster: poster.special.name))

    assert [poster.slug for poster in history.rows("Poster")] == ["a"]
