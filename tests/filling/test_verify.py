"""Rows that the final constraints would refuse."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import Case, Value, When
from django.db.models.functions import Cast
from django.test.utils import CaptureQueriesContext
from django.utils.text import slugify

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.films import MOVIE as FILM
from tests.support.films import load_films, read_films
from tests.support.history import History
from tests.support.movies import add_slug, create_movies, values

pytestmark = [pytest.mark.newest, pytest.mark.edges]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def is_rolled_back(history: History) -> bool:
    return history.connection.vendor == "sqlite" or (
        history.connection.features.can_rollback_ddl and history.atomic
    )


def test_duplicates_then_fixed(history: History) -> None:
    create_movies(history, 7)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug(populate=populate_by_decade))

    kept = (
        "Nothing was changed."
        if is_rolled_back(history)
        else "The other rows keep their values, and these are NULL again."
    )
    assert str(caught.value) == (
        "films.Movie.slug has values that its constraints would refuse:\n"
        "  5 rows: an earlier row has the same value, and the field is unique "
        "(pk 2, 3, 5, 6, 7; for example 'd0')\n"
        f"{kept} Make populate_by_decade() give each row its own value, or add "
        "deduplicate=safefield.numbered to the operation, then run migrate again."
    )
    assert [row.pk for row in caught.value.rows] == [2, 3, 5, 6, 7]
    after = history.describe("Movie")
    if not is_rolled_back(history):
        assert after["columns"].pop("slug")["null"] is True
    # Neither an index that was refused nor what stands before NOT NULL is left.
    assert after == before

    history.apply(add_slug(populate=populate_by_decade, deduplicate=safefield.numbered))

    assert values(history, "slug") == [
        "d0",
        "d0-2",
        "d0-3",
        "d1",
        "d1-2",
        "d1-3",
        "d1-4",
    ]


def test_refused_rows_are_empty_for_the_next_run(history: History) -> None:
    """Fails if refused rows keep their values: the next run would not fill them."""
    if is_rolled_back(history):
        pytest.skip("nothing that was filled is kept")
    create_movies(history, 7)

    with pytest.raises(BackfillError, match="these are NULL again"):
        history.apply(add_slug(populate=populate_by_decade))

    with history.connection.cursor() as cursor:
        cursor.execute("SELECT slug FROM films_movie ORDER BY id")
        slugs = [slug for (slug,) in cursor.fetchall()]
    assert slugs == ["d0", None, None, "d1", None, None, None]


class Hand:
    """Cards, which know not that they are those of an equal hand."""

    def __init__(self, cards: str) -> None:
        self.cards = cards


class HandField(models.CharField):
    """The field of Django's how-to on fields of one's own."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Hand(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.cards if isinstance(value, Hand) else value


def test_refused_rows_of_objects_are_empty_for_the_next_run(history: History) -> None:
    """Fails if values are compared by a class that does not know which are equal."""
    if is_rolled_back(history):
        pytest.skip("nothing that was filled is kept")
    create_movies(history, 3)

    def add(populate: Any) -> AddFieldWithBackfill:
        field = HandField(max_length=9, unique=True)
        return AddFieldWithBackfill("Movie", "hand", field, populate)

    with pytest.raises(BackfillError, match="these are NULL again"):
        history.apply(add(lambda movie: "ace"))
    history.apply(add(lambda movie: f"{movie.pk}"))

    hands = [movie.hand.cards for movie in history.rows("Movie")]
    assert hands == ["ace", "2", "3"]


def test_all_reasons_are_in_one_error(history: History) -> None:
    create_movies(history, 3)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "code",
                models.CharField(max_length=20, unique=True),
                Case(When(pk=3, then=Value("")), default=Value("same")),
            )
        )

    assert str(caught.value).splitlines()[1:-1] == [
        "  1 row: the value is an empty text, and the field is required: if it is "
        "meant, add allow_blank=True to the operation (pk 3)",
        "  1 row: an earlier row has the same value, and the field is unique "
        "(pk 2: 'same')",
    ]


def slug_of_title(movie: Any) -> str:
    return slugify(movie.title)


def populate_by_decade(movie: Any) -> str:
    return f"d{min(movie.year - 1900, 5) // 3}"


def test_key_that_points_nowhere(history: History) -> None:
    create_movies(history, 7)
    history.rows("Studio").create(pk=1, name="One")
    is_checked_at_once = history.connection.vendor == "mysql"

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "studio",
                models.ForeignKey("films.Studio", models.CASCADE),
                lambda movie: 1 if movie.year < 1906 else 99,
            )
        )

    assert [row.pk for row in caught.value.rows] == [7]
    if not is_checked_at_once:
        assert (
            "  1 row: there is no films.Studio with this key (pk 7: 99)"
            in str(caught.value).splitlines()
        )


def test_check_constraint_that_names_the_field(history: History) -> None:
    """
    Fails if one that does not name it is judged too, or one that a NULL leaves open.

    The database has none of them, so that nobody but safefield looks.
    """
    create_movies(history, 7)
    number = models.IntegerField(null=True)
    columns = [migrations.AddField("Movie", name, number) for name in ("most", "rank")]
    conditions = {
        "rank_from_3": models.Q(rank__gte=3),
        "most_is_large": models.Q(most__gte=1_000),
        "rank_up_to_most": models.Q(rank__lte=models.F("most")),
    }
    history.apply(
        migrations.SeparateDatabaseAndState(
            state_operations=[
                *columns,
                *(
                    migrations.AddConstraint(
                        "Movie", models.CheckConstraint(condition=condition, name=name)
                    )
                    for name, condition in conditions.items()
                ),
            ],
            database_operations=columns,
        )
    )
    # Nothing is known of the rank of the others, so that it is not above.
    history.rows("Movie").filter(pk__in=[4, 7]).update(most=5)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "rank", models.IntegerField(), lambda movie: movie.year - 1900
            )
        )

    assert str(caught.value).split("\n")[1:-1] == [
        "  3 rows: the check constraint rank_from_3 is broken "
        "(pk 1, 2, 3; for example 0)",
        "  1 row: the check constraint rank_up_to_most is broken (pk 7: 6)",
    ]
    assert [row.pk for row in caught.value.rows] == [1, 2, 3, 7]
    ranks = values(history, "rank")
    assert ranks == (
        [None] * 7 if is_rolled_back(history) else [None] * 3 + [3, 4, 5, None]
    )


def test_a_race_is_told_by_rows(postgresql_alias: str) -> None:
    history = History(postgresql_alias)
    create_movies(history, 3)

    def populate(movie: Any) -> str:
        return slugify(movie.title)

    def write_twice(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("CREATE UNIQUE INDEX"):
            with history.connection.cursor() as cursor:
                cursor.cursor.execute("UPDATE films_movie SET slug = 'a' WHERE id < 3")
        return execute(sql, *arguments)

    with (
        history.connection.execute_wrapper(write_twice),
        pytest.raises(BackfillError) as caught,
    ):
        history.apply(add_slug(populate=populate))

    assert [row.pk for row in caught.value.rows] == [2]
    assert "duplicate key value" in str(caught.value.__cause__) or (
        "could not create unique index" in str(caught.value.__cause__)
    )

    history.apply(add_slug(populate=populate))

    assert values(history, "slug") == ["a", "film-number-1", "film-number-2"]


@pytest.mark.thorough_on("mariadb", "mysql")
def test_films_with_short_slugs_are_told_in_one_error(alias: str) -> None:
    history = History(alias)
    history.apply(FILM)
    load_films(history)
    before = history.describe("Movie"), read_films(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "slug", models.SlugField(unique=True), slug_of_title
            )
        )

    # Of the 3,183 rows that collide, one is among the 72 that are too long: the
    # second "The Englishman Who Went Up a Hill but Came Down a Mountain".
    head, *lines, advice = str(caught.value).split("\n")
    assert head == "films.Movie.slug could not be filled in some rows:"
    assert [line.split(" (pk ")[0] for line in lines] == [
        "  72 rows: slug_of_title() gave a bad value: Ensure this value has at most 50 "
        "characters.",
        "  3,182 rows: an earlier row has the same value, and the field is unique",
    ]
    assert advice.endswith(
        " Fix slug_of_title(). Make slug_of_title() give each row its own value, or "
        "add deduplicate=safefield.numbered to the operation, then run migrate again."
    )
    assert len(caught.value.rows) == 1_000
    assert read_films(history) == before[1]


class DateInTextField(models.DateField):
    """A date kept in a column for texts, as fields that encrypt do it."""

    def get_internal_type(self) -> str:
        return "TextField"

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        value = value if prepared else self.get_prep_value(value)
        return None if value is None else value.isoformat()


# Fails if the field is asked to convert the empty text that is looked for.
def test_column_for_texts_of_a_field_that_takes_none(history: History) -> None:
    create_movies(history)

    history.apply(
        AddFieldWithBackfill(
            "movie",
            "released",
            DateInTextField(),
            lambda movie: dt.date(1950, 1, movie.pk),
        )
    )

    texts = history.rows("Movie").values_list(
        Cast("released", models.TextField()), flat=True
    )
    assert list(texts[:2]) == ["1950-01-01", "1950-01-02"]


def alter_rank(
    history: History, *constraints: models.CheckConstraint, rank: Any
) -> None:
    """Alter `rank` while its table has constraints of the state alone."""
    history.apply(
        migrations.AddField("Movie", "rank", models.IntegerField(null=True)),
        migrations.AddField("Movie", "most", models.IntegerField(null=True)),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint("Movie", constraint)
                for constraint in constraints
            ]
        ),
    )
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET most = 5 WHERE id <> 2")
    history.apply(AlterFieldWithBackfill("Movie", "rank", models.IntegerField(), rank))


@pytest.mark.parametrize(
    "condition",
    [
        models.Q(rank__lte=models.F("most")),
        models.Q(rank__lte=models.F("most")) & models.Q(year__gt=0),
        ~models.Q(rank__gt=models.F("most")),
        models.lookups.LessThanOrEqual(models.F("rank"), models.F("most")),
    ],
    ids=["compared", "both", "not", "lookup"],
)
def test_check_constraint_that_comes_to_null(history: History, condition: Any) -> None:
    # Fails if what SQL takes for unknown counts as broken.
    create_movies(history, 3)
    constraint = models.CheckConstraint(condition=condition, name="at_most")

    alter_rank(history, constraint, rank=lambda movie: 1)

    # The witness: the database takes the constraint.
    with history.connection.schema_editor() as editor:
        editor.add_constraint(history.model("Movie"), constraint)
    assert values(history, "rank") == [1, 1, 1]


def test_check_constraint_that_is_broken_where_another_is_unknown(
    history: History,
) -> None:
    # Fails if a NULL in one row hides what is broken in others.
    create_movies(history, 3)
    constraint = models.CheckConstraint(
        condition=models.Q(rank__lte=models.F("most")), name="at_most"
    )

    with pytest.raises(BackfillError) as caught:
        alter_rank(history, constraint, rank=lambda movie: 6)

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (1, "the check constraint at_most is broken"),
        (3, "the check constraint at_most is broken"),
    ]


def test_check_constraint_of_other_fields(history: History) -> None:
    # Fails if constraints are judged that do not name the field (VE6).
    create_movies(history, 3)

    alter_rank(
        history,
        models.CheckConstraint(condition=models.Q(most__lt=5), name="less"),
        rank=lambda movie: 1,
    )

    assert values(history, "rank") == [1, 1, 1]


@pytest.mark.parametrize("populate", [lambda movie: "", Value("")])
def test_empty_text_that_is_the_default(history: History, populate: Any) -> None:
    # Fails if it is refused (VE7).
    create_movies(history, 3)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "note", models.CharField(max_length=5, default=""), populate
        )
    )

    assert values(history, "note") == ["", "", ""]


@pytest.mark.parametrize("by", ["function", "expression"])
def test_text_of_blanks_is_no_empty_text(history: History, by: str) -> None:
    # Fails if a collation that pads texts says what is empty.
    create_movies(history, 3)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "note",
            models.CharField(max_length=5),
            (lambda movie: "  ") if by == "function" else Value("  "),
        ),
        AddFieldWithBackfill("Movie", "other", models.TextField(), lambda movie: " "),
    )

    assert values(history, "note") == ["  "] * 3
    assert values(history, "other") == [" "] * 3


@pytest.mark.parametrize("by", ["function", "expression"])
def test_unique_together_that_is_there(history: History, by: str) -> None:
    # Fails if the rows that the database refuses are not told.
    create_movies(history, 3)
    history.apply(
        migrations.AddField("Movie", "slug", models.CharField(max_length=9, null=True)),
        migrations.AlterUniqueTogether("Movie", {("title", "slug")}),
    )
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_movie SET title = 'same'")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.CharField(max_length=9),
                (lambda movie: "x") if by == "function" else Value("x"),
            )
        )

    reason = "the database refused it: a value is there twice (UNIQUE)"
    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, reason),
        (3, reason),
    ]


LONG = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(100))


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize(
    ("field", "deduplicate"),
    [
        (models.TextField(unique=True), None),
        (models.TextField(unique=True), safefield.numbered),
        (models.TextField(db_index=True), None),
        (models.CharField(max_length=9_000, db_index=True), None),
    ],
    ids=["unique", "numbered", "indexed text", "indexed char"],
)
@pytest.mark.parametrize("by", ["function", "expression"])
def test_too_long_for_an_index(
    postgresql_alias: str, field: Any, deduplicate: Any, atomic: bool, by: str
) -> None:
    # Fails if the row is not named, or not empty when the function is fixed.
    history = History(postgresql_alias, atomic=atomic)
    create_movies(history, 4)

    def populate(movie: Any) -> str:
        # What compresses well is no trouble.
        return {2: LONG, 3: "y" * 5_000, 4: LONG + "z"}.get(movie.pk, "x")

    expression = Case(
        When(pk=2, then=Value(LONG)),
        When(pk=3, then=Value("y" * 5_000)),
        When(pk=4, then=Value(LONG + "z")),
        default=Value("x"),
    )

    def add(values: Any) -> AddFieldWithBackfill:
        return AddFieldWithBackfill(
            "Movie", "url", field, values, deduplicate=deduplicate
        )

    with pytest.raises(BackfillError) as caught:
        history.apply(add(populate if by == "function" else expression))

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, "a value is too long for an index"),
        (4, "a value is too long for an index"),
    ]
    if not atomic:
        assert read_urls(history) == ["x", None, "y" * 5_000, None]

    history.apply(add(lambda movie: f"short {movie.pk}"))

    assert read_urls(history)[1::2] == ["short 2", "short 4"]


def read_urls(history: History) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT url FROM films_movie ORDER BY id")
        return [url for (url,) in cursor.fetchall()]


def test_too_long_for_an_index_that_is_there(postgresql_alias: str) -> None:
    # Fails if the row is not named.
    history = History(postgresql_alias)
    create_movies(history, 3)
    history.apply(
        migrations.AddField("Movie", "url", models.TextField(null=True, unique=True))
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie",
                "url",
                models.TextField(unique=True),
                lambda movie: LONG if movie.pk == 2 else str(movie.pk),
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (2, "the database refused it: a value is too long for an index")
    ]


def test_a_column_that_the_server_has_not(mysql_alias: str) -> None:
    # Fails if it is found out by a traceback, or when all is filled.
    history = History(mysql_alias)
    create_movies(history, 3)
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "url",
                models.CharField(max_length=17_000, db_index=True),
                lambda movie: "x",
            )
        )

    assert str(caught.value) == (
        "films.Movie.url cannot be as it is to end: the database refuses a column of "
        "type varchar(17000) with an index: Column length too big for column 'c' (max "
        "= 16383); use BLOB or TEXT instead. Make max_length smaller, or the index one "
        "that the database has, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


def test_resuming_counts_only_for_who_listens(
    postgresql_alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Fails if the whole table is counted before a resumed run begins.
    history = History(postgresql_alias)
    create_movies(history, 3)
    with pytest.raises(BackfillError):
        history.apply(add_slug(populate=lambda movie: {1: "a"}[movie.pk]))

    with (
        caplog.at_level("WARNING", "safefield"),
        CaptureQueriesContext(history.connection) as queries,
        pytest.raises(BackfillError),
    ):
        history.apply(add_slug(populate=lambda movie: {1: "a"}[movie.pk]))
    assert [q["sql"] for q in queries if "COUNT(*)" in q["sql"]] == []

    with caplog.at_level("INFO", "safefield"), pytest.raises(BackfillError):
        history.apply(add_slug(populate=lambda movie: {1: "a"}[movie.pk]))
    assert (
        "Resuming films.Movie.slug: 1 of 3 rows are filled. Rows that have a value "
        "keep it."
    ) in caplog.messages
