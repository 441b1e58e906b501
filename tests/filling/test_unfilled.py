"""Rows that keep no value though the database took the UPDATE: none is passed over."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

UNKEPT = "the database kept no value: a trigger or rule undoes the UPDATE"
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=40)),
    ],
)
ROWS = 40

#: What keeps rows with the key {key} and above empty, by database: each one way.
KEEPERS = {
    "sqlite": [
        "CREATE TRIGGER keep AFTER UPDATE ON films_movie WHEN new.id >= {key} BEGIN "
        "UPDATE films_movie SET extra = NULL WHERE id = new.id; END",
        "CREATE TRIGGER keep BEFORE UPDATE ON films_movie WHEN new.id >= {key} BEGIN "
        "SELECT RAISE(IGNORE); END",
    ],
    "postgresql": [
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF new.id >= {key} THEN RETURN NULL; END IF; RETURN new; END $$; "
        "CREATE TRIGGER keep BEFORE UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION keep()",
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF new.id >= {key} THEN RETURN old; END IF; RETURN new; END $$; "
        "CREATE TRIGGER keep BEFORE UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION keep()",
        "CREATE RULE keep AS ON UPDATE TO films_movie WHERE old.id >= {key} "
        "DO INSTEAD NOTHING",
    ],
    "mysql": [
        "CREATE TRIGGER keep BEFORE UPDATE ON films_movie FOR EACH ROW "
        "SET new.extra = IF(new.id >= {key}, NULL, new.extra)",
    ],
}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=n, title=f"Title {n}") for n in range(1, ROWS + 1)
    )
    return history


def title_of(movie: Any) -> str:
    title: str = movie.title
    return title


class KeepAndAdd(AddFieldWithBackfill):
    """Somebody makes the trigger as soon as the column is there."""

    statement = ""

    def database_forwards(self, app_label: str, editor: Any, *states: Any) -> None:
        connection = editor.connection
        is_made = False

        def make(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal is_made
            result = execute(sql, params, many, context)
            if not is_made and "ADD COLUMN" in sql:
                is_made = True
                with connection.cursor() as cursor:
                    cursor.execute(self.statement)
            return result

        with connection.execute_wrapper(make):
            super().database_forwards(app_label, editor, *states)


@pytest.mark.parametrize("way", [0, 1, 2])
@pytest.mark.parametrize("key", [1, 30], ids=["all", "some"])
@pytest.mark.parametrize("null", [False, True], ids=["required", "nullable"])
def test_trigger_or_rule(history: History, way: int, key: int, null: bool) -> None:
    """Fails if nobody looks at the rows after an UPDATE."""
    keepers = KEEPERS[history.connection.vendor]
    if way >= len(keepers):
        pytest.skip("no such way here")
    operation = KeepAndAdd(
        "Movie", "extra", models.CharField(max_length=40, null=null), title_of
    )
    operation.statement = keepers[way].format(key=key)

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert [row.pk for row in caught.value.rows] == list(range(key, ROWS + 1))
    commits = history.connection.vendor == "mysql" or (
        history.connection.vendor == "postgresql" and not history.atomic
    )
    if commits or null or key == 1 or (history.connection.vendor, way) in COUNTED:
        assert {row.reason for row in caught.value.rows} == {UNKEPT}
        assert str(caught.value).endswith("Remove the cause, then run migrate again.")
    else:
        assert {row.reason for row in caught.value.rows} == {"there is no value"}


def test_trigger_that_undoes_an_expression(history: History) -> None:
    """Fails if nobody looks what an UPDATE with an expression has left empty."""
    operation = KeepAndAdd(
        "Movie", "extra", models.CharField(max_length=40, null=True), F("title")
    )
    operation.statement = KEEPERS[history.connection.vendor][0].format(key=38)

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (38, UNKEPT),
        (39, UNKEPT),
        (40, UNKEPT),
    ]


#: Where the database itself says that it took fewer rows.
COUNTED = {("sqlite", 1), ("postgresql", 0), ("postgresql", 2)}


def test_rows_that_are_gone_are_none_of_it(history: History) -> None:
    """Fails if each UPDATE has to take all rows that it was given."""

    def populate(movie: Any) -> str:
        if movie.pk % 2:
            movie.delete()
        return title_of(movie)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", models.CharField(max_length=40), populate
        )
    )

    assert list(history.rows("Movie").values_list("pk", "extra")) == [
        (n, f"Title {n}") for n in range(2, ROWS + 1, 2)
    ]


def test_none_is_a_value_of_a_nullable_field(history: History) -> None:
    """Fails if a row that populate leaves empty counts as one that was not kept."""
    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "extra",
            models.CharField(max_length=40, null=True),
            lambda movie: movie.title if movie.pk % 3 else None,
        )
    )

    assert [row.extra for row in history.rows("Movie")] == [
        f"Title {n}" if n % 3 else None for n in range(1, ROWS + 1)
    ]
