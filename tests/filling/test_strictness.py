"""What comes close to a bad value and is a good one, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History
from tests.support.movies import create_movies, values


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    create_movies(history, 1)
    return history


@pytest.mark.parametrize(
    "text", ["\\u0000", "\\\\u0000", "u0000", '\\"u0000', "C:\\users"]
)
def test_json_with_what_only_looks_like_nul(history: History, text: str) -> None:
    """Fails if the six characters of an escape are taken for what they stand for."""
    field = models.JSONField()

    history.apply(AddFieldWithBackfill("Movie", "extra", field, lambda row: {text: 1}))

    assert values(history, "extra") == [{text: 1}]


def test_nul_in_the_name_of_a_file(history: History) -> None:
    """Fails if only fields of texts are looked at: SQLite and MariaDB would take it."""
    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", models.FileField(), lambda row: "a\0"
            )
        )

    (row,) = caught.value.rows
    assert row.reason == "<lambda>() gave a bad value: it has a NUL character"


def test_instance_that_was_not_saved_but_has_a_key(history: History) -> None:
    """Fails if its key is taken: it may be that of nobody, or of somebody else."""
    history.rows("Studio").bulk_create([history.model("Studio")(pk=1, name="A")])
    studio = models.ForeignKey("films.Studio", models.CASCADE)

    def make_studio(movie: Any, apps: Any) -> Any:
        return apps.get_model("films", "Studio")(pk=1, name="B")

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "extra", studio, make_studio))

    (row,) = caught.value.rows
    assert row.reason == (
        "make_studio() gave a bad value: it is an instance of films.Studio that was "
        "not saved"
    )


def test_text_of_blanks(history: History) -> None:
    """Fails where a collation takes it for a text of no characters."""
    field = models.CharField(max_length=9)

    history.apply(AddFieldWithBackfill("Movie", "extra", field, lambda row: "  "))

    assert values(history, "extra") == ["  "]


class Single(float):
    """A number such as numpy.float32, of which math.trunc() knows nothing."""

    __trunc__ = None  # type: ignore[assignment]  # so it is missing


def test_whole_number_that_cannot_be_truncated(history: History) -> None:
    """Fails if only math.trunc() says what is whole: int() is what save() asks."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.IntegerField(), lambda row: Single(5)
        )
    )

    assert values(history, "extra") == [5]


def test_error_of_a_field_that_converts(history: History) -> None:
    """Fails if what to_python() raises, and is no ValidationError, ends the run."""

    class Grade(models.CharField):  # type: ignore[type-arg] # generic in the stubs
        def to_python(self, value: Any) -> Any:
            return {"a": "best"}[value]

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", Grade(max_length=80), lambda row: "b"
            )
        )

    (row,) = caught.value.rows
    assert row.reason == (
        "<lambda>() gave a bad value: Grade cannot convert it, a value of type str "
        "(KeyError)"
    )
