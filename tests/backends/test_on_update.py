"""
Columns that the server sets to the time of day in each UPDATE, if it is let.

Django makes none, other people do. The witness is the server's own SELECT.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models.expressions import Window
from django.db.models.functions import Lower, RowNumber

import safefield
from safefield import BackfillError
from safefield.backends import get_backend
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse

ROWS = 7
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=50)),
        ("code", models.CharField(max_length=50, null=True)),
    ],
)
COLUMNS = [
    "stamp timestamp NOT NULL DEFAULT '2001-02-03' ON UPDATE CURRENT_TIMESTAMP",
    "moment datetime(6) DEFAULT '2001-02-03 04:05:06.789012' "
    "ON UPDATE CURRENT_TIMESTAMP(6)",
    "nothing timestamp NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP",
    "`100% by hand` datetime DEFAULT '2001-02-03' ON UPDATE CURRENT_TIMESTAMP",
]


def slug_of(movie: Any) -> str:
    return f"film-{movie.pk}"


def slug_of_most(movie: Any) -> str:
    if movie.pk == ROWS - 1:
        raise ValueError("not this one")
    return slug_of(movie)


def add(field: models.Field[Any, Any], populate: Any, **options: Any) -> Any:
    return AddFieldWithBackfill(
        "Movie", "slug", field, populate, batch_size=3, **options
    )


#: What fills, and whether it ends in an error.
OPERATIONS = {
    "texts": (add(models.SlugField(), slug_of), False),
    "numbers": (add(models.IntegerField(), lambda movie: movie.pk), False),
    "bad row": (add(models.SlugField(), slug_of_most), True),
    "numbered": (
        add(
            models.SlugField(unique=True),
            lambda movie: "same",
            deduplicate=safefield.numbered,
        ),
        False,
    ),
    "same": (add(models.SlugField(unique=True), lambda movie: "same"), True),
    "expression": (add(models.CharField(max_length=50), Lower("title")), False),
    "expression, file": (add(models.FileField(), Lower("title")), False),
    "expression, refused": (
        add(models.CharField(max_length=50, choices=[("film 1", "")]), Lower("title")),
        True,
    ),
    "window": (
        add(models.IntegerField(), Window(RowNumber(), order_by="title")),
        False,
    ),
    "altered": (
        AlterFieldWithBackfill(
            "Movie", "code", models.CharField(max_length=50, unique=True), slug_of
        ),
        False,
    ),
    "altered, expression": (
        AlterFieldWithBackfill(
            "Movie", "code", models.CharField(max_length=50), Lower("title")
        ),
        False,
    ),
    "answer": (
        add(models.SlugField(), slug_of, reverse=lambda movie: {"code": movie.slug}),
        False,
    ),
    "answer, number": (
        add(
            models.IntegerField(),
            lambda movie: movie.pk,
            reverse=lambda movie: {"code": str(movie.slug), "title": "x"},
        ),
        False,
    ),
}


def build(alias: str, *, atomic: bool = False) -> History:
    history = History(alias, atomic=atomic)
    history.apply(MOVIE)
    movie = history.model("Movie")
    with history.connection.cursor() as cursor:
        for column in COLUMNS:
            cursor.execute(f"ALTER TABLE films_movie ADD {column}", None)
    history.rows("Movie").bulk_create(
        movie(pk=n, title=f"Film {n}") for n in range(1, ROWS + 1)
    )
    return history


def look(alias: str) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT id, CAST(stamp AS char), CAST(moment AS char), nothing, "
            "CAST(`100% by hand` AS char) FROM films_movie ORDER BY id",
            None,
        )
        return list(cursor.fetchall())


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_time_of_the_last_update_stays(
    mysql_alias: str, name: str, atomic: bool
) -> None:
    """Fails if any UPDATE, there or back, leaves such a column to the server."""
    history = build(mysql_alias, atomic=atomic)
    before = look(mysql_alias)
    operation, is_error = OPERATIONS[name]

    with pytest.raises(BackfillError) if is_error else nullcontext():
        history.apply(operation)

    assert look(mysql_alias) == before
    if not is_error:
        history.unapply()
        assert look(mysql_alias) == before


@pytest.mark.parametrize("name", ["texts", "numbers", "expression", "window"])
def test_rehearsal_takes_such_a_column(mysql_alias: str, name: str) -> None:
    """Fails if a statement of the rehearsal names a column that its table lacks."""
    history = build(mysql_alias)
    before = look(mysql_alias)

    assert rehearse(history, OPERATIONS[name][0]).error is None
    assert look(mysql_alias) == before


@pytest.mark.parametrize("values", [("a", "b", "c"), (1, 2, 3), (1.5, 2.5, 3.5)])
@pytest.mark.parametrize("keys", [(1, 2, 3), (1, 3, 5)])
def test_no_time_goes_through_a_join(
    mysql_alias: str, keys: Any, values: tuple[Any, ...]
) -> None:
    """
    Fails if a batch is joined: a join computes a time anew, and refuses a day 0.

    Only a server with a time zone of its own would show that a time in the hour that
    clocks go back becomes another.
    """
    history = build(mysql_alias)
    connection = history.connection
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(
            "UPDATE films_movie SET stamp = 0, moment = 0, nothing = 0, "
            "`100% by hand` = 0",
            None,
        )
        cursor.execute(
            "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'"
        )
    before = look(mysql_alias)
    model = history.model("Movie")
    writer = get_backend(connection).writer(
        connection, model, [model._meta.get_field("code")]
    )

    assert writer.write([((k,), (v,)) for k, v in zip(keys, values, strict=True)]) == 3
    assert look(mysql_alias) == before
    found = dict(history.rows("Movie").filter(pk__in=keys).values_list("pk", "code"))
    assert found == dict(zip(keys, map(str, values), strict=True))


def test_rows_that_have_a_value_are_passed_over(mysql_alias: str) -> None:
    """Fails if a value is overwritten, or a row that went away is missed."""
    history = build(mysql_alias)
    history.rows("Movie").filter(pk=5).update(code="mine")
    history.rows("Movie").filter(pk=7).delete()
    before = look(mysql_alias)
    model = history.model("Movie")
    field = model._meta.get_field("code")
    writer = get_backend(history.connection).writer(
        history.connection, model, [field], only_null=field
    )

    assert writer.write([((key,), (f"film-{key}",)) for key in (1, 3, 5, 7)]) == 2
    assert look(mysql_alias) == before
    assert list(history.rows("Movie").values_list("code", flat=True)) == [
        "film-1",
        None,
        "film-3",
        None,
        "mine",
        None,
    ]


def test_two_fields_of_many_rows(mysql_alias: str) -> None:
    """Fails if a value goes to another row or field, or a part is left out."""
    history = build(mysql_alias)
    model = history.model("Movie")
    many = range(ROWS + 1, 5_000)
    history.rows("Movie").bulk_create(model(pk=key, title="") for key in many)
    before = look(mysql_alias)
    fields = [model._meta.get_field(name) for name in ("title", "code")]
    writer = get_backend(history.connection).writer(history.connection, model, fields)

    for value in (str, lambda key: key / 4):
        rows = [((key,), (f"film-{key}", value(key))) for key in many]
        assert writer.write(rows) == len(many)
        found = history.rows("Movie").filter(pk__gt=ROWS)
        assert list(found.values_list("pk", "title", "code")) == [
            (key, title, f"{code:g}" if value is not str else code)
            for (key,), (title, code) in rows
        ]
        assert look(mysql_alias) == before


def test_a_column_that_is_filled_has_its_value(mysql_alias: str) -> None:
    """Fails if the column is kept that is to be written."""
    history = History(mysql_alias)
    history.apply(MOVIE)
    history.apply(migrations.AddField("Movie", "seen", models.DateTimeField(null=True)))
    with history.connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE films_movie MODIFY seen datetime(6) NULL "
            "ON UPDATE CURRENT_TIMESTAMP(6)"
        )
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(movie(title=f"Film {n}") for n in range(ROWS))
    seen = datetime(2001, 2, 3, 4, 5, 6, 789012, tzinfo=timezone.utc)

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "seen", models.DateTimeField(), lambda movie: seen, batch_size=3
        )
    )

    assert set(history.rows("Movie").values_list("seen", flat=True)) == {seen}
