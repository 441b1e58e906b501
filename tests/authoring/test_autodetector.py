from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.state import ModelState

from safefield.authoring.autodetector import wrap_autodetector
from safefield.authoring.migration_file import get_backfills
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.states import NoQuestions, detect, model, pk, state, text

pytestmark = pytest.mark.core


class Asked(Exception):
    pass


class AskingQuestioner(NoQuestions):
    """Raises what Django asks, with its arguments."""

    def ask(self, field_name: str, model_name: str) -> Any:
        raise Asked(f"{model_name}.{field_name}")

    ask_not_null_addition = ask
    ask_not_null_alteration = ask
    ask_unique_callable_default_addition = ask


def describe(migrations: list[Any]) -> list[str]:
    """Return a line for each migration: its name and its operations."""
    return [
        f"{migration.name}: "
        + ", ".join(operation.describe() for operation in migration.operations)
        for migration in migrations
    ]


MOVIE = model("Movie", id=pk(), title=text())


def movie(*removed: str, **added: Any) -> ModelState:
    options = added.pop("options", {})
    fields = {**MOVIE.fields, **added}
    for name in removed:
        del fields[name]
    return model("Movie", options=options, **fields)


# What Django asks.


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(text(), id="char"),
        pytest.param(text(unique=True), id="unique"),
        pytest.param(models.IntegerField(), id="integer"),
        pytest.param(models.JSONField(), id="json"),
        pytest.param(models.DateField(auto_now_add=True), id="auto_now_add"),
        pytest.param(models.FileField(), id="file"),
        pytest.param(
            models.ForeignKey("films.Movie", models.CASCADE), id="foreign_key"
        ),
        pytest.param(
            models.OneToOneField("films.Movie", models.CASCADE), id="one_to_one"
        ),
    ],
)
def test_required_field_gets_a_function(field: models.Field[Any, Any]) -> None:
    changes = detect([MOVIE], [movie(extra=field)])

    assert describe(changes["films"]) == [
        "0002_movie_extra: Add field extra to movie, backfilled by populate_movie_extra"
    ]


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(models.UUIDField(default=uuid.uuid4, unique=True), id="unique"),
        pytest.param(
            models.UUIDField(default=uuid.uuid4, unique=True, null=True), id="null"
        ),
        pytest.param(
            models.OneToOneField("films.Movie", models.CASCADE, default=dict),
            id="one_to_one",
        ),
    ],
)
def test_unique_callable_default_needs_no_function(
    field: models.Field[Any, Any],
) -> None:
    changes = detect([MOVIE], [movie(extra=field)])

    assert describe(changes["films"]) == [
        "0002_movie_extra: Add field extra to movie, backfilled by its default"
    ]
    assert changes["films"][0].operations[0].populate is None


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(text(null=True), id="null"),
        pytest.param(text(default="x"), id="default"),
        pytest.param(text(db_default="x"), id="db_default"),
        pytest.param(text(blank=True), id="blank_text"),
        pytest.param(models.UUIDField(default=uuid.uuid4), id="callable_default"),
        pytest.param(models.DateTimeField(auto_now=True), id="auto_now"),
        pytest.param(models.ManyToManyField("films.Movie"), id="many_to_many"),
        pytest.param(
            models.GeneratedField(
                expression=models.F("title"), output_field=text(), db_persist=True
            ),
            id="generated",
        ),
    ],
)
def test_field_without_question_stays_a_plain_add_field(
    field: models.Field[Any, Any],
) -> None:
    changes = detect([MOVIE], [movie(extra=field)])

    assert describe(changes["films"]) == ["0002_movie_extra: Add field extra to movie"]
    assert changes["films"][0].atomic is True


def test_field_is_the_one_of_the_model() -> None:
    field = models.DateTimeField(auto_now_add=True)

    changes = detect([MOVIE], [movie(created=field)])

    (operation,) = changes["films"][0].operations
    assert type(operation) is AddFieldWithBackfill
    assert operation.field.deconstruct()[1:] == field.deconstruct()[1:]
    assert operation.populate.returns_now is True


def test_nullable_field_made_required_gets_a_function() -> None:
    before = [movie(year=models.IntegerField(null=True))]

    changes = detect(before, [movie(year=models.IntegerField())])

    assert describe(changes["films"]) == [
        "0002_alter_movie_year: Alter field year on movie, "
        "backfilled by populate_movie_year"
    ]
    (operation,) = changes["films"][0].operations
    assert type(operation) is AlterFieldWithBackfill
    assert operation.field.null is False
    assert changes["films"][0].atomic is False


def test_other_alterations_stay_plain() -> None:
    before = [
        movie(
            a=models.IntegerField(null=True),
            b=models.IntegerField(),
            c=models.IntegerField(),
        )
    ]
    after = [
        movie(
            a=models.IntegerField(null=True, db_index=True),
            b=models.IntegerField(null=True),
            c=models.BigIntegerField(),
        )
    ]

    changes = detect(before, after)

    assert describe(changes["films"]) == [
        "0002_alter_movie_a_alter_movie_b_alter_movie_c: Alter field a on movie, "
        "Alter field b on movie, Alter field c on movie"
    ]


def test_new_primary_key_is_asked_for_by_django() -> None:
    after = [model("Movie", title=text(), key=models.IntegerField(primary_key=True))]

    with pytest.raises(Asked, match="^movie.key$"):
        detect([MOVIE], after, questioner=AskingQuestioner())


def test_new_parent_link_is_asked_for_by_django() -> None:
    before = [MOVIE, model("Short", id=pk())]
    link = models.OneToOneField(
        "films.Movie", models.CASCADE, parent_link=True, primary_key=True
    )
    after = [MOVIE, model("Short", movie_ptr=link, bases=("films.movie",))]

    with pytest.raises(Asked, match="^short.movie_ptr$"):
        detect(before, after, questioner=AskingQuestioner())


def test_nullable_field_made_primary_key_is_asked_for_by_django() -> None:
    before = [movie(code=models.IntegerField(null=True))]
    after = [movie("id", code=models.IntegerField(primary_key=True))]

    with pytest.raises(Asked, match="^movie.code$"):
        detect(before, after, questioner=AskingQuestioner())


def test_answer_about_a_primary_key_is_used() -> None:
    class Answering(NoQuestions):
        def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
            return 7

    before = [movie(code=models.IntegerField(null=True))]
    after = [movie("id", code=models.IntegerField(primary_key=True))]

    changes = detect(before, after, questioner=Answering())

    assert describe(changes["films"]) == [
        "0002_remove_movie_id_alter_movie_code: Remove field id from movie, "
        "Alter field code on movie"
    ]
    assert changes["films"][0].operations[1].field.default == 7
    assert changes["films"][0].operations[1].preserve_default is False


def test_unmanaged_proxy_and_new_models_are_left_alone() -> None:
    before = [
        MOVIE,
        model("Report", id=pk(), options={"managed": False}),
        model("Short", options={"proxy": True}, bases=("films.movie",)),
    ]
    after = [
        MOVIE,
        model("Report", id=pk(), slug=text(), options={"managed": False}),
        model("Short", options={"proxy": True}, bases=("films.movie",)),
        model("Studio", id=pk(), slug=text()),
    ]

    changes = detect(before, after)

    assert describe(changes["films"]) == ["0002_studio: Create model Studio"]


def test_rename_questions_stay_with_django() -> None:
    questioner = NoQuestions({"ask_rename": True})

    changes = detect([movie(code=text())], [movie(slug=text())], questioner=questioner)

    assert describe(changes["films"]) == [
        "0002_rename_code_movie_slug: Rename field code on movie to slug"
    ]


# Order.


def test_each_backfill_is_alone_and_the_rest_around_it() -> None:
    constraint = models.UniqueConstraint(fields=["slug", "code"], name="slug_code")

    changes = detect(
        [MOVIE],
        [
            movie(
                slug=text(),
                code=text(),
                note=text(null=True),
                options={
                    "constraints": [constraint],
                    "indexes": [models.Index(fields=["slug"], name="slug_index")],
                    "unique_together": {("title", "slug")},
                    "ordering": ["slug"],
                },
            )
        ],
    )

    assert describe(changes["films"]) == [
        "0002_movie_note: Add field note to movie",
        "0003_movie_code: Add field code to movie, backfilled by populate_movie_code",
        "0004_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0005_alter_movie_options_alter_movie_unique_together_and_more: "
        "Change Meta options on movie, "
        "Alter unique_together for movie (1 constraint(s)), "
        "Create index slug_index on field(s) slug of model movie, "
        "Create constraint slug_code on model movie",
    ]
    assert [migration.atomic for migration in changes["films"]] == [
        True,
        False,
        False,
        True,
    ]
    assert [migration.dependencies for migration in changes["films"]] == [
        [("films", "0001_initial")],
        [("films", "0002_movie_note")],
        [("films", "0003_movie_code")],
        [("films", "0004_movie_slug")],
    ]


def test_old_field_goes_after_the_functions_that_may_read_it() -> None:
    before = [model("Person", id=pk(), full_name=text())]
    after = [model("Person", id=pk(), first_name=text(), last_name=text())]

    changes = detect(before, after)

    assert describe(changes["films"]) == [
        "0002_person_first_name: Add field first_name to person, "
        "backfilled by populate_person_first_name",
        "0003_person_last_name: Add field last_name to person, "
        "backfilled by populate_person_last_name",
        "0004_remove_person_full_name: Remove field full_name from person",
    ]
    assert [
        migration.operations[0].populate.source_fields
        for migration in changes["films"][:2]
    ] == [("id", "full_name"), ("id", "full_name", "first_name")]


def test_key_that_cannot_make_room_is_said_to_be_gone() -> None:
    """Fails if the author of a function is left to look for it."""
    code = models.CharField(max_length=9, primary_key=True)
    before = [model("Film", code=code, title=text())]
    name = models.CharField(max_length=9, db_column="code")
    after = [model("Film", id=pk(), title=text(), name=name, rank=text())]

    changes = detect(before, after)

    backfills = {
        operation.name: operation.populate
        for migration in changes["films"]
        for operation in get_backfills(migration)
    }
    assert {name: stub.source_fields for name, stub in backfills.items()} == {
        "name": ("id", "title", "rank"),
        "rank": ("code", "title"),
    }
    assert {name: stub.notes for name, stub in backfills.items()} == {
        "name": ("Film.code cannot be read: it is removed before.",),
        "rank": (),
    }


def test_old_field_makes_room_when_it_has_the_column() -> None:
    changes = detect(
        [movie(code=text())], [movie(slug=models.IntegerField(db_column="code"))]
    )

    assert describe(changes["films"]) == [
        "0002_alter_movie_code: Alter field code on movie",
        "0003_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0004_remove_movie_code: Remove field code from movie",
    ]
    assert changes["films"][0].operations[0].field.db_column == "old_code"
    stub = changes["films"][1].operations[0].populate
    assert (stub.source_fields, stub.notes) == (("id", "title", "code"), ())


def test_plain_field_that_takes_the_column_of_an_old_one_comes_after_it() -> None:
    """Fails if it comes before the function, which may read the old one."""
    changes = detect(
        [movie(code=text())],
        [movie(slug=text(), note=models.IntegerField(db_column="code", null=True))],
    )

    assert describe(changes["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0003_remove_movie_code_movie_note: Remove field code from movie, "
        "Add field note to movie",
    ]


def test_column_that_differs_by_case_is_the_same() -> None:
    """Fails if it keeps its column: to SQLite and MySQL that is the same."""
    changes = detect([movie(Code=text())], [movie(code=models.IntegerField())])

    assert describe(changes["films"]) == [
        "0002_rename_code_movie_old_code: Rename field Code on movie to old_Code",
        "0003_movie_code: Add field code to movie, backfilled by populate_movie_code",
        "0004_remove_movie_old_code: Remove field old_Code from movie",
    ]
    assert changes["films"][1].operations[0].populate.notes == (
        "Movie.Code is called old_Code until it is removed.",
    )


def test_named_column_that_differs_by_case_is_the_same() -> None:
    """Fails if it is taken for another: Django compares the names of fields only."""
    changes = detect(
        [movie(old=text(db_column="Code"))],
        [movie(new=models.IntegerField(db_column="code"))],
    )

    assert describe(changes["films"]) == [
        "0002_alter_movie_old: Alter field old on movie",
        "0003_movie_new: Add field new to movie, backfilled by populate_movie_new",
        "0004_remove_movie_old: Remove field old from movie",
    ]
    assert changes["films"][0].operations[0].field.db_column == "old_Code"


def test_addition_comes_before_an_alteration() -> None:
    """
    Fails if the function of the alteration cannot read the new field.

    Django puts the addition last, because it needs the new model.
    """
    studio = models.ForeignKey("films.Studio", models.CASCADE)

    changes = detect(
        [movie(title=text(null=True))],
        [movie(studio=studio), model("Studio", id=pk())],
    )

    assert describe(changes["films"]) == [
        "0002_studio: Create model Studio",
        "0003_movie_studio: Add field studio to movie, backfilled by "
        "populate_movie_studio",
        "0004_alter_movie_title: Alter field title on movie, backfilled by "
        "populate_movie_title",
    ]


def test_together_with_a_field_that_takes_the_column_of_another() -> None:
    """
    Fails if the new unique_together comes before its field, as in Django's order.
    """
    before = movie(
        old=text(db_column="code"), options={"unique_together": {("title", "old")}}
    )
    after = movie(
        new=models.IntegerField(db_column="code"),
        options={"unique_together": {("title", "new")}},
    )

    changes = detect([before], [after])

    assert describe(changes["films"]) == [
        "0002_alter_movie_unique_together_alter_movie_old: Alter unique_together for "
        "movie (0 constraint(s)), Alter field old on movie",
        "0003_movie_new: Add field new to movie, backfilled by populate_movie_new",
        "0004_alter_movie_unique_together_remove_movie_old: Alter unique_together for "
        "movie (1 constraint(s)), Remove field old from movie",
    ]


def test_together_with_a_plain_field_that_takes_the_column_of_another() -> None:
    """Fails if unique_together comes before its field, which waits for the column."""
    after = movie(
        slug=text(),
        note=models.IntegerField(db_column="code", null=True),
        options={"unique_together": {("title", "note")}},
    )

    changes = detect([movie(code=text())], [after])

    assert describe(changes["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0003_remove_movie_code_movie_note_and_more: Remove field code from movie, "
        "Add field note to movie, "
        "Alter unique_together for movie (1 constraint(s))",
    ]


def test_generated_field_goes_before_the_column_that_it_is_made_of() -> None:
    """Fails if it goes later: databases refuse to alter what it is generated from."""
    generated = models.GeneratedField(
        expression=models.F("note"), output_field=text(), db_persist=True
    )

    changes = detect(
        [movie(note=text(null=True), copy=generated)], [movie(note=text())]
    )

    assert describe(changes["films"]) == [
        "0002_remove_movie_copy: Remove field copy from movie",
        "0003_alter_movie_note: Alter field note on movie, "
        "backfilled by populate_movie_note",
    ]


def test_many_to_many_becomes_a_column() -> None:
    cast = models.ManyToManyField("films.Movie")
    remake = models.ForeignKey("films.Movie", models.CASCADE)

    changes = detect([movie(cast=cast)], [movie(cast=remake)])

    assert describe(changes["films"]) == [
        "0002_rename_cast_movie_old_cast_alter_movie_old_cast: Rename field cast on "
        "movie to old_cast, Alter field old_cast on movie",
        "0003_movie_cast: Add field cast to movie, backfilled by populate_movie_cast",
        "0004_remove_movie_old_cast: Remove field old_cast from movie",
    ]
    assert changes["films"][1].operations[0].populate.notes == (
        "Movie.cast leads back as old_movie_set and is called old_cast until it is "
        "removed.",
    )


def test_old_primary_key_goes_before_the_new_one_and_after_the_function() -> None:
    class Answering(NoQuestions):
        def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
            return 7

    after = [
        model(
            "Movie",
            title=text(),
            key=models.IntegerField(primary_key=True),
            slug=text(),
        )
    ]

    changes = detect([MOVIE], after, questioner=Answering())

    assert describe(changes["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0003_remove_movie_id_movie_key: Remove field id from movie, "
        "Add field key to movie",
    ]
    (operation,) = changes["films"][0].operations
    assert operation.populate.source_fields == ("id", "title")


def test_foreign_key_to_a_new_primary_key_comes_after_it() -> None:
    """Fails if its column is made for the old key, or if more goes before it."""

    class Answering(NoQuestions):
        def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
            return 7

    review = model("Review", id=pk())
    reviewed = model(
        "Review", id=pk(), movie=models.ForeignKey("films.Movie", models.CASCADE)
    )
    after = movie("id", key=models.IntegerField(primary_key=True))

    changes = detect(
        [movie(code=text()), review], [after, reviewed], questioner=Answering()
    )

    assert describe(changes["films"]) == [
        "0002_remove_movie_id_movie_key: Remove field id from movie, "
        "Add field key to movie",
        "0003_review_movie: Add field movie to review, backfilled by "
        "populate_review_movie",
        "0004_remove_movie_code: Remove field code from movie",
    ]


def test_foreign_key_to_a_model_of_the_same_run() -> None:
    studio = models.ForeignKey("films.Studio", models.CASCADE)

    changes = detect([MOVIE], [movie(studio=studio), model("Studio", id=pk())])

    assert describe(changes["films"]) == [
        "0002_studio: Create model Studio",
        "0003_movie_studio: Add field studio to movie, "
        "backfilled by populate_movie_studio",
    ]


def test_foreign_key_to_the_new_field_comes_after_it() -> None:
    review = model("Review", id=pk())
    ahead = model(
        "Ahead",
        id=pk(),
        movie=models.ForeignKey(
            "films.Movie", models.CASCADE, to_field="slug", null=True
        ),
    )

    changes = detect(
        [MOVIE, review, model("Ahead", id=pk())],
        [movie(slug=text(unique=True)), review, ahead],
    )

    assert describe(changes["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0003_ahead_movie: Add field movie to ahead",
    ]


def test_generated_field_of_the_new_field_comes_after_it() -> None:
    upper = models.GeneratedField(
        expression=models.F("slug"), output_field=text(), db_persist=True
    )

    changes = detect([MOVIE], [movie(slug=text(), a_slug=upper)])

    assert describe(changes["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug",
        "0003_movie_a_slug: Add field a_slug to movie",
    ]


def test_renamed_model_and_field_are_known_by_their_new_names() -> None:
    class Answering(NoQuestions):
        def ask_rename(self, *args: Any) -> bool:
            return True

        ask_rename_model = ask_rename

    before = [model("Movie", id=pk(), title=text())]
    renamed = model("Film", id=pk(), title=text())
    after = [model("Film", id=pk(), name=text(), slug=models.SlugField())]

    (rename,) = detect(before, [renamed], questioner=Answering())["films"]
    changes = detect([renamed], after, questioner=Answering())

    assert rename.operations[0].describe() == "Rename model Movie to Film"
    assert describe(changes["films"]) == [
        "0002_rename_title_film_name: Rename field title on film to name",
        "0003_film_slug: Add field slug to film, backfilled by populate_film_slug",
    ]
    (operation,) = changes["films"][1].operations
    assert operation.populate.source_fields == ("id", "name")


def test_model_renamed_in_the_same_run() -> None:
    class Answering(NoQuestions):
        def ask_rename_model(self, *args: Any) -> bool:
            return True

    before = [model("Movie", id=pk(), title=text()), model("Cast", id=pk())]
    after = [
        model("Film", id=pk(), title=text()),
        model("Cast", id=pk(), film=models.ForeignKey("films.Film", models.CASCADE)),
    ]

    changes = detect(before, after, questioner=Answering())

    assert describe(changes["films"]) == [
        "0002_rename_movie_film: Rename model Movie to Film",
        "0003_cast_film: Add field film to cast, backfilled by populate_cast_film",
    ]


@pytest.mark.skipif(
    hasattr(
        MigrationAutodetector, "_get_generated_field_dependencies_for_removed_field"
    ),
    reason="Django raises a KeyError itself, where it looks for generated fields",
)
def test_field_removed_from_a_model_that_is_renamed() -> None:
    """Fails with a KeyError if the field is looked for under the new name."""

    class Answering(NoQuestions):
        def ask_rename_model(self, *args: Any) -> bool:
            return True

    before = [model("Movie", id=pk(), code=text(), title=text())]
    after = [model("Film", id=pk(), cool=text(), title=text())]

    changes = detect(before, after, questioner=Answering())

    assert describe(changes["films"]) == [
        "0002_rename_movie_film: Rename model Movie to Film",
        "0003_film_cool: Add field cool to film, backfilled by populate_film_cool",
        "0004_remove_film_code: Remove field code from film",
    ]


def test_child_has_the_fields_of_its_parent() -> None:
    link = models.OneToOneField(
        "films.Movie", models.CASCADE, parent_link=True, primary_key=True
    )
    before = model("Short", movie_ptr=link, minutes=text(), bases=("films.movie",))
    after = model(
        "Short", movie_ptr=link, minutes=text(), slug=text(), bases=("films.movie",)
    )

    changes = detect([MOVIE, before], [MOVIE, after])

    (operation,) = changes["films"][0].operations
    assert operation.populate.source_fields == ("id", "movie_ptr", "title", "minutes")


# Several apps.


def test_other_app_depends_on_the_last_part() -> None:
    shop = model("Shop", app="shops", id=pk())
    studio = models.ForeignKey("shops.Brand", models.CASCADE)
    brand = model(
        "Brand",
        app="shops",
        id=pk(),
        studio=models.ForeignKey("films.Studio", models.CASCADE),
    )

    changes = detect(
        [MOVIE, shop],
        [movie(slug=text(), brand=studio), shop, brand, model("Studio", id=pk())],
    )

    assert {app: describe(migrations) for app, migrations in changes.items()} == {
        "films": [
            "0002_studio: Create model Studio",
            "0003_movie_brand: Add field brand to movie, "
            "backfilled by populate_movie_brand",
            "0004_movie_slug: Add field slug to movie, "
            "backfilled by populate_movie_slug",
        ],
        "shops": ["0002_brand: Create model Brand"],
    }
    dependencies = {
        f"{migration.app_label}.{migration.name}": sorted(migration.dependencies)
        for migrations in changes.values()
        for migration in migrations
    }
    assert dependencies == {
        "films.0002_studio": [("films", "0001_initial")],
        "films.0003_movie_brand": [("films", "0002_studio"), ("shops", "0002_brand")],
        "films.0004_movie_slug": [("films", "0003_movie_brand")],
        "shops.0002_brand": [("films", "0002_studio"), ("shops", "0001_initial")],
    }


def test_backfills_in_two_apps() -> None:
    shop = model("Shop", app="shops", id=pk())

    changes = detect(
        [MOVIE, shop],
        [movie(slug=text()), model("Shop", app="shops", id=pk(), slug=text())],
    )

    assert {app: describe(migrations) for app, migrations in changes.items()} == {
        "films": [
            "0002_movie_slug: Add field slug to movie, "
            "backfilled by populate_movie_slug"
        ],
        "shops": [
            "0002_shop_slug: Add field slug to shop, backfilled by populate_shop_slug"
        ],
    }


def test_model_moves_to_another_app() -> None:
    old = model("Studio", app="shops", id=pk())
    before = movie(studio=models.ForeignKey("shops.Studio", models.CASCADE))
    after = movie(owner=models.ForeignKey("films.Studio", models.CASCADE))

    changes = detect([before, old], [after, model("Studio", id=pk())])

    assert {app: describe(migrations) for app, migrations in changes.items()} == {
        "films": [
            "0002_studio: Create model Studio",
            "0003_movie_owner: Add field owner to movie, "
            "backfilled by populate_movie_owner",
            "0004_remove_movie_studio: Remove field studio from movie",
        ],
        "shops": ["0002_delete_studio: Delete model Studio"],
    }
    (migration,) = changes["shops"]
    assert sorted(migration.dependencies) == [
        ("films", "0004_remove_movie_studio"),
        ("shops", "0001_initial"),
    ]


def test_field_makes_room_in_another_app() -> None:
    # Series cannot have Movie.code as well, and the function for Movie.series may read
    # it, which needs Series.
    link = models.OneToOneField(
        "films.Movie", models.CASCADE, parent_link=True, primary_key=True
    )
    series = model(
        "Series", app="ads", movie_ptr=link, code=text(), bases=("films.movie",)
    )
    after = movie(
        series=models.ForeignKey("ads.Series", models.CASCADE, related_name="+")
    )

    changes = detect([movie(code=text())], [after, series])

    assert {app: describe(migrations) for app, migrations in changes.items()} == {
        "films": [
            "0002_alter_movie_code_rename_code_movie_old_code: Alter field code on "
            "movie, Rename field code on movie to old_code",
            "0003_movie_series: Add field series to movie, "
            "backfilled by populate_movie_series",
            "0004_remove_movie_old_code: Remove field old_code from movie",
        ],
        "ads": ["0001_initial: Create model Series"],
    }
    assert changes["ads"][0].dependencies == [
        ("films", "0002_alter_movie_code_rename_code_movie_old_code")
    ]


def test_other_app_takes_away_after_the_function() -> None:
    """Fails if it does so at any time: a function may read any model."""
    shop = model("Shop", app="shops", id=pk(), name=text())
    city = model("City", app="shops", id=pk(), name=text())

    changes = detect(
        [MOVIE, shop, city], [movie(slug=text()), model("Shop", app="shops", id=pk())]
    )

    assert describe(changes["shops"]) == [
        "0002_delete_city_remove_shop_name: Delete model City, "
        "Remove field name from shop"
    ]
    assert sorted(changes["shops"][0].dependencies) == [
        ("films", "0002_movie_slug"),
        ("shops", "0001_initial"),
    ]


def test_other_app_waits_as_a_whole_for_what_one_operation_needs() -> None:
    """Fails if only its first operation is asked, which needs nothing."""
    shop = model("Shop", app="shops", id=pk(), name=text())
    after = model("Shop", app="shops", id=pk(), note=text(null=True))

    changes = detect([MOVIE, shop], [movie(slug=text()), after])

    assert describe(changes["shops"]) == [
        "0002_shop_note_remove_shop_name: Add field note to shop, "
        "Remove field name from shop"
    ]
    assert sorted(changes["shops"][0].dependencies) == [
        ("films", "0002_movie_slug"),
        ("shops", "0001_initial"),
    ]


def test_app_that_was_not_asked_for() -> None:
    """Fails if the removal pulls in the migrations of the other app."""
    shop = model("Shop", app="shops", id=pk(), name=text())

    changes = detect(
        [MOVIE, shop],
        [movie(slug=text()), model("Shop", app="shops", id=pk())],
        apps={"shops"},
    )

    assert list(changes) == ["shops"]
    assert changes["shops"][0].dependencies == [("shops", "0001_initial")]


def test_model_is_deleted_after_a_key_to_it_is_altered() -> None:
    """Fails if the other app, which comes first, deletes what rows refer to."""
    old = models.ForeignKey("ads.Studio", models.CASCADE, null=True)
    new = models.ForeignKey("ads.Maker", models.CASCADE)

    changes = detect(
        [movie(studio=old), model("Studio", app="ads", id=pk())],
        [movie(studio=new), model("Maker", app="ads", id=pk())],
        apps={"ads"},
    )

    assert {app: describe(migrations) for app, migrations in changes.items()} == {
        "ads": [
            "0002_maker: Create model Maker",
            "0003_delete_studio: Delete model Studio",
        ],
        "films": [
            "0002_alter_movie_studio: Alter field studio on movie, backfilled by "
            "populate_movie_studio"
        ],
    }
    assert sorted(changes["ads"][1].dependencies) == [
        ("ads", "0002_maker"),
        ("films", "0002_alter_movie_studio"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "is_kept"),
    [
        (text(), models.CharField(max_length=20), False),
        (text(), models.CharField(max_length=80, help_text="Long."), True),
        (text(), models.TextField(), True),
        (models.TextField(), text(), False),
        (models.IntegerField(), models.BigIntegerField(), True),
        (models.BigIntegerField(), models.IntegerField(), False),
        (models.PositiveIntegerField(), models.IntegerField(), True),
        (models.IntegerField(), text(), False),
        (models.IntegerField(), models.IntegerField(null=True, db_index=True), True),
        (models.IntegerField(null=True), models.IntegerField(default=0), False),
        (
            models.ForeignKey("films.Movie", models.CASCADE),
            models.ForeignKey("films.Studio", models.CASCADE),
            False,
        ),
        (
            models.ForeignKey("films.Movie", models.CASCADE),
            models.ForeignKey("films.Movie", models.PROTECT, related_name="x"),
            True,
        ),
    ],
)
def test_alteration_waits_if_it_changes_values(
    old: models.Field[Any, Any], new: models.Field[Any, Any], is_kept: bool
) -> None:
    """Fails if a function reads what a plain alteration has made of a value."""
    studio = model("Studio", id=pk())

    changes = detect([movie(extra=old), studio], [movie(extra=new, a=text()), studio])

    alteration = "alter_movie_extra: Alter field extra on movie"
    addition = "movie_a: Add field a to movie, backfilled by populate_movie_a"
    parts = [alteration, addition] if is_kept else [addition, alteration]
    assert describe(changes["films"]) == [f"0002_{parts[0]}", f"0003_{parts[1]}"]


def test_field_makes_room_under_a_name_that_is_free() -> None:
    link = models.OneToOneField(
        "films.Movie", models.CASCADE, parent_link=True, primary_key=True
    )
    short = model("Short", movie_ptr=link, code=text(), bases=("films.movie",))
    after = model("Short", movie_ptr=link, bases=("films.movie",))
    credit = models.ForeignKey("films.Movie", models.CASCADE, related_name="old_code_2")

    changes = detect(
        [movie(old_code=text()), short, model("Credit", id=pk(), movie=credit)],
        [
            movie(old_code=text(), code=text()),
            after,
            model("Credit", id=pk(), movie=credit),
        ],
    )

    assert describe(changes["films"]) == [
        "0002_alter_short_code_rename_code_short_old_code_3: Alter field code on "
        "short, Rename field code on short to old_code_3",
        "0003_movie_code: Add field code to movie, backfilled by populate_movie_code",
        "0004_remove_short_old_code_3: Remove field old_code_3 from short",
    ]


# Names.


def test_given_name_is_used_with_each_number() -> None:
    changes = detect([MOVIE], [movie(slug=text(), code=text())], name="slugs")

    assert [migration.name for migration in changes["films"]] == [
        "0002_slugs",
        "0003_slugs",
    ]


# Other autodetectors.


def test_wrapped_autodetector_does_not_take_backfills_apart() -> None:
    class Autodetector(MigrationAutodetector):
        seen: list[str] = []

        def _generate_added_field(self, *args: Any) -> None:
            self.seen.append(args[2])
            super()._generate_added_field(*args)

        def add_operation(self, app_label: str, operation: Any, *args: Any, **kw: Any):
            self.seen.append(operation.describe())
            super().add_operation(app_label, operation, *args, **kw)

    changes = detect(
        [MOVIE], [movie(slug=text(), note=text(null=True))], base=Autodetector
    )

    assert len(changes["films"]) == 2
    assert Autodetector.seen == [
        "note",
        "Add field note to movie",
        "slug",
        "Add field slug to movie",
    ]


class Additions(MigrationAutodetector):
    """Leaves fields out that somebody else makes."""

    def _generate_added_field(self, *args: Any) -> None:
        if args[2] not in ("legacy", "secret"):
            super()._generate_added_field(*args)


class Operations(MigrationAutodetector):
    """Leaves out the operations of such fields."""

    def add_operation(self, app_label: str, operation: Any, *args: Any, **kw: Any):
        if getattr(operation, "name", "") not in ("legacy", "secret"):
            super().add_operation(app_label, operation, *args, **kw)


# Fails if Django's own method is asked, past the wrapped one.
@pytest.mark.parametrize("two_phase", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("base", [Additions, Operations])
def test_fields_that_an_autodetector_leaves_out_get_no_backfill(
    base: type[MigrationAutodetector], two_phase: bool
) -> None:
    new = {"legacy": text(), "secret": text(unique=True, blank=True)}

    changes = detect([MOVIE], [movie(**new)], base=base, two_phase=two_phase)
    others = detect([MOVIE], [movie(**new, slug=text())], base=base)

    assert changes == {}
    assert describe(others["films"]) == [
        "0002_movie_slug: Add field slug to movie, backfilled by populate_movie_slug"
    ]


# Fails if the answer is taken for what the wrapped autodetector has let pass.
@pytest.mark.parametrize("is_asked", [False, True], ids=["silent", "asked"])
def test_alterations_that_an_autodetector_leaves_out_get_no_backfill(
    is_asked: bool,
) -> None:
    old = {"legacy": text(null=is_asked), "code": text(null=True)}
    new = {"legacy": text(unique=not is_asked), "code": text()}

    changes = detect([movie(**old)], [movie(**new)], base=Operations)

    assert describe(changes["films"]) == [
        "0002_alter_movie_code: Alter field code on movie, backfilled by "
        "populate_movie_code"
    ]


def test_no_change_is_made_to_runs_without_backfills() -> None:
    def get_changes(autodetector: type[MigrationAutodetector]) -> list[Any]:
        graph = MigrationGraph()
        graph.add_node(("films", "0001_initial"), None)
        changes = autodetector(
            state(movie(code=text())),
            state(
                movie(
                    note=text(null=True),
                    options={"indexes": [models.Index(fields=["note"], name="x")]},
                ),
                model("Studio", id=pk()),
            ),
            NoQuestions(),
        ).changes(graph)
        return [
            (migration.name, migration.dependencies, migration.atomic)
            for migration in changes["films"]
        ]

    assert get_changes(wrap_autodetector(MigrationAutodetector)) == get_changes(
        MigrationAutodetector
    )


def test_backfills_are_found_in_a_migration() -> None:
    changes = detect([MOVIE], [movie(slug=text(), note=text(null=True))])

    assert [len(get_backfills(migration)) for migration in changes["films"]] == [0, 1]


class WeightField(models.IntegerField):
    """Brings a field of its own along, as django-money's does."""

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kw: Any) -> None:
        if f"{name}_unit" not in [field.name for field in cls._meta.local_fields]:
            cls.add_to_class(f"{name}_unit", text())
        super().contribute_to_class(cls, name, *args, **kw)


# Fails if the field comes first, as its name does: the other column is set with it.
def test_field_comes_behind_the_one_that_it_brings() -> None:
    changes = detect([movie()], [movie(load=WeightField(), load_unit=text())])

    assert describe(changes["films"]) == [
        "0002_movie_load_unit: Add field load_unit to movie, backfilled by "
        "populate_movie_load_unit",
        "0003_movie_load: Add field load to movie, backfilled by populate_movie_load",
    ]
