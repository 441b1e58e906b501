"""An alteration of the type keeps each value that is there, or is refused by row."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import migrations, models

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History

ID = ("id", models.BigAutoField(primary_key=True))
MOMENT = datetime(2020, 1, 2, 3, 4, 5, 6, timezone.utc)
MIDNIGHT = datetime(2020, 1, 2, tzinfo=timezone.utc)


def char(length: int) -> Any:
    return models.CharField(max_length=length, null=True)


def decimal(digits: int, places: int) -> Any:
    return models.DecimalField(max_digits=digits, decimal_places=places, null=True)


#: Before and after; a value that stays as it is, and one that would not.
NARROWER = {
    "text-char": (models.TextField(null=True), char(5), "abc", "abcdefgh"),
    "char-char": (char(50), char(5), "abc", "abcdefgh"),
    "char-char, blanks": (char(50), char(5), "abc", "abc   "),
    "decimal-decimal": (
        decimal(10, 4),
        decimal(8, 2),
        Decimal("1.23"),
        Decimal("1.2345"),
    ),
    "decimal-decimal, digits": (
        decimal(10, 2),
        decimal(5, 2),
        Decimal("1.23"),
        Decimal("12345.67"),
    ),
    "float-integer": (
        models.FloatField(null=True),
        models.IntegerField(null=True),
        2.0,
        1.5,
    ),
    "float-decimal": (models.FloatField(null=True), decimal(10, 2), 0.5, 1 / 3),
    "decimal-integer": (
        decimal(10, 2),
        models.IntegerField(null=True),
        Decimal("2.00"),
        Decimal("2.50"),
    ),
    "integer-smallint": (
        models.IntegerField(null=True),
        models.SmallIntegerField(null=True),
        7,
        70_000,
    ),
    "integer-positive": (
        models.IntegerField(null=True),
        models.PositiveIntegerField(null=True),
        7,
        -7,
    ),
    "integer-boolean": (
        models.IntegerField(null=True),
        models.BooleanField(null=True),
        1,
        5,
    ),
    "integer-char": (models.IntegerField(null=True), char(2), 12, 123),
    "char-integer": (char(20), models.IntegerField(null=True), "7", "seven"),
    "char-integer, zeros": (char(20), models.IntegerField(null=True), "7", "007"),
    "char-decimal": (char(20), decimal(5, 2), "1.25", "1.255"),
    "char-uuid": (
        char(36),
        models.UUIDField(null=True),
        "0" * 31 + "a",
        "not a uuid",
    ),
    "text-json": (models.TextField(null=True), models.JSONField(null=True), "[1]", "["),
}
#: These two have no value that stays on SQLite, which leaves the text of the other.
MOMENTS = {
    "datetime-date": (
        models.DateTimeField(null=True),
        models.DateField(null=True),
        MIDNIGHT,
        MOMENT,
    ),
    "datetime-time": (
        models.DateTimeField(null=True),
        models.TimeField(null=True),
        None,
        MOMENT,
    ),
}

#: Before and after, what is there, and how the new field reads it.
WIDER = {
    "char-char": (char(5), char(50), "abcde", "abcde"),
    "char-text": (char(5), models.TextField(null=True), "abcde", "abcde"),
    "integer-bigint": (
        models.IntegerField(null=True),
        models.BigIntegerField(null=True),
        2**31 - 1,
        2**31 - 1,
    ),
    "integer-float": (
        models.IntegerField(null=True),
        models.FloatField(null=True),
        2**31 - 1,
        float(2**31 - 1),
    ),
    "integer-char": (models.IntegerField(null=True), char(11), -12, "-12"),
    "decimal-decimal": (
        decimal(5, 2),
        decimal(9, 4),
        Decimal("123.45"),
        Decimal("123.4500"),
    ),
    "decimal-float": (
        decimal(5, 2),
        models.FloatField(null=True),
        Decimal("0.10"),
        0.1,
    ),
    "date-datetime": (
        models.DateField(null=True),
        models.DateTimeField(null=True),
        date(2020, 1, 2),
        MIDNIGHT,
    ),
    "json-text": (
        models.JSONField(null=True),
        models.TextField(null=True),
        {"a": [1, "b"]},
        {"a": [1, "b"]},
    ),
    "json-text, a text": (
        models.JSONField(null=True),
        models.TextField(null=True),
        "5",
        "5",
    ),
}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def create(history: History, field: Any, *values: Any) -> None:
    history.apply(migrations.CreateModel("Movie", [ID, ("code", field.clone())]))
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=n, code=value) for n, value in enumerate(values, 1)
    )


def read(history: History) -> list[Any]:
    """Return the column as Django reads it."""
    return list(history.rows("Movie").values_list("code", flat=True))


def alter(field: Any, value: Any) -> AlterFieldWithBackfill:
    field = field.clone()
    field.null = False
    return AlterFieldWithBackfill("Movie", "code", field, lambda movie: value)


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("name", [*NARROWER, *MOMENTS])
def test_value_that_would_be_another(alias: str, name: str) -> None:
    """Fails if the type is changed before each value was compared."""
    history = History(alias)
    old, new, kept, changed = {**NARROWER, **MOMENTS}[name]
    if name == "char-uuid" and history.connection.vendor == "postgresql":
        kept = str(UUID(kept))
    create(history, old, None, kept, changed, None)
    before = history.describe("Movie"), read(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(new, kept))

    # SQLite leaves a text that the new field could not read as a date.
    is_kept = not (name in MOMENTS and history.connection.vendor == "sqlite")
    assert {row.pk for row in caught.value.rows} - ({2} if not is_kept else set()) == {
        3
    }
    assert "Nothing was changed." in str(caught.value)
    assert (history.describe("Movie"), read(history)) == before


@pytest.mark.parametrize("name", NARROWER)
def test_value_that_stays(alias: str, name: str) -> None:
    history = History(alias)
    old, new, kept, _ = NARROWER[name]
    create(history, old, kept, None)
    value = new.to_python(kept) if name != "text-json" else json.loads(kept)

    history.apply(alter(new, value))

    assert read(history) == [value, value]
    assert history.describe("Movie")["columns"]["code"]["null"] is False
    history.unapply()
    assert history.describe("Movie")["columns"]["code"]["null"] is True
    back = read(history)[0]
    if name == "char-uuid":
        assert UUID(back) == UUID(kept)
    else:
        assert back == kept


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("name", WIDER)
def test_wider_type(alias: str, name: str) -> None:
    history = History(alias)
    old, new, value, expected = WIDER[name]
    create(history, old, value, None)

    is_json = name.startswith("json-text")
    history.apply(alter(new, json.dumps(value) if is_json else expected))

    found = read(history)[0]
    assert (json.loads(found) if is_json else found) == expected
    if name == "date-datetime" and history.connection.vendor == "sqlite":
        # Of the text of a moment DateField reads nothing.
        with pytest.raises(BackfillError):
            history.unapply()
        return
    history.unapply()
    assert read(history)[0] == value


def test_message(history: History) -> None:
    create(history, models.TextField(null=True), None, "abcdefgh", "ok", "xyzxyz")

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(char(5), "new"))

    text = {
        "sqlite": ("the new type does not take the value", "'abcdefgh'"),
        "postgresql": ("the value would be another", "'abcdefgh' would become 'abcde'"),
        "mysql": ("the new type does not take the value", "'abcdefgh'"),
    }[history.connection.vendor]
    assert str(caught.value) == (
        "films.Movie.code cannot be altered: in its new type, varchar(5), values would "
        "not be the same:\n"
        f"  2 rows: {text[0]} (pk 2, 4; for example {text[1]})\n"
        "Nothing was changed. Change these values or the type of the field, then run "
        "migrate again."
    )


def test_difference_is_seen(history: History) -> None:
    """Fails if a message shows the same text for what was and what would be."""
    create(history, models.IntegerField(null=True), None, 2)
    with pytest.raises(BackfillError) as caught:
        history.apply(alter(models.BooleanField(), True))
    shown = {
        "sqlite": "2 would become False",
        "postgresql": "2 would become True",
        "mysql": "2",
    }[history.connection.vendor]
    assert caught.value.rows[0].detail == shown


def test_end_that_is_not_shown(history: History) -> None:
    create(history, char(100), None, "a" * 90)

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(char(70), "new"))

    shown = f"'{'a' * 58}…"
    if history.connection.vendor == "postgresql":
        shown += ", 90 characters, would become 70 characters"
    assert [row.detail for row in caught.value.rows] == [shown]


def test_values_are_not_shown(history: History, settings: Any) -> None:
    settings.SAFEFIELD = {"SHOW_VALUES": False}
    create(history, models.TextField(null=True), None, "secretive")

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(char(5), "new"))

    assert "secret" not in str(caught.value) + str(caught.value.rows)


def test_way_back_is_narrower(history: History) -> None:
    """Fails if only the way forwards is compared."""
    create(history, char(5), "abc", None)
    history.apply(alter(models.TextField(null=True), "a longer one"))
    before = history.describe("Movie"), read(history)

    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert [row.pk for row in caught.value.rows] == [2]
    assert (history.describe("Movie"), read(history)) == before
    history.rows("Movie").filter(id=2).update(code="short")
    history.unapply()
    assert read(history) == ["abc", "short"]


def test_first_of_two_phases(history: History) -> None:
    create(history, char(50), "abcdefgh", None)
    new = models.CharField(max_length=5, null=True, unique=True)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill("Movie", "code", new, lambda movie: str(movie.pk))
        )

    assert [row.pk for row in caught.value.rows] == [1]
    assert read(history) == ["abcdefgh", None]


@pytest.mark.thorough("mysql")
def test_many_rows_and_other_keys(history: History) -> None:
    """Fails if pages are bounded by another key than the one they are read by."""
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("pk", models.CompositePrimaryKey("year", "name")),
                ("year", models.IntegerField()),
                ("name", models.CharField(max_length=20)),
                ("code", char(50)),
            ],
        )
    )
    history.rows("Movie").bulk_create(
        history.model("Movie")(year=n, name=f"film {n}'", code="x" * (n // 300))
        for n in range(2500)
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(char(5), "new"))

    assert len(caught.value.rows) == 700
    assert caught.value.rows[0].pk == (1800, "film 1800'")


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (
            ["CREATE VIEW codes AS SELECT id, code FROM films_movie"],
            "cannot alter type of a column used by a view or rule (rule _RETURN on "
            'view codes depends on column "code")',
        ),
        (
            [
                "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RETURN NEW; END $$",
                "CREATE TRIGGER codes BEFORE UPDATE OF code ON films_movie "
                "FOR EACH ROW EXECUTE FUNCTION look()",
            ],
            "cannot alter type of a column used in a trigger definition (trigger codes "
            'on table films_movie depends on column "code")',
        ),
        (
            ["CREATE POLICY codes ON films_movie USING (code <> 'x')"],
            "cannot alter type of a column used in a policy definition (policy codes "
            'on table films_movie depends on column "code")',
        ),
    ],
    ids=["view", "trigger", "policy"],
)
def test_something_needs_the_column(
    history: History, statements: list[str], named: str
) -> None:
    """Fails if the error of the driver comes through."""
    create(history, char(50), "abc", None)
    history.execute(*statements)
    before = history.describe("Movie"), read(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(char(80), "new"))

    assert str(caught.value) == (
        "films.Movie.code cannot be altered: the database refused the new definition "
        f"of column code. It said: {named}. Drop what needs the column in a migration "
        "before this one, create it again in one after it, then run migrate again. No "
        "value was changed."
    )
    assert (history.describe("Movie"), read(history)) == before
    # Without a new type nothing stands in the way.
    history.apply(alter(char(50), "new"))
    assert read(history) == ["abc", "new"]


@pytest.mark.parametrize("alias", ["mariadb", "mysql"], indirect=True)
def test_collation_in_which_values_meet(history: History) -> None:
    """Fails if the error of the driver comes through."""
    create(
        history,
        models.CharField(
            max_length=50, unique=True, null=True, db_collation="utf8mb4_bin"
        ),
        "abc",
        "ABC",
        None,
    )
    before = history.describe("Movie"), read(history)
    new = models.CharField(
        max_length=50, unique=True, db_collation="utf8mb4_general_ci"
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(new, "new"))

    assert "the database refused the new definition of column code" in str(caught.value)
    assert (history.describe("Movie"), read(history)) == before


def test_time_of_day_is_another_type(history: History) -> None:
    create(history, models.TimeField(null=True), time(3, 4), None)

    history.apply(alter(char(20), "05:06:00"))

    assert read(history)[0].startswith("03:04:00")


@pytest.mark.parametrize("is_binary", [False, True])
def test_bytes_are_no_text(alias: str, is_binary: bool) -> None:
    """Fails if SQLite may leave what it has in a column of the other type."""
    fields: list[Any] = [models.TextField(null=True), models.BinaryField(null=True)]
    values = ["abc", b"abc"]
    history = History(alias)
    create(history, fields[is_binary], values[is_binary])

    with pytest.raises(BackfillError) as caught:
        history.apply(alter(fields[not is_binary], values[not is_binary]))

    assert [row.pk for row in caught.value.rows] == [1]
    assert read(history) == [values[is_binary]]
