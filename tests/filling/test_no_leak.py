"""
With SHOW_VALUES False nothing that came from data is in any output.

The marker is in every place that data can come from: each scenario puts it where an
error is likely to quote it, and what is looked at is all that comes out.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections, migrations, models
from django.db.models import F
from django.db.models.functions import Cast

from safefield import progress
from safefield.exceptions import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

pytestmark = pytest.mark.thorough_on("mariadb", "mysql")

MARKER = "marker4111"

Operation = AddFieldWithBackfill | AlterFieldWithBackfill


def raise_with(row: Any) -> Any:
    raise ValueError(f"bad card {row.title}")


def raise_key_error(row: Any) -> Any:
    return {}[row.title]


def raise_validation_error(row: Any) -> Any:
    raise ValidationError(f"bad card {row.title}", params={"value": row.title})


def raise_dict(row: Any) -> Any:
    raise ValidationError({row.title: [f"bad card {row.title}"]})


def raise_chained(row: Any) -> Any:
    try:
        raise_with(row)
    except ValueError as exc:
        raise RuntimeError(row.title) from exc


def refuse(value: Any) -> None:
    raise ValidationError(f"{value!r} or {value.upper()} is reserved")


def run_sql(sql: str) -> Callable[[Any], Any]:
    def populate(row: Any) -> Any:
        with connections[row._state.db].cursor() as cursor:
            cursor.execute(sql, [row.title])
        return row.title

    populate.__name__ = populate.__qualname__ = "populate"
    return populate


def text(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(**{"max_length": 80, **options})


def add(field: models.Field[Any, Any], populate: Any, **options: Any) -> Operation:
    return AddFieldWithBackfill("Movie", "slug", field, populate, **options)


def number_badly(row: Any, value: Any, n: int) -> str:
    raise ValueError(value)


def same(row: Any) -> str:
    return MARKER


def title_of(row: Any) -> Any:
    return row.title


def reverse_badly(row: Any) -> Any:
    raise ValueError(row.slug)


def reverse_to_nothing(row: Any) -> Any:
    return {row.slug: row.slug}


def reverse_to_a_bad_value(row: Any) -> Any:
    return {"year": row.slug}


SCENARIOS: dict[str, Callable[[], Operation]] = {
    "exception": lambda: add(text(), raise_with),
    "KeyError": lambda: add(text(), raise_key_error),
    "ValidationError": lambda: add(text(), raise_validation_error),
    "ValidationError of a dict": lambda: add(text(), raise_dict),
    "chained": lambda: add(text(), raise_chained),
    "validator": lambda: add(text(validators=[refuse]), title_of),
    "choices": lambda: add(text(choices=[("a", "A")]), title_of),
    "too long": lambda: add(text(max_length=3), title_of),
    "type": lambda: add(models.IntegerField(), title_of),
    "date": lambda: add(models.DateField(), title_of),
    "decimal": lambda: add(
        models.DecimalField(max_digits=3, decimal_places=1), title_of
    ),
    "uuid": lambda: add(models.UUIDField(), title_of),
    "email": lambda: add(models.EmailField(), title_of),
    "json": lambda: add(models.JSONField(), lambda row: {row.title: {row.title}}),
    "unique": lambda: add(text(unique=True), same),
    "deduplicate": lambda: add(text(unique=True), same, deduplicate=number_badly),
    "foreign key": lambda: add(
        models.ForeignKey("films.Movie", models.CASCADE, related_name="+"), title_of
    ),
    "sql of populate": lambda: add(text(), run_sql("SELECT CAST(%s AS nothing)")),
    "expression": lambda: add(
        models.IntegerField(), Cast(F("title"), models.IntegerField())
    ),
    "date expression": lambda: add(
        models.DateField(), Cast(F("title"), models.DateField())
    ),
    "long expression": lambda: add(text(max_length=3), F("title")),
    "choices of an expression": lambda: add(text(choices=[("a", "A")]), F("title")),
    "unique expression": lambda: add(text(unique=True), F("shown")),
    "narrowing": lambda: AlterFieldWithBackfill("Movie", "shown", text(max_length=3)),
    "altered type": lambda: AlterFieldWithBackfill(
        "Movie", "shown", models.IntegerField()
    ),
    "altered to unique": lambda: AlterFieldWithBackfill(
        "Movie", "shown", text(unique=True)
    ),
    "reverse": lambda: add(text(), title_of, reverse=reverse_badly),
    "reverse of another field": lambda: add(
        text(), title_of, reverse=reverse_to_nothing
    ),
    "reverse to a bad value": lambda: add(
        text(), title_of, reverse=reverse_to_a_bad_value
    ),
}


@pytest.fixture(autouse=True)
def silent_settings(settings: Any) -> None:
    settings.SAFEFIELD = {"SHOW_VALUES": False}


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record)


def observe(function: Callable[[], object]) -> tuple[str, Exception | None]:
    """Return all that is said by `function`, and what it raises."""
    said = io.StringIO()
    records = Records()
    logger = logging.getLogger("safefield")
    before = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    progress.begin_command(verbosity=2, stdout=said, stderr=said)
    error = None
    try:
        with redirect_stdout(said), redirect_stderr(said):
            function()
    except Exception as exc:
        error = exc
    finally:
        progress.end_command()
        logger.removeHandler(records)
        logger.setLevel(before)
    rows = getattr(error, "rows", [])
    reasons = "".join(f"{row.reason} {row.detail}" for row in rows)
    return f"{said.getvalue()}{records.text}{error}{reasons}", error


def make_movies(alias: str, *, key: models.Field[Any, Any] | None = None) -> History:
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", key or models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=80)),
                ("shown", models.CharField(max_length=80, null=True)),
                ("year", models.IntegerField(null=True)),
            ],
        )
    )
    for number in range(3):
        keys = {} if key is None else {"pk": f"{MARKER}{number}"}
        history.rows("Movie").create(title=f"{MARKER}{number}", shown=MARKER, **keys)
    return history


@pytest.mark.parametrize("has_text_key", [False, True], ids=["integer", "text"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_of_the_data(alias: str, name: str, has_text_key: bool) -> None:
    """Fails if a value, a text of an exception or a DETAIL is in an output."""
    key = models.CharField(primary_key=True, max_length=80) if has_text_key else None
    history = make_movies(alias, key=key)
    operation = SCENARIOS[name]()

    def run() -> None:
        history.apply(operation)
        history.unapply()

    said, error = observe(run)

    assert error is None or isinstance(error, BackfillError), repr(error)
    assert MARKER not in said.lower()


def test_nothing_of_rows_that_come_in_between(
    postgresql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that are named where SET NOT NULL is refused have keys, too."""
    history = make_movies(
        postgresql_alias, key=models.CharField(primary_key=True, max_length=80)
    )
    with history.connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION forget() RETURNS trigger AS $$ BEGIN "
            "NEW.slug := NULL; RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        cursor.execute(
            "CREATE TRIGGER forget BEFORE UPDATE ON films_movie "
            "FOR EACH ROW EXECUTE FUNCTION forget()"
        )

    said, error = observe(lambda: history.apply(add(text(), title_of)))

    with history.connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER forget ON films_movie")
        cursor.execute("DROP FUNCTION forget")
    assert isinstance(error, BackfillError)
    assert MARKER not in said


@pytest.mark.parametrize("shows_values", [False, True])
def test_nothing_of_an_error_that_leaves_a_check(
    postgresql_alias: str, settings: Any, shows_values: bool
) -> None:
    """Fails if the text of any error is quoted, or more of it than its first line."""
    settings.SAFEFIELD = {"SHOW_VALUES": shows_values}
    history = make_movies(postgresql_alias)
    with history.connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ "
            "BEGIN IF current_query() ~ 'SET NOT NULL|DROP CONSTRAINT' THEN "
            f"RAISE 'not {MARKER}' USING HINT = 'Ask.'; END IF; END $$"
        )
        cursor.execute(
            "CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()"
        )
    try:
        said, error = observe(lambda: history.apply(add(text(), title_of)))
    finally:
        with history.connection.cursor() as cursor:
            cursor.execute("DROP EVENT TRIGGER refuse")
            cursor.execute("DROP FUNCTION refuse")

    quoted = f": not {MARKER}" if shows_values else ""
    assert isinstance(error, BackfillError)
    # The two drivers have different ones.
    kind = type(error.__cause__).__name__
    assert str(error) == (
        f"films.Movie.slug: {kind}{quoted}. Check constraint "
        "films_movie_slug_e73823af_notnull could not be dropped: until it is gone, "
        "table films_movie refuses each INSERT that leaves out column slug. Run "
        "migrate to resume, or abandonbackfill --database postgresql with this "
        "migration to undo: both drop it first."
    )
    assert (MARKER in said) is shows_values
