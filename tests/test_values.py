"""What populate returns, next to what Django's own save() would have stored."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F, Value

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.history import History

MOVIE_FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=40)),
    ("old", models.CharField(max_length=40, null=True)),
]


@pytest.fixture
def history(alias: str) -> History:
    """Two tables of the same rows: one is filled, in the other Django saves."""
    history = History(alias)
    history.apply(
        migrations.CreateModel("Movie", MOVIE_FIELDS),
        migrations.CreateModel("Twin", MOVIE_FIELDS),
    )
    for name in ("Movie", "Twin"):
        history.rows(name).create(pk=1, title="one")
        history.rows(name).create(pk=2, title="two")
    return history


def read_raw(history: History, name: str, column: str) -> list[Any]:
    """Return what the server has in the column of each row."""
    as_text = {
        "sqlite": "quote({0})",
        "postgresql": "{0}::text",
        "mysql": "HEX({0})",
    }[history.connection.vendor].format(history.connection.ops.quote_name(column))
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT {as_text} FROM films_{name} ORDER BY id")
        return [value for (value,) in cursor.fetchall()]


def save(history: History, field: Any, value: Any) -> list[Any]:
    """Return what save() stores of `value`: Django is the witness."""
    nullable = field.clone()
    nullable.null = True
    history.apply(migrations.AddField("Twin", "extra", nullable))
    for row in history.rows("Twin"):
        row.extra = value
        row.save(update_fields=["extra"])
    return read_raw(history, "twin", "extra")


def fill(history: History, field: Any, value: Any, **options: Any) -> list[Any]:
    """Return what a backfill stores of `value`."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", field.clone(), lambda movie: value, **options
        )
    )
    return read_raw(history, "movie", "extra")


# Empty values


@pytest.mark.parametrize(
    ("field", "value", "options"),
    [
        (models.JSONField(), [], {}),
        (models.JSONField(), {}, {}),
        (models.JSONField(), "", {}),
        (models.JSONField(editable=False), [], {}),
        (models.BinaryField(), b"", {}),
        (models.CharField(max_length=9), "", {"allow_blank": True}),
        (models.TextField(editable=False), "", {"allow_blank": True}),
        (models.TextField(blank=True), "", {}),
        (models.CharField(max_length=9, choices=["a"]), "", {"allow_blank": True}),
        (models.FileField(), "", {"allow_blank": True}),
    ],
    ids=repr,
)
def test_empty_values(
    history: History, field: Any, value: Any, options: dict[str, Any]
) -> None:
    """Fails if an empty list, dict or bytes is refused, or allow_blank is not seen."""
    assert fill(history, field, value, **options) == save(history, field, value)


def test_empty_text_of_an_expression(history: History) -> None:
    """Fails if verify does not know of allow_blank."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.TextField(), Value(""), allow_blank=True
        )
    )

    assert [row.extra for row in history.rows("Movie")] == ["", ""]


def test_empty_text_of_an_altered_field(history: History) -> None:
    """Fails if the operations do not share allow_blank."""
    field = models.CharField(max_length=40)
    with pytest.raises(BackfillError) as caught:
        history.apply(AlterFieldWithBackfill("Movie", "old", field, lambda movie: ""))

    assert caught.value.rows[0].reason == (
        "<lambda>() gave a bad value: it is an empty text, and the field is required: "
        "if it is meant, add allow_blank=True to the operation"
    )

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "old", field, lambda movie: "", allow_blank=True
        )
    )

    assert [row.old for row in history.rows("Movie")] == ["", ""]


def test_empty_default(history: History) -> None:
    """Fails if what each new row gets is refused in old ones."""
    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.CharField(max_length=9, default="")
        )
    )

    assert [row.extra for row in history.rows("Movie")] == ["", ""]


def test_empty_text_that_is_not_the_default(history: History) -> None:
    """Fails if any empty text is taken where the field has a default."""
    field = models.CharField(max_length=9, default="x")
    with pytest.raises(BackfillError, match="it is an empty text"):
        history.apply(AddFieldWithBackfill("Movie", "extra", field, lambda movie: ""))


def test_empty_text_written_back(history: History) -> None:
    """Fails if reverse does not know of allow_blank."""
    field = models.CharField(max_length=40)
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "extra",
            field,
            F("title"),
            reverse=lambda movie: {"title": ""},
            allow_blank=True,
        )
    )

    history.unapply()

    assert [row.title for row in history.rows("Movie")] == ["", ""]
