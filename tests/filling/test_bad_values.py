"""Bad values: each is refused, on every database alike, for one reason."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import traceback
import uuid
from io import BytesIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.validators import FileExtensionValidator, MinLengthValidator
from django.db import migrations, models
from django.test import override_settings

from safefield import BackfillError, BadRow
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

pytestmark = [pytest.mark.newest, pytest.mark.edges]

STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True))]
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=200)),
    ],
)
BLANK = (
    "it is an empty text, and the field is required: if it is meant, add "
    "allow_blank=True to the operation"
)
UTC = dt.timezone.utc


class Color(enum.Enum):
    RED = "r"


NOON = dt.datetime(2026, 1, 2, 12, 0)


def text(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=10, **options)


def money() -> models.DecimalField[Any, Any]:
    return models.DecimalField(max_digits=5, decimal_places=2)


def to_studio() -> models.ForeignKey[Any, Any]:
    return models.ForeignKey("films.Studio", models.CASCADE)


#: The field, a value that it takes, one that it does not, why, and how that is shown.
#: A function of apps gives a value.
CASES: dict[str, tuple[Any, Any, Any, str, str]] = {
    "plain enum": (
        text(),
        "x",
        Color.RED,
        "it is a member of Color: give its .value",
        "<Color.RED: 'r'>",
    ),
    "fraction of a decimal for an integer": (
        models.IntegerField(),
        1,
        decimal.Decimal("1.5"),
        "it is a Decimal that is not a whole number; give round() of it",
        "Decimal('1.5')",
    ),
    "text for a duration that is one": (
        models.DurationField(),
        dt.timedelta(1),
        "1 02:03:04",
        "it is of type str; give a datetime.timedelta",
        "'1 02:03:04'",
    ),
    "blanks around an IP address": (
        models.GenericIPAddressField(),
        "1.2.3.4",
        " 1.2.3.4 ",
        "it has blanks around it; give strip() of it",
        "' 1.2.3.4 '",
    ),
    "object for an IP address": (
        models.GenericIPAddressField(),
        "1.2.3.4",
        ipaddress.ip_address("1.2.3.4"),
        "it is of type IPv4Address; give str() of it",
        "IPv4Address('1.2.3.4')",
    ),
    "empty IP address": (
        models.GenericIPAddressField(),
        "1.2.3.4",
        "",
        "the field makes NULL of it, and is required",
        "''",
    ),
    "number for a file": (
        models.FileField(),
        "a.txt",
        5,
        "it is of type int; give the name of a saved file",
        "5",
    ),
    "file that is not saved": (
        models.FileField(),
        "a.txt",
        File(BytesIO(b"x"), name="a.txt"),
        "it is of type File; give the name of a saved file",
        "<File: a.txt>",
    ),
    "None for a file": (
        models.FileField(),
        "a.txt",
        None,
        "it is None, and the field is required",
        "",
    ),
    "name of a file that is too long": (
        models.FileField(max_length=5),
        "a.txt",
        "aa.txt",
        "it has more than 5 characters",
        "'aa.txt'",
    ),
    "NUL in the name of a file": (
        models.FileField(),
        "a.txt",
        "a\0",
        "it has a NUL character",
        "'a\\x00'",
    ),
    "extension of a file": (
        models.FileField(validators=[FileExtensionValidator(["txt"])]),
        "a.txt",
        "a.pdf",
        "File extension “pdf” is not allowed. Allowed extensions are: txt.",
        "'a.pdf'",
    ),
    "infinite float for a text": (
        text(),
        "x",
        float("nan"),
        "it is of type float, not a text: give str() of it if that is meant",
        "nan",
    ),
    "exception for a text": (
        text(),
        "x",
        ValueError("q"),
        "it is of type ValueError, not a text: give str() of it if that is meant",
        "ValueError('q')",
    ),
    "bytearray for a text": (
        text(),
        "x",
        bytearray(b"x"),
        "it is of type bytes; decode it to a text",
        "bytearray(b'x')",
    ),
    "before the year 1": (
        models.DateTimeField(),
        NOON.replace(tzinfo=UTC),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        "in UTC it is not between the years 1 and 9999",
        "datetime.datetime(1, 1, 1, 0, 0, tzinfo=datetime.timezone(d…",
    ),
    "after the year 9999": (
        models.DateTimeField(),
        NOON.replace(tzinfo=UTC),
        dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-dt.timedelta(hours=1))),
        "in UTC it is not between the years 1 and 9999",
        "datetime.datetime(9999, 12, 31, 23, 0, tzinfo=datetime.time…",
    ),
    "float with too many digits": (
        money(),
        decimal.Decimal(1),
        1234.5,
        "Ensure that there are no more than 5 digits in total.",
        "1234.5",
    ),
    "function in JSON": (
        models.JSONField(),
        {"a": 1},
        {"a": len},
        "Value must be valid JSON.",
        "{'a': <built-in function len>}",
    ),
    "value of another type in JSON": (
        models.JSONField(),
        {"a": 1},
        models.Value("x"),
        "it is an expression, which only the database can compute",
        "Value('x')",
    ),
    "None for a required text": (
        text(),
        "x",
        None,
        "it is None, and the field is required",
        "",
    ),
    "empty text": (text(), "x", "", BLANK, "''"),
    "too long": (
        text(),
        "x",
        "x" * 70,
        "Ensure this value has at most 10 characters.",
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
    ),
    "not editable, too long": (
        text(editable=False),
        "x",
        "x" * 11,
        "Ensure this value has at most 10 characters.",
        "'xxxxxxxxxxx'",
    ),
    "bytes for a text": (
        text(),
        "x",
        b"x",
        "it is of type bytes; decode it to a text",
        "b'x'",
    ),
    "dict for a text": (
        text(),
        "x",
        {"a": 1},
        "it is of type dict, not a text",
        "{'a': 1}",
    ),
    "list for a text": (text(), "x", ["a"], "it is of type list, not a text", "['a']"),
    "NUL in a text": (text(), "x", "a\0b", "it has a NUL character", "'a\\x00b'"),
    "half a surrogate pair": (
        text(),
        "x",
        "\ud800",
        "it has half of a surrogate pair, which UTF-8 cannot store",
        "'\\ud800'",
    ),
    "instance for a text": (
        text(),
        "x",
        lambda apps: apps.get_model("films", "Studio")(pk=1),
        "it is an instance of films.Studio, and the field is not a relation",
        "<Studio: Studio object (1)>",
    ),
    "not a choice": (
        text(choices=[("a", "A")]),
        "a",
        "b",
        "the value is not a valid choice.",
        "'b'",
    ),
    "not editable, not a choice": (
        text(choices=[("a", "A")], editable=False),
        "a",
        "b",
        "the value is not a valid choice.",
        "'b'",
    ),
    "not editable, empty": (
        text(editable=False),
        "a",
        "",
        BLANK,
        "''",
    ),
    "refused by a validator": (
        text(validators=[MinLengthValidator(3)]),
        "abc",
        "b",
        "Ensure this value has at least 3 characters.",
        "'b'",
    ),
    "None for a long text": (
        models.TextField(),
        "x",
        None,
        "it is None, and the field is required",
        "",
    ),
    "empty long text": (
        models.TextField(),
        "x",
        "",
        BLANK,
        "''",
    ),
    "NUL in a long text": (
        models.TextField(),
        "x",
        "a\0",
        "it has a NUL character",
        "'a\\x00'",
    ),
    "not a slug": (
        models.SlugField(),
        "x",
        "a b",
        "Enter a valid “slug” consisting of letters, numbers, underscores or hyphens.",
        "'a b'",
    ),
    "not an email address": (
        models.EmailField(),
        "a@example.com",
        "x",
        "Enter a valid email address.",
        "'x'",
    ),
    "not a URL": (
        models.URLField(),
        "https://example.com",
        "x",
        "Enter a valid URL.",
        "'x'",
    ),
    "None for an integer": (
        models.IntegerField(),
        1,
        None,
        "it is None, and the field is required",
        "",
    ),
    "text for an integer": (
        models.IntegerField(),
        1,
        "one",
        "the value must be an integer.",
        "'one'",
    ),
    "dict for an integer": (
        models.IntegerField(),
        1,
        {"a": 1},
        "the value must be an integer.",
        "{'a': 1}",
    ),
    "fraction for an integer": (
        models.IntegerField(),
        1,
        1.5,
        "it is a float that is not a whole number; give round() of it",
        "1.5",
    ),
    "infinity for an integer": (
        models.IntegerField(),
        1,
        float("inf"),
        "it is a float that is not a whole number; give round() of it",
        "inf",
    ),
    "integer above the range": (
        models.IntegerField(),
        1,
        2**31,
        "it is not between -2147483648 and 2147483647",
        "2147483648",
    ),
    "integer below the range": (
        models.IntegerField(),
        1,
        -(2**31) - 1,
        "it is not between -2147483648 and 2147483647",
        "-2147483649",
    ),
    "small integer above the range": (
        models.SmallIntegerField(),
        1,
        2**15,
        "it is not between -32768 and 32767",
        "32768",
    ),
    "big integer above the range": (
        models.BigIntegerField(),
        1,
        2**63,
        "it is not between -9223372036854775808 and 9223372036854775807",
        "9223372036854775808",
    ),
    "text for a float": (
        models.FloatField(),
        1.5,
        "x",
        "the value must be a float.",
        "'x'",
    ),
    "NaN for a float": (
        models.FloatField(),
        1.5,
        float("nan"),
        "it is not a finite number",
        "nan",
    ),
    "infinity for a float": (
        models.FloatField(),
        1.5,
        float("inf"),
        "it is not a finite number",
        "inf",
    ),
    "float NaN for a decimal": (
        money(),
        decimal.Decimal(1),
        float("nan"),
        "the value must be a decimal number.",
        "nan",
    ),
    "decimal NaN": (
        money(),
        decimal.Decimal(1),
        decimal.Decimal("NaN"),
        "the value must be a decimal number.",
        "Decimal('NaN')",
    ),
    "too many digits": (
        money(),
        decimal.Decimal(1),
        decimal.Decimal("1234.5"),
        "Ensure that there are no more than 3 digits before the decimal point.",
        "Decimal('1234.5')",
    ),
    "too many decimal places": (
        money(),
        decimal.Decimal(1),
        decimal.Decimal("1.234"),
        "Ensure that there are no more than 2 decimal places.",
        "Decimal('1.234')",
    ),
    "text for a boolean": (
        models.BooleanField(),
        True,
        "perhaps",
        "the value must be either True or False.",
        "'perhaps'",
    ),
    "dict for a boolean": (
        models.BooleanField(),
        True,
        {},
        "the value must be either True or False.",
        "{}",
    ),
    "text for a date": (
        models.DateField(),
        dt.date(2026, 1, 2),
        "soon",
        "the value has an invalid date format. It must be in YYYY-MM-DD format.",
        "'soon'",
    ),
    "no such date": (
        models.DateField(),
        dt.date(2026, 1, 2),
        "2026-02-30",
        "the value has the correct format (YYYY-MM-DD) but it is an invalid date.",
        "'2026-02-30'",
    ),
    "naive datetime": (
        models.DateTimeField(),
        NOON.replace(tzinfo=UTC),
        NOON,
        "it is a datetime without a time zone, and USE_TZ is True; give "
        "timezone.make_aware() of it",
        "datetime.datetime(2026, 1, 2, 12, 0)",
    ),
    "date for a datetime": (
        models.DateTimeField(),
        NOON.replace(tzinfo=UTC),
        NOON.date(),
        "it is a date without a time; give a datetime.datetime",
        "datetime.date(2026, 1, 2)",
    ),
    "aware time": (
        models.TimeField(),
        dt.time(12),
        dt.time(12, tzinfo=UTC),
        "it is a time with a time zone",
        "datetime.time(12, 0, tzinfo=datetime.timezone.utc)",
    ),
    "text for a duration": (
        models.DurationField(),
        dt.timedelta(1),
        "long",
        "it is of type str; give a datetime.timedelta",
        "'long'",
    ),
    "not a UUID": (
        models.UUIDField(),
        uuid.UUID(int=1),
        "x",
        "the value is not a valid UUID.",
        "'x'",
    ),
    "not an IP address": (
        models.GenericIPAddressField(),
        "192.0.2.1",
        "x",
        "Enter a valid IPv4 or IPv6 address.",
        "'x'",
    ),
    "text for bytes": (
        models.BinaryField(),
        b"x",
        "eA==",
        "it is of type str, not bytes",
        "'eA=='",
    ),
    "set for JSON": (
        models.JSONField(),
        {"a": 1},
        {1},
        "Value must be valid JSON.",
        "{1}",
    ),
    "NaN in JSON": (
        models.JSONField(),
        {"a": 1},
        [float("nan")],
        "it has a number that is not finite, which JSON cannot store",
        "[nan]",
    ),
    "NUL in JSON": (
        models.JSONField(),
        {"a": 1},
        ["a\0"],
        "it has a NUL character",
        "['a\\x00']",
    ),
    "None for a foreign key": (
        to_studio(),
        1,
        None,
        "it is None, and the field is required",
        "",
    ),
    "tuple for a foreign key": (
        to_studio(),
        1,
        (1, True),
        "it is a tuple, as get_or_create() returns: return its [0]",
        "(1, True)",
    ),
    "text for a foreign key": (
        to_studio(),
        1,
        "x",
        "the value must be an integer.",
        "'x'",
    ),
    "unsaved instance": (
        to_studio(),
        1,
        lambda apps: apps.get_model("films", "Studio")(),
        "it is an instance of films.Studio that was not saved",
        "<Studio: Studio object (None)>",
    ),
    "instance of another model": (
        to_studio(),
        1,
        lambda apps: apps.get_model("films", "Movie")(pk=1),
        "it is an instance of films.Movie, not of films.Studio",
        "<Movie: Movie object (1)>",
    ),
}


@pytest.fixture
def history(alias: str) -> History:
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Studio").create(pk=1)
    for title in ("good", "bad", "good"):
        history.rows("Movie").create(title=title)
    return history


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("case", CASES)
def test_bad_value(history: History, case: str) -> None:
    field, good, bad, reason, shown = CASES[case]
    before = history.describe("Movie")

    def value_of(movie: Any, apps: Any) -> Any:
        if movie.title == "good":
            return good
        return bad(apps) if callable(bad) else bad

    operation = AddFieldWithBackfill("Movie", "extra", field, value_of)
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    commits = history.connection.vendor != "sqlite"
    found = f": {shown}" if shown else ""
    kept = "The other rows keep their values." if commits else "Nothing was changed."
    advice = "Fix value_of()"
    if reason.startswith("it is an expression"):
        advice = "Give the expression itself as populate, in place of value_of()"
    elif reason.endswith("it is None, and the field is required"):
        advice += " (is a return missing?)"
    assert str(caught.value) == (
        f"films.Movie.extra could not be filled in some rows:\n"
        f"  1 row: value_of() gave a bad value: {reason} (pk 2{found})\n"
        f"{kept} {advice}, then run migrate again."
    )
    assert caught.value.rows == [
        BadRow(2, f"value_of() gave a bad value: {reason}", shown)
    ]
    after = history.describe("Movie")
    if not commits:
        assert after == before
        return
    column = field.get_attname_column()[1] or "extra"
    column = "extra_id" if field.is_relation else column
    assert get_filled(history, column) == [True, False, True]


def test_negative_for_a_positive_integer(history: History) -> None:
    most = 4294967295 if history.connection.vendor == "mysql" else 2147483647

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", models.PositiveIntegerField(), lambda movie: -1
            )
        )

    assert {row.reason for row in caught.value.rows} == {
        f"<lambda>() gave a bad value: it is not between 0 and {most}"
    }


def get_filled(history: History, column: str) -> list[bool]:
    """Return of each row whether it has a value."""
    with history.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT CASE WHEN {column} IS NULL THEN 0 ELSE 1 END "
            f"FROM films_movie ORDER BY id"
        )
        return [bool(row[0]) for row in cursor.fetchall()]


def fail(movie: Any) -> str:
    if movie.title == "good":
        return "good"
    raise ValueError("secret")


def test_values_are_not_shown_where_logs_must_not_hold_them(
    history: History, settings: Any
) -> None:
    settings.SAFEFIELD = {"SHOW_VALUES": False}

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "extra", text(), fail))

    assert caught.value.rows == [BadRow(2, "fail() raised ValueError")]
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_what_populate_raised_is_shown(history: History) -> None:
    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "extra", text(), fail))

    assert caught.value.rows == [BadRow(2, "fail() raised ValueError", "secret")]
    # As `migrate --traceback` shows it: the line of the function is in it.
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise ValueError("secret")\nValueError: secret\n' in shown


def test_details_of_postgresql_are_not_shown(postgresql_alias: str) -> None:
    """Fails if what is below its first line is, which may be a whole row."""
    history = History(postgresql_alias)
    history.apply(MOVIE)
    history.rows("Movie").bulk_create([history.model("Movie")(pk=2, title="bad")])

    def refuse(movie: Any) -> str:
        with history.connection.cursor() as cursor:
            cursor.execute(
                "DO $$ BEGIN RAISE 'too late' USING DETAIL = 'Failing row'; END $$"
            )
        return "not reached"

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "extra", text(), refuse))

    assert [row.detail for row in caught.value.rows] == ["too late"]


def test_stops_after_a_thousand_bad_rows_and_says_so(alias: str) -> None:
    history = History(alias)
    history.apply(MOVIE)
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=str(number)) for number in range(3_000)
    )
    asked: list[int] = []

    def populate_some(movie: Any) -> str | None:
        asked.append(int(movie.title))
        return "x" if int(movie.title) < 10 else None

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", text(), populate_some, batch_size=100
            )
        )

    # No row behind the batch in which the thousandth is.
    assert max(asked) == 1_099
    first = history.rows("Movie").first().pk
    keys = list(range(first + 10, first + 1_010))
    assert [row.pk for row in caught.value.rows] == keys
    assert str(caught.value).split("\n")[:2] == [
        "films.Movie.extra could not be filled in some rows. After 1,000 bad rows no "
        "more were tried:",
        "  1,000 rows: populate_some() gave a bad value: it is None, and the field is "
        f"required (pk {', '.join(map(str, keys[:20]))}, …)",
    ]


@override_settings(SAFEFIELD={"SHOW_VALUES": False})
def test_a_validator_that_quotes_the_value_shows_nothing(sqlite_alias: str) -> None:
    def refuse(value: str) -> None:
        raise ValidationError(f"{value} is no good.")

    history = History(sqlite_alias)
    history.apply(MOVIE)
    history.rows("Movie").create(pk=1, title="secret")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "extra",
                text(validators=[refuse]),
                lambda movie: movie.title,
            )
        )

    assert caught.value.rows == [
        BadRow(1, "<lambda>() gave a bad value: refuse() refused it", "")
    ]
    assert "secret" not in str(caught.value)


def refuse_a_name(value: Any) -> Any:
    raise ValidationError({"title": ["Too dull.", "Too long."], "year": ["Too old."]})


def refuse_a_share(value: Any) -> Any:
    raise ValidationError("100 % of it", params={"share": 1})


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (refuse_a_name, "title: Too dull. Too long. year: Too old."),
        (refuse_a_share, "100 % of it"),
    ],
)
def test_any_validation_error_is_told(
    sqlite_alias: str, refuse: Any, reason: str
) -> None:
    """Fails if one of a dict, or one whose params do not fit, ends the run."""
    history = History(sqlite_alias)
    history.apply(MOVIE)
    history.rows("Movie").create(pk=1, title="x")

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("Movie", "extra", text(), refuse))

    assert [row[:2] for row in caught.value.rows] == [
        (1, f"{refuse.__name__}() gave a bad value: {reason}")
    ]


def test_value_whose_repr_raises(sqlite_alias: str) -> None:
    """Fails if what cannot be shown ends the run without a row."""

    class Shy:
        def __repr__(self) -> str:
            raise LookupError

    history = History(sqlite_alias)
    history.apply(MOVIE)
    history.rows("Movie").create(pk=1, title="x")
    shy = Shy()

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", models.IntegerField(), lambda movie: shy
            )
        )

    (row,) = caught.value.rows
    assert row.pk == 1
    assert object.__repr__(shy).startswith(row.detail.rstrip("…"))


def change_key(movie: Any) -> str:
    """Answer for the row, and make it another one by the way."""
    title: str = movie.title
    movie.pk = movie.pk % 3 + 1
    if title == "bad":
        raise ValueError("bad")
    return title


@pytest.mark.parametrize("relates", [False, True], ids=["made again", "kept"])
@pytest.mark.parametrize("title", ["good", "bad"])
def test_populate_changes_the_key(alias: str, title: str, relates: bool) -> None:
    """Fails if the key of a row is read after populate, to write it or to tell it."""
    history = History(alias)
    history.apply(MOVIE)
    if relates:
        # Instances that know of each other are kept for the whole batch.
        history.apply(
            migrations.AddField(
                "Movie",
                "sequel",
                models.ForeignKey("films.Movie", models.CASCADE, null=True),
            )
        )
    for text_ in ("one", title, "three"):
        history.rows("Movie").create(title=text_)
    pks = [movie.pk for movie in history.rows("Movie")]
    operation = AddFieldWithBackfill("Movie", "extra", text(), change_key, batch_size=1)

    if title == "bad":
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert caught.value.rows == [
            BadRow(pks[1], "change_key() raised ValueError", "bad")
        ]
        if history.connection.vendor == "sqlite":
            return
        rows = [(pks[0], "one"), (pks[1], None), (pks[2], "three")]
        with history.connection.cursor() as cursor:
            cursor.execute("SELECT id, extra FROM films_movie ORDER BY id")
            assert list(cursor.fetchall()) == rows
        return
    history.apply(operation)
    assert list(history.rows("Movie").values_list("pk", "extra")) == [
        (pks[0], "one"),
        (pks[1], "good"),
        (pks[2], "three"),
    ]


def test_populate_changes_the_key_of_a_row_that_the_database_refuses(
    alias: str,
) -> None:
    """Fails if the key is read after populate where rows are written one by one."""
    history = History(alias)
    history.apply(MOVIE)
    history.apply(
        migrations.AddField("Movie", "extra", models.IntegerField(null=True)),
        migrations.AddConstraint(
            "Movie",
            models.CheckConstraint(condition=~models.Q(extra=2), name="not_two"),
        ),
    )
    for _ in range(3):
        history.rows("Movie").create(title="x")
    pks = [movie.pk for movie in history.rows("Movie")]

    def populate(movie: Any) -> int:
        number = pks.index(movie.pk) + 1
        movie.pk = pks[2]
        return number

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill("Movie", "extra", models.IntegerField(), populate)
        )

    assert [row.pk for row in caught.value.rows] == [pks[1]]
    if history.connection.vendor != "sqlite":
        assert [movie.extra for movie in history.rows("Movie")] == [1, None, 3]


@pytest.mark.parametrize("commits", [True, False], ids=["own-commits", "atomic"])
def test_error_of_the_driver_is_about_a_row(alias: str, commits: bool) -> None:
    """Fails if only what is a DatabaseError is taken for an error about a row."""

    class Number(models.Field):  # type: ignore[type-arg] # generic in the stubs
        """A field that asks for a number and gives the driver something else."""

        def db_type(self, connection: Any) -> str:
            return "integer"

        def get_db_prep_save(self, value: Any, connection: Any) -> Any:
            return Unreadable() if value == 2 else value

    class Unreadable:
        """Nothing that a driver knows, and no text either."""

        def __str__(self) -> str:
            raise OverflowError("there is no such number")

        __repr__ = __str__
        __conform__ = __str__

    history = History(alias, atomic=not commits)
    history.apply(MOVIE)
    for _ in range(3):
        history.rows("Movie").create(title="x")
    first = history.rows("Movie").first().pk

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", Number(), lambda movie: movie.pk - first + 1
            )
        )

    assert [row.pk for row in caught.value.rows] == [first + 1]
    assert [text.split(" raised ")[0] for _, text, _ in caught.value.rows] in (
        ["the database"],
        ["the database driver"],
    )


def test_duration_that_sqlite_cannot_hold(sqlite_alias: str) -> None:
    """Fails if OverflowError of executemany() ends the run without a row."""
    history = History(sqlite_alias)
    history.apply(MOVIE)
    for days in (1, 106751992, 2):
        history.rows("Movie").create(title=str(days))

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie",
                "extra",
                models.DurationField(),
                lambda movie: dt.timedelta(days=int(movie.title)),
            )
        )

    assert caught.value.rows == [
        BadRow(
            2,
            "the database driver raised OverflowError",
            "Python int too large to convert to SQLite INTEGER",
        )
    ]


def test_no_memory_is_not_about_a_row(alias: str) -> None:
    """Fails if MemoryError is told as a bad value, row by row."""

    def populate(movie: Any) -> str:
        raise MemoryError

    history = History(alias)
    history.apply(MOVIE)
    history.rows("Movie").create(title="x")

    with pytest.raises(MemoryError):
        history.apply(AddFieldWithBackfill("Movie", "extra", text(), populate))


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        (text(unique=True), ["a", "a", None, "b"], ["a", "c", "d", "b"]),
        (to_studio(), [1, 99, None, 1], [1, 1, 1, 1]),
    ],
    ids=["unique", "foreign key"],
)
def test_rows_that_are_told_are_asked_again(
    alias: str, field: Any, first: list[Any], second: list[Any]
) -> None:
    """Fails if a row that a constraint refuses keeps its value beside a bad row."""
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Studio").create(pk=1)
    for number in range(4):
        history.rows("Movie").create(title=str(number))
    with pytest.raises(BackfillError):
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", field.clone(), lambda movie: first[int(movie.title)]
            )
        )

    history.apply(
        AddFieldWithBackfill(
            "Movie", "extra", field.clone(), lambda movie: second[int(movie.title)]
        )
    )

    column = history.model("Movie")._meta.get_field("extra").attname
    assert list(history.rows("Movie").values_list(column, flat=True)) == second


def test_text_above_max_allowed_packet(mysql_alias: str) -> None:
    """Fails if the server ends the connection, of which no row can be told."""
    history = History(mysql_alias)
    history.apply(MOVIE)
    for pk in (1, 3, 5):
        history.rows("Movie").create(pk=pk, title="x")
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (most,) = cursor.fetchone()
    # What fits is stored, however much it grows as JSON.
    texts = {1: "\u00e9" * (most // 4), 3: "x" * most, 5: "'" * (most // 4)}

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "extra", models.TextField(), lambda movie: texts[movie.pk]
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (3, "the database raised DataError")
    ]
    assert caught.value.rows[0].detail == (
        f"it takes {most:,} bytes in a statement, and max_allowed_packet is {most:,}"
    )
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT id, extra FROM films_movie ORDER BY id")
        assert list(cursor.fetchall()) == [(1, texts[1]), (3, None), (5, texts[5])]
