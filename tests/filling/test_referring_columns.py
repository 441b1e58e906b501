"""A field that foreign keys refer to: it may be filled, and not change its type."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse

TABLES = ("Label", "Studio", "Movie", "Poster")


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def code(length: int = 50, **options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, unique=True, **options)


def create(history: History, old: Any, keys: list[Any]) -> None:
    """Make a table, one whose key refers to it, and one that refers to that key."""
    history.apply(
        migrations.CreateModel(
            "Label", [("id", models.BigAutoField(primary_key=True))]
        ),
        migrations.CreateModel(
            "Studio",
            [("id", models.BigAutoField(primary_key=True)), ("code", old)],
        ),
        migrations.AddField(
            "Studio",
            "parent",
            models.ForeignKey(
                "films.Studio", models.CASCADE, null=True, to_field="code"
            ),
        ),
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "studio",
                    models.OneToOneField(
                        "films.Studio",
                        models.CASCADE,
                        to_field="code",
                        db_comment="whose it is",
                    ),
                ),
                ("label", models.ForeignKey("films.Label", models.CASCADE, null=True)),
            ],
        ),
        migrations.CreateModel(
            "Poster",
            [
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "movie",
                    models.ForeignKey(
                        "films.Movie", models.CASCADE, null=True, to_field="studio"
                    ),
                ),
            ],
        ),
    )
    history.rows("Label").create(pk=1)
    for pk, key in enumerate(keys, start=1):
        history.rows("Studio").create(pk=pk, code=key)
    history.rows("Studio").filter(pk=2).update(parent_id=keys[0])
    history.rows("Movie").create(pk=1, studio_id=keys[0], label_id=1)
    history.rows("Poster").create(pk=1, movie_id=keys[0])


def describe(history: History) -> list[Any]:
    return [history.describe(name) for name in TABLES]


#: Fields before and after, and the keys of the rows.
OTHER_TYPES: dict[str, tuple[Any, Any, list[Any]]] = {
    "wider": (code(null=True), code(80), ["a", None]),
    "wider, required before": (code(), code(80), ["a", "b"]),
    "greater": (
        models.IntegerField(unique=True, null=True),
        models.BigIntegerField(unique=True),
        [1, None],
    ),
}


@pytest.mark.parametrize("name", OTHER_TYPES)
def test_another_type_is_refused(history: History, name: str) -> None:
    """Fails if a key is dropped, or a column altered, before the refusal."""
    old, new, keys = OTHER_TYPES[name]
    create(history, old, keys)
    before = describe(history)
    operation = AlterFieldWithBackfill("Studio", "code", new, lambda studio: "b")

    rehearsal = rehearse(history, operation)
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert str(rehearsal.error) == str(caught.value)
    assert str(caught.value) == (
        "films.Studio.code cannot be altered: its type changes, and that of the "
        "foreign keys to it would have to (films.Movie.studio, films.Poster.movie, "
        "films.Studio.parent). Change the type by migrations.AlterField in a migration "
        "before this one, then run migrate again. Nothing was changed."
    )
    assert describe(history) == before


def test_follows_alter_field_to_another_type(history: History) -> None:
    """Fails if what the refusal advises does not work."""
    create(history, code(null=True), ["a", None])
    history.apply(migrations.AlterField("Studio", "code", code(80, null=True)))

    history.apply(AlterFieldWithBackfill("Studio", "code", code(80), lambda row: "b"))

    assert list(history.rows("Studio").values_list("code", flat=True)) == ["a", "b"]
    found = describe(history)
    history.unapply()
    history.rows("Studio").filter(pk=2).update(code="b")
    history.apply(migrations.AlterField("Studio", "code", code(80)))
    assert found == describe(history)


def test_same_type_ends_as_django_makes_it(history: History) -> None:
    """Fails if a key that refers to the field is lost."""
    create(history, code(null=True), ["a", None])
    before = describe(history)

    history.apply(AlterFieldWithBackfill("Studio", "code", code(), lambda row: "b"))

    found = describe(history)
    history.unapply()
    assert describe(history) == before
    history.rows("Studio").filter(code=None).update(code="b")
    history.apply(migrations.AlterField("Studio", "code", code()))
    assert found == describe(history)


def test_rehearsal_leaves_other_tables_alone(alias: str) -> None:
    """Fails if a rehearsal changes the columns, or the keys, of other tables."""
    history = History(alias)
    create(history, code(null=True), ["a", None])
    before = describe(history)
    operation = AlterFieldWithBackfill("Studio", "code", code(), lambda row: "b")

    assert rehearse(history, operation).error is None
    assert describe(history) == before
