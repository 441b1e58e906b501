"""populate as a query expression: computed by the database, over the whole table."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import Count, F, OuterRef, Q, Subquery, Value, Window
from django.db.models.functions import (
    Cast,
    Coalesce,
    Concat,
    Lower,
    NullIf,
    Repeat,
    RowNumber,
)

import safefield
from safefield import BackfillError, BadRow
from safefield.backends.base.locks import Locks
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.sessions import Session

pytestmark = [pytest.mark.newest, pytest.mark.edges]

AUTHOR = migrations.CreateModel(
    "Author",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("country", models.CharField(max_length=2)),
    ],
)
BOOK = migrations.CreateModel(
    "Book",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("author", models.ForeignKey("films.Author", models.CASCADE)),
        ("title", models.CharField(max_length=100)),
    ],
)
REVIEW = migrations.CreateModel(
    "Review",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("book", models.ForeignKey("films.Book", models.CASCADE)),
    ],
)


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    """Six books of two authors: A, B, A, B, A, B; the last one has two reviews."""
    history = History(alias, atomic=request.param)
    history.apply(AUTHOR, BOOK, REVIEW)
    for country in ("FR", "JP"):
        history.rows("Author").create(country=country)
    one, other = history.rows("Author")
    for number in range(6):
        history.rows("Book").create(
            author_id=(one, other)[number % 2].pk, title=f"Title {number}"
        )
    last = history.rows("Book").last()
    for _ in range(2):
        history.rows("Review").create(book_id=last.pk)
    return history


def add(field: models.Field[Any, Any], populate: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill("Book", "extra", field, populate, batch_size=2)


def text(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(max_length=20, **options)


def values(history: History) -> list[Any]:
    return list(history.rows("Book").values_list("extra", flat=True))


def get_keys(history: History) -> list[Any]:
    return list(history.rows("Book").values_list("pk", flat=True))


def get_error(history: History, operation: Any) -> BackfillError:
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)
    return caught.value


def is_filled_in_part(history: History) -> bool:
    return "extra" in history.describe("Book")["columns"]


def test_of_the_row(history: History) -> None:
    history.apply(add(text(unique=True), Lower("title")))

    assert values(history) == [f"title {number}" for number in range(6)]


def test_f_of_the_row(history: History) -> None:
    history.apply(add(text(), F("title")))

    assert values(history) == [f"Title {number}" for number in range(6)]


def test_of_a_related_row(history: History) -> None:
    history.apply(add(text(), F("author__country")))

    assert values(history) == ["FR", "JP"] * 3


def test_function_of_a_related_row(history: History) -> None:
    history.apply(add(text(), Concat("author__country", Value("-"), "title")))

    assert values(history)[:2] == ["FR-Title 0", "JP-Title 1"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("title", [f"Title {n}" for n in range(6)]),
        ("author__country", ["FR", "JP"] * 3),
    ],
)
def test_parts_of_several_types(
    history: History, column: str, expected: list[str]
) -> None:
    """Fails if a query asks for the type of what an UPDATE takes without one."""
    populate = Coalesce(Cast(column, models.TextField()), Value("none"))

    history.apply(add(text(), populate))

    assert values(history) == expected


def test_aggregate(history: History) -> None:
    history.apply(add(models.IntegerField(), Count("review")))

    assert values(history) == [0, 0, 0, 0, 0, 2]


def test_position_within_the_parent_is_counted_over_all_batches(
    history: History,
) -> None:
    position = Window(RowNumber(), partition_by=F("author"), order_by=F("id").desc())

    history.apply(add(models.IntegerField(), position))

    assert values(history) == [3, 3, 2, 2, 1, 1]


def test_subquery_of_another_table(history: History) -> None:
    authors = history.model("Author")._base_manager.filter(pk=OuterRef("author_id"))

    history.apply(add(text(), Subquery(authors.values("country"))))

    assert values(history) == ["FR", "JP"] * 3


def test_subquery_of_the_same_table(history: History) -> None:
    first = (
        history.model("Book")
        ._base_manager.filter(author_id=OuterRef("author_id"))
        .order_by("pk")
    )

    history.apply(add(text(), Subquery(first.values("title")[:1])))

    assert values(history) == ["Title 0", "Title 1"] * 3


def test_foreign_key(history: History) -> None:
    to_author = models.ForeignKey("films.Author", models.CASCADE, related_name="+")

    history.apply(add(to_author, F("author")))

    assert values(history) == list(
        history.rows("Book").values_list("author_id", flat=True)
    )


def test_case_for_some_rows_of_a_nullable_field(history: History) -> None:
    history.apply(add(text(null=True), NullIf("title", Value("Title 3"))))

    assert values(history)[2:5] == ["Title 2", None, "Title 4"]


def test_null_is_refused(history: History) -> None:
    key = get_keys(history)[3]

    error = get_error(history, add(text(), NullIf("title", Value("Title 3"))))

    reason = "NullIf(F(title), Value('Title 3')) gave no value (NULL)"
    assert error.rows == [BadRow(key, reason)]
    assert str(error).startswith(
        f"films.Book.extra could not be filled in some rows:\n  1 row: {reason} "
        f"(pk {key})\n"
    )


def test_null_in_all_rows_is_refused_before_any_change(history: History) -> None:
    error = get_error(history, add(text(), NullIf("title", "title")))

    assert str(error) == (
        "films.Book.extra cannot be filled. NullIf(F(title), F(title)) failed for "
        "all 5 rows it was tried on:\n"
        "  5 rows: NullIf(F(title), F(title)) gave no value (NULL) (pk "
        f"{', '.join(map(str, get_keys(history)[:5]))})\n"
        "Nothing was changed. Fix NullIf(F(title), F(title)), then run migrate again."
    )
    assert not is_filled_in_part(history)


def test_empty_text_is_refused(history: History) -> None:
    empty = models.Case(
        models.When(title="Title 3", then=Value("")), default=F("title")
    )

    error = get_error(history, add(text(), empty))

    assert error.rows == [
        BadRow(
            get_keys(history)[3],
            "the value is an empty text, and the field is required: if it is meant, "
            "add allow_blank=True to the operation",
        )
    ]


def test_too_long_a_text_is_refused(history: History) -> None:
    long = models.Case(
        models.When(title="Title 3", then=Repeat("title", 10)), default=F("title")
    )

    error = get_error(history, add(text(), long))

    assert [row.pk for row in error.rows] == [get_keys(history)[3]]


def test_rows_with_refused_values_are_filled_by_the_next_run(history: History) -> None:
    field = text(choices=[(f"Title {number}", "") for number in range(5)])
    get_error(history, add(field, F("title")))

    history.apply(add(text(), Lower("title")))

    assert values(history)[5] == "title 5"


def test_rows_that_share_a_value_are_numbered(history: History) -> None:
    history.apply(
        AddFieldWithBackfill(
            "Book",
            "extra",
            text(unique=True),
            F("author__country"),
            deduplicate=safefield.numbered,
            batch_size=2,
        )
    )

    assert values(history) == ["FR", "JP", "FR-2", "JP-2", "FR-3", "JP-3"]


def test_value_that_is_no_choice_is_refused(history: History) -> None:
    field = text(choices=[(f"Title {number}", "") for number in range(5)])

    error = get_error(history, add(field, F("title")))

    assert [row.pk for row in error.rows] == [get_keys(history)[5]]
    assert error.rows[0].reason == (
        "F(title) gave a value that is not one of the choices"
    )


def test_unknown_name_is_refused_before_any_change(history: History) -> None:
    error = get_error(history, add(text(), Lower("titel")))

    assert str(error).startswith(
        "films.Book.extra: Lower(F(titel)) cannot be computed: Cannot resolve keyword "
    )
    assert not is_filled_in_part(history)


def test_only_rows_without_a_value_are_filled(history: History) -> None:
    history.apply(migrations.AddField("Book", "extra", text(null=True)))
    history.rows("Book").filter(Q(title="Title 1")).update(extra="kept")

    history.apply(
        AlterFieldWithBackfill("Book", "extra", text(), Lower("title"), batch_size=2)
    )

    assert values(history)[:3] == ["title 0", "kept", "title 2"]


def test_windows_count_rows_that_have_a_value_already(history: History) -> None:
    history.apply(migrations.AddField("Book", "extra", models.IntegerField(null=True)))
    history.rows("Book").filter(title="Title 0").update(extra=99)

    history.apply(
        AlterFieldWithBackfill(
            "Book", "extra", models.IntegerField(), Window(RowNumber(), order_by="id")
        )
    )

    assert values(history) == [99, 2, 3, 4, 5, 6]


def test_there_and_back(history: History) -> None:
    before = history.describe("Book")

    history.apply(add(text(), Lower("title")))
    history.unapply()

    assert history.describe("Book") == before


@on_servers
def test_row_that_another_session_holds(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if the update waits for it with its own rows locked (E2).
    history = History(alias)
    history.apply(AUTHOR, BOOK)
    author = history.rows("Author").create(country="FR")
    for number in range(4):
        history.rows("Book").create(author_id=author.pk, title=f"Title {number}")
    with Session(history.connection) as session:
        pauses = []

        def let_go(seconds: float = 0) -> None:
            pauses.append(seconds)
            if len(pauses) == 1:
                session.execute("COMMIT")

        monkeypatch.setattr(Locks, "sleep", staticmethod(let_go))
        # For an update that never gives way.
        timer = threading.Timer(15, let_go)

        def hold(execute: Any, sql: str, *arguments: Any) -> Any:
            if sql.startswith("UPDATE") and not timer.is_alive() and not pauses:
                session.execute("BEGIN")
                session.execute("UPDATE films_book SET title = 'New' WHERE id = 3")
                timer.start()
            return execute(sql, *arguments)

        with history.connection.execute_wrapper(hold):
            history.apply(add(text(), Lower("title")))
        timer.cancel()

    assert values(history) == ["title 0", "title 1", "new", "title 3"]
    assert pauses[0] > 0
