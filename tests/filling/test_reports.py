"""How errors are told: their own text, the rows, and no value where none may be."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import migrations, models

import safefield
from safefield import BackfillError, BadRow
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

MOVIE_FIELDS: list[tuple[str, models.Field[Any, Any]]] = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]


@pytest.fixture
def history(sqlite_alias: str) -> History:
    return make(sqlite_alias, MOVIE_FIELDS, [1, 2, 3])


def make(alias: str, fields: Any, keys: list[Any]) -> History:
    history = History(alias)
    history.apply(migrations.CreateModel("Movie", fields))
    for key in keys:
        history.rows("Movie").create(pk=key, title="secret")
    return history


def get_error(
    history: History, populate: Any, field: Any = None, **options: Any
) -> BackfillError:
    field = field or models.CharField(max_length=200)
    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill("Movie", "extra", field, populate, **options)
        )
    return caught.value


def look_up(movie: Any) -> str:
    return {1: "one"}[3]


def look_up_each(movie: Any) -> str:
    return {0: "none"}[movie.pk]


def get_lines(error: BackfillError) -> list[str]:
    return str(error).splitlines()[1:-1]


def test_an_error_of_populate_is_its_own_text_first(history: History) -> None:
    """Fails if the text stands behind the keys, as what was found in a row does."""
    assert get_lines(get_error(history, look_up)) == [
        "  3 rows: look_up() raised KeyError: 3 (pk 1, 2, 3)"
    ]


def test_errors_of_one_class_that_differ(history: History) -> None:
    """Fails if each text makes a line of its own, or one goes for all."""
    assert get_lines(get_error(history, look_up_each)) == [
        "  3 rows: look_up_each() raised KeyError: 1 (pk 1, 2, 3; the text is "
        "that of the first)"
    ]


def raise_long(movie: Any) -> str:
    raise ValueError("word " * 50)


def test_a_long_text_is_cut_with_an_ellipsis(history: History) -> None:
    """Fails if it is cut at 60 characters, or without a sign."""
    error = get_error(history, raise_long)

    assert error.rows[0].detail == ("word " * 50)[:199] + "…"


def raise_raw(movie: Any) -> str:
    raise ValueError("\x1b]0;pwned\x07 \x1b[31m\u202e\u2028 é\ttab\rline")


def refuse_raw(movie: Any) -> str:
    raise ValidationError("\x1b[2J no")


@pytest.mark.parametrize(
    ("populate", "line"),
    [
        (
            raise_raw,
            "  3 rows: raise_raw() raised ValueError: \\x1b]0;pwned\\x07 "
            "\\x1b[31m\\u202e é tab line (pk 1, 2, 3)",
        ),
        (
            refuse_raw,
            "  3 rows: refuse_raw() gave a bad value: \\x1b[2J no (pk 1, 2, 3)",
        ),
    ],
)
def test_control_characters_are_escaped(
    history: History, populate: Any, line: str
) -> None:
    """Fails if a text goes to the terminal as it is."""
    assert get_lines(get_error(history, populate)) == [line]


def test_control_characters_of_any_error_are_escaped() -> None:
    """Fails if only what is said of rows is escaped."""
    error = BackfillError("a\x1b[31m\nb", model="films.Movie", field="slug")

    assert str(error) == "a\\x1b[31m\nb"


def refuse_with_dict(movie: Any) -> str:
    raise ValidationError({"name": ["Too short.", "Too plain."], "year": "Too early."})


def refuse_with_wrong_params(movie: Any) -> str:
    raise ValidationError("100% %(value)s %d", params={"value": 1})


@pytest.mark.parametrize(
    ("populate", "text"),
    [
        (refuse_with_dict, "name: Too short. Too plain. year: Too early."),
        (refuse_with_wrong_params, "100% %(value)s %d"),
    ],
)
@pytest.mark.parametrize("is_validator", [False, True], ids=["populate", "validator"])
def test_any_validation_error_is_told(
    history: History, populate: Any, text: str, is_validator: bool
) -> None:
    """Fails if error_list or % is taken for granted: the run would end without rows."""
    if is_validator and populate is refuse_with_dict:
        pytest.skip("Field.run_validators() takes none of a dict")
    field = models.CharField(max_length=9, validators=[populate])
    error = (
        get_error(history, lambda movie: "x", field)
        if is_validator
        else get_error(history, populate)
    )

    name = "<lambda>" if is_validator else populate.__name__
    assert [row.reason for row in error.rows] == [
        f"{name}() gave a bad value: {text}"
    ] * 3


class Silent:
    """Has neither a text nor a repr."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class SilentError(Silent, Exception):
    pass


def raise_silent(movie: Any) -> str:
    raise SilentError


def test_an_error_without_a_text(history: History) -> None:
    """Fails if the text of an exception is taken for granted."""
    assert [tuple(row) for row in get_error(history, raise_silent).rows] == [
        (key, "raise_silent() raised SilentError", "") for key in (1, 2, 3)
    ]


def test_a_value_without_a_repr(history: History) -> None:
    """Fails if the repr of a value is taken for granted."""
    error = get_error(history, lambda movie: Silent(), models.IntegerField())

    assert "Silent object at 0x" in error.rows[0].detail


# SHOW_VALUES = False


def quote(movie: Any) -> str:
    raise ValidationError(f"bad card {movie.title.upper()}")


def raise_title(movie: Any) -> str:
    raise ValueError(movie.title)


def refuse_repr(value: str) -> None:
    raise ValidationError(f"{value!r} or {value.upper()} is reserved", code="reserved")


@pytest.mark.parametrize(
    ("populate", "field", "reason"),
    [
        (quote, None, "quote() gave a bad value: quote() refused it"),
        (raise_title, None, "raise_title() raised ValueError"),
        (
            lambda movie: movie.title,
            models.CharField(max_length=9, validators=[refuse_repr]),
            "<lambda>() gave a bad value: refuse_repr() refused it (reserved)",
        ),
        (
            lambda movie: movie.title,
            models.CharField(
                max_length=9, validators=[RegexValidator("x", message="secret")]
            ),
            "<lambda>() gave a bad value: RegexValidator refused it (invalid)",
        ),
        (
            lambda movie: movie.title,
            models.CharField(max_length=3),
            "<lambda>() gave a bad value: MaxLengthValidator refused it (max_length)",
        ),
        (
            lambda movie: movie.title,
            models.IntegerField(),
            "<lambda>() gave a bad value: IntegerField refused it (invalid)",
        ),
        (
            lambda movie: None,
            None,
            "<lambda>() gave a bad value: it is None, and the field is required",
        ),
    ],
)
def test_no_value_in_a_message(
    history: History, settings: Any, populate: Any, field: Any, reason: str
) -> None:
    """Fails if the text of a validator is shown, which may hold the value."""
    settings.SAFEFIELD = {"SHOW_VALUES": False}

    error = get_error(history, populate, field)

    assert error.rows == [BadRow(key, reason) for key in (1, 2, 3)]
    assert "secret" not in str(error).lower()


@pytest.mark.parametrize(
    ("key", "keys", "shown"),
    [
        (models.EmailField(primary_key=True), ["a@x.org"], None),
        (models.UUIDField(primary_key=True), ["0" * 32], "pk UUID("),
        (models.IntegerField(primary_key=True), [7], "pk 7"),
    ],
)
def test_keys_that_are_data(
    sqlite_alias: str, settings: Any, key: Any, keys: list[Any], shown: str | None
) -> None:
    """Fails if a key is shown that somebody may be known by."""
    settings.SAFEFIELD = {"SHOW_VALUES": False}
    history = make(sqlite_alias, [("id", key), MOVIE_FIELDS[1]], keys)

    error = get_error(history, lambda movie: None)

    expected = shown or "their primary keys are data, and SHOW_VALUES is False"
    assert f"({expected}" in str(error)
    assert "a@x.org" not in str(error)


# BackfillError


@pytest.mark.parametrize(
    "duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_it_can_be_pickled_and_copied(duplicate: Any) -> None:
    """Fails if its keyword arguments are lost between processes."""
    error = BackfillError(
        "x", model="films.Movie", field="slug", rows=[BadRow(1, "bad", "y")]
    )
    error.add_note("a note")

    twin = duplicate(error)

    assert type(twin) is BackfillError
    assert (str(twin), twin.model, twin.field) == ("x", "films.Movie", "slug")
    assert (twin.rows, twin.returncode) == ([BadRow(1, "bad", "y")], 1)
    assert twin.__notes__ == ["a note"]


def test_numbered_is_written_as_it_is_documented() -> None:
    """Fails if migrations get the path of the module that it is in."""
    from safefield.numbering import numbered

    assert numbered is safefield.numbered
    assert numbered.__module__ == "safefield"
