"""How each database writes a batch."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum
from importlib.util import find_spec
from typing import Any

import pytest
from django.core.validators import MaxLengthValidator, RegexValidator
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    connections,
    migrations,
    models,
)
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import SafeString

import safefield
from safefield.backends import get_backend
from safefield.backends.mysql.writer import MySQLWriter, Settings
from safefield.backends.postgresql.writer import PostgreSQLWriter, to_array
from safefield.exceptions import BackfillError
from safefield.fields import is_stock_integer
from safefield.filling.acceptance import get_acceptor
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.extensions import require_extension, require_icu, require_xml
from tests.support.history import History
from tests.support.sessions import Session

pytestmark = [pytest.mark.core, pytest.mark.beside, pytest.mark.edges]

#: What somebody who builds a statement by hand gets wrong.
NASTY = [
    "",
    " ",
    "NULL",
    "null",
    '"',
    "\\",
    "\\\\",
    '\\"',
    "'",
    "''; DROP TABLE films_movie; --",
    "{}",
    "{a,b}",
    ",",
    "%s",
    "%(x)s",
    "100%",
    "a\nb",
    "a\tb",
    "a\rb",
    "Amélie",
    "七人の侍",
    "😀",
    "\u2028",
    "\x7f",
    "[1]",
    "x" * 500,
]


class Level(IntEnum):
    LOW = 1
    HIGH = 2


def create_movies(history: History, key: models.Field[Any, Any], keys: Any) -> None:
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", key),
                ("text", models.TextField(null=True)),
                ("number", models.BigIntegerField(null=True)),
            ],
        )
    )
    history.rows("Movie").bulk_create(history.model("Movie")(pk=key) for key in keys)


def write(history: History, names: list[str], rows: Any, **options: Any) -> list[str]:
    """Write rows; return the statements, less those that read the catalogue."""
    model = history.model("Movie")
    fields = [model._meta.get_field(name) for name in names]
    writer = get_backend(history.connection).writer(
        history.connection, model, fields, **options
    )
    with CaptureQueriesContext(history.connection) as queries:
        writer.write(rows)
    return [
        query["sql"]
        for query in queries.captured_queries
        if "UPDATE" in query["sql"].upper()
    ]


def read(history: History, *names: str) -> list[Any]:
    return list(history.rows("Movie").values_list(*names, flat=len(names) == 1))


@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
def test_any_text_arrives_as_it_is(alias: str, step: int) -> None:
    history = History(alias)
    keys = range(1, 26 * step + 1, step)
    create_movies(history, models.BigAutoField(primary_key=True), keys)

    rows = [((key,), (text,)) for key, text in zip(keys, NASTY, strict=True)]
    write(history, ["text"], rows)

    assert read(history, "text") == NASTY


@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
@pytest.mark.parametrize("value", ["same", 7, None], ids=str)
def test_rows_are_counted(alias: str, step: int, value: Any) -> None:
    """
    A row that is gone, or has a value, is not counted; one like before is.

    Fails if MySQL counts the rows that come out different, or the count is not given.
    """
    history = History(alias)
    keys = range(1, 4 * step + 1, step)
    create_movies(history, models.BigAutoField(primary_key=True), keys)
    history.rows("Movie").filter(pk=keys[3]).delete()
    history.rows("Movie").filter(pk=keys[2]).update(text="theirs", number=1)
    model = history.model("Movie")
    field = model._meta.get_field("number" if value == 7 else "text")
    rows = [((key,), (value,)) for key in keys]

    def count(**options: Any) -> int:
        writer = get_backend(history.connection).writer(
            history.connection, model, [field], **options
        )
        return writer.write(rows)

    assert count(only_null=field) == 2
    assert count() == 3
    assert count() == 3


def test_none_among_values(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1, 2, 3])

    write(
        history,
        ["text", "number"],
        [((1,), ("a", None)), ((2,), (None, 2**63 - 1)), ((3,), ("c", -(2**63)))],
    )

    assert read(history, "text", "number") == [
        ("a", None),
        (None, 2**63 - 1),
        ("c", -(2**63)),
    ]


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([-(2**63), -(2**63) + 1], id="lowest"),
        pytest.param([-2, -1, 0, 1], id="around 0"),
        pytest.param([2**63 - 2, 2**63 - 1], id="highest"),
        pytest.param([-(2**63), 0, 2**63 - 1], id="everywhere"),
        pytest.param([3, 1, 2], id="in another order"),
    ],
)
def test_integer_keys(alias: str, keys: list[int]) -> None:
    history = History(alias)
    create_movies(history, models.BigIntegerField(primary_key=True), keys)

    write(history, ["text"], [((key,), (f"<{key}>",)) for key in keys])

    assert dict(read(history, "pk", "text")) == {key: f"<{key}>" for key in keys}


def test_keys_that_are_texts(alias: str) -> None:
    history = History(alias)
    keys = ["a", "b c", "d'e", 'f"g', "h\\i", "é", "%s"]
    create_movies(history, models.CharField(primary_key=True, max_length=20), keys)

    write(history, ["text"], [((key,), (f"<{key}>",)) for key in keys])

    assert dict(read(history, "pk", "text")) == {key: f"<{key}>" for key in keys}


@pytest.mark.parametrize("names", [["text"], ["text", "number"]], ids="-".join)
@pytest.mark.parametrize("collation", ["utf8mb4_bin", "utf8mb4_german2_ci"])
def test_text_keys_of_another_collation(
    mysql_alias: str, collation: str, names: list[str]
) -> None:
    """Fails if the keys of the batch are compared in their own collation."""
    history = History(mysql_alias)
    key = models.CharField(primary_key=True, max_length=20, db_collation=collation)
    create_movies(history, key, ["a", "ä"])
    count = len(names)

    # JSON_TABLE for texts alone, UNION for the None among the numbers.
    write(history, names, [(("a",), ("A", 1)[:count]), (("ä",), ("Ä", None)[:count])])

    assert set(read(history, "pk", "text")) == {("a", "A"), ("ä", "Ä")}


def test_text_keys_of_another_collation_on_postgresql(postgresql_alias: str) -> None:
    """Fails if the first and the last key are not those of the column's collation."""
    history = History(postgresql_alias)
    require_icu(history.connection)
    with history.connection.cursor() as cursor:
        # "a" < "B" < "ä", whatever the server's own collation is.
        cursor.execute("CREATE COLLATION by_letter (provider = icu, locale = 'und')")
    for table, collation in {"Movie": "by_letter", "Film": "C"}.items():
        key = models.CharField(primary_key=True, max_length=9, db_collation=collation)
        history.apply(
            migrations.CreateModel(
                table, [("id", key), ("text", models.TextField(null=True))]
            )
        )
        history.rows(table).bulk_create(
            history.model(table)(pk=key) for key in ["a", "B", "ä", "Z"]
        )
        model = history.model(table)
        PostgreSQLWriter(
            history.connection, model, [model._meta.get_field("text")]
        ).write([((key,), (key * 2,)) for key in ("a", "B", "ä", "Z")])

        assert set(history.rows(table).values_list("pk", "text")) == {
            ("a", "aa"),
            ("B", "BB"),
            ("ä", "ää"),
            ("Z", "ZZ"),
        }


def test_keys_that_are_uuids(alias: str) -> None:
    history = History(alias)
    keys = [uuid.UUID(int=number * 2**100 + 7) for number in range(5)]
    field = models.UUIDField(primary_key=True)
    create_movies(history, field, keys)
    writer = get_backend(history.connection).writer(
        history.connection, history.model("Movie"), []
    )

    rows = [(writer.key_of(row), (str(row.pk),)) for row in history.rows("Movie")]
    write(history, ["text"], rows)

    assert dict(read(history, "pk", "text")) == {key: str(key) for key in keys}


class PlacedField(models.CharField):
    """A text with SQL of its own around it, which follows from the value."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "UPPER(%s)" if str(value).startswith("u") else "REPLACE(%s, 'b', '%%')"

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> Any:
        return self.get_placeholder(value, compiler, connection), (value,)


@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
@pytest.mark.parametrize("count", [1, 4], ids=["one-row", "rows"])
def test_fields_with_sql_around_their_values(alias: str, step: int, count: int) -> None:
    """Fails if a way to write sends the values alone, where save() sends the SQL."""
    history = History(alias)
    field = PlacedField(max_length=20, null=True)
    columns = [("id", models.BigAutoField(primary_key=True)), ("text", field)]
    history.apply(migrations.CreateModel("Movie", columns))
    texts = {n * step + 1: f"{'ub'[n % 2]}ab{n}" for n in range(count)}
    for pk in texts:
        history.rows("Movie").create(pk=pk)

    write(history, ["text"], [((pk,), (text,)) for pk, text in texts.items()])

    written = dict(read(history, "pk", "text"))
    for row in history.rows("Movie"):
        row.text = texts[row.pk]
        row.save(update_fields=["text"])
    assert written == dict(read(history, "pk", "text"))
    assert list(written.values()) == ["UAB0", "%a%1", "UAB2", "%a%3"][:count]


@pytest.mark.parametrize("second", [2, 3], ids=["keys-without-gaps", "keys-with-gaps"])
def test_rows_that_have_a_value_are_passed_over(alias: str, second: int) -> None:
    """Fails if one of the ways to write forgets the condition."""
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1, second])
    history.rows("Movie").filter(pk=1).update(text="theirs")
    text = history.model("Movie")._meta.get_field("text")
    rows = [((1,), ("ours",)), ((second,), ("ours",))]

    write(history, ["text"], rows, only_null=text)

    assert read(history, "text") == ["theirs", "ours"]


@pytest.mark.parametrize("second", [2, 3], ids=["keys-without-gaps", "keys-with-gaps"])
def test_another_column_is_set_to_null(alias: str, second: int) -> None:
    """Fails if one of the ways to write forgets the column that reverse has read."""
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1, second, 9])
    history.rows("Movie").update(number=7)
    number = history.model("Movie")._meta.get_field("number")

    write(history, ["text"], [((1,), ("a",)), ((second,), ("b",))], set_null=number)
    write(history, [], [((9,), ())], set_null=number)

    assert read(history, "text", "number") == [("a", None), ("b", None), (None, None)]


def test_rows_that_are_gone_are_passed_over(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [2])

    write(history, ["text"], [((1,), ("a",)), ((2,), ("b",)), ((3,), ("c",))])

    assert read(history, "pk", "text") == [(2, "b")]


def test_nothing_to_write_is_no_statement(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1])

    assert write(history, ["text"], []) == []


def test_one_statement_a_batch(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 2001))

    statements = write(history, ["text"], [((n,), ("x",)) for n in range(1, 2001)])

    assert len(statements) == 1
    assert set(read(history, "text")) == {"x"}


def test_text_that_cannot_be_sent_is_the_fault_of_its_row(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1, 2, 3])
    operation = AddFieldWithBackfill(
        "Movie",
        "title",
        models.CharField(max_length=20),
        lambda movie: "\ud800" if movie.pk == 2 else "good",
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert [row.pk for row in caught.value.rows] == [2]


# Names of ours that are names of theirs

#: What the statements call their own rows and columns, or may have called them.
NAMES = [
    "batch",
    "Batch",
    "source",
    "safefield_batch",
    "Safefield_Batch",
    "safefield_batch_",
    "unnest",
    "json_table",
    "key0",
    "value0",
]


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_table(alias: str, name: str, step: int) -> None:
    """Fails if a statement's own rows have the name of the table."""
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("key0", models.CharField(max_length=9)),
                ("batch", models.IntegerField(null=True)),
            ],
            options={"db_table": name},
        )
    )
    movie = history.model("Movie")
    keys = [1, 1 + step, 1 + 2 * step]
    history.rows("Movie").bulk_create(movie(pk=key, key0=f"k{key}") for key in keys)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "value0",
            models.CharField(max_length=9, unique=True),
            lambda movie: "same",
            lambda movie: {"key0": movie.value0, "batch": -movie.pk},
            deduplicate=safefield.numbered,
        ),
        AddFieldWithBackfill(
            "Movie", "source", models.IntegerField(), lambda movie: movie.pk
        ),
        AlterFieldWithBackfill(
            "Movie", "batch", models.IntegerField(), lambda movie: movie.pk
        ),
    )
    filled = list(history.rows("Movie").values_list("value0", "source", "batch"))
    history.unapply()

    assert filled == [
        ("same", keys[0], keys[0]),
        ("same-2", keys[1], keys[1]),
        ("same-3", keys[2], keys[2]),
    ]
    assert list(history.rows("Movie").values_list("key0", "batch")) == [
        ("same", -keys[0]),
        ("same-2", -keys[1]),
        ("same-3", -keys[2]),
    ]


def test_table_of_that_name_in_a_schema(postgresql_alias: str) -> None:
    """Fails if the schema in db_table hides that the name is ours."""
    history = History(postgresql_alias)
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA safefield_names")
    try:
        history.apply(
            migrations.CreateModel(
                "Movie",
                [("id", models.BigAutoField(primary_key=True))],
                options={"db_table": '"safefield_names"."safefield_batch"'},
            )
        )
        history.rows("Movie").bulk_create(history.model("Movie")() for _ in range(3))
        history.apply(
            AddFieldWithBackfill(
                "Movie", "rank", models.IntegerField(), lambda movie: movie.pk
            )
        )

        assert list(history.rows("Movie").values_list("pk", "rank")) == [
            (1, 1),
            (2, 2),
            (3, 3),
        ]
    finally:
        with history.connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA safefield_names CASCADE")


# Columns of types of their own: Django's update() is what says how a value ends


class TypedField(models.Field):
    """A column of any type, with the values as they are."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, _, options = super().deconstruct()
        return name, path, [self.kind], options

    def db_type(self, connection: Any) -> str:
        return self.kind


def create_pairs(history: History, kind: str, keys: Any, key: Any = None) -> None:
    """Make a table with two columns of one type, for ours and for Django's."""
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", key or models.BigAutoField(primary_key=True)),
                ("ours", TypedField(kind, null=True)),
                ("theirs", TypedField(kind, null=True)),
            ],
        )
    )
    history.rows("Movie").bulk_create(history.model("Movie")(pk=key) for key in keys)


def write_pairs(history: History, values: dict[Any, Any]) -> None:
    """Let Django write into the one column what the writer writes into the other."""
    for key, value in values.items():
        history.rows("Movie").filter(pk=key).update(theirs=value)
    write(history, ["ours"], [((key,), (value,)) for key, value in values.items()])


def count_differences(history: History, spelling: str) -> int:
    """Return in how many rows the columns differ, or are empty."""
    ours, theirs = spelling.format("ours"), spelling.format("theirs")
    with history.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM films_movie WHERE ours IS NULL OR theirs IS NULL "
            f"OR {ours} <> {theirs}"
        )
        return int(cursor.fetchone()[0])


TYPES = {
    "char(3)": ["DEU", "D", "\u00e9\u00df\u4e03", ""],
    "char(3)[]": [["DEU", "FR"], ["D"], []],
    "varchar(3)": ["DEU", "D", "abc   "],
    "bit(5)": ["10110", "00000"],
    "bit(3)[]": [["101", "010"], ["111"]],
    "bit varying(8)": ["10110", "1", ""],
    '"char"': ["a", "b"],
    "name": ["a" * 63, "b"],
    "citext": ["DEU", "deu"],
    "money": ["12.50", "-1"],
    "numeric(5,2)": [Decimal("1.005"), Decimal("-999.99"), 7],
    "mood": ["sad", "happy"],
    "pair": ["(1,x)", '(2,"a,b")'],
    "code": ["DEU", "D"],
    "code_of_code": ["DEU", "D"],
    "code[]": [["DEU", "FR"], ["D"]],
    "short": ["DEU", "D"],
    "timetz": ["10:00:00+05:30", "23:59:59.999999-12"],
    "time(0)": ["10:00:00.6", "10:00:00.4"],
    "timestamp(3)": ["2020-01-02 03:04:05.678901"],
    "interval hour to minute": ["1 day 02:03:04.5", "-00:59:59", "7"],
    "minutes": ["00:00:59", "7"],
    "interval hour to minute[]": [["1 day 02:03:04.5"], ["7"]],
    "interval(0)": ["00:00:01.6"],
    "inet": ["1.2.3.4/24", "::1"],
    "macaddr": ["08:00:2b:01:02:03"],
    "tsvector": ["a fat cat"],
    "xml": ["<a>b</a>"],
    "point": ["(1,2)"],
    "int4range": ["[1,3)", "empty"],
    "oid": [1, 2**32 - 1],
    "real": [0.1, 16777217.0],
    "hstore": ['"a"=>"b"', ""],
}


#: Types that an extension of the same name brings.
EXTENSIONS = ("citext", "hstore")


@pytest.fixture
def types(postgresql_alias: str, request: pytest.FixtureRequest) -> str:
    """Make types of all kinds."""
    connection = connections[postgresql_alias]
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("kind") in EXTENSIONS:
        require_extension(connection, call.params["kind"])
    if call is not None and call.params.get("kind") == "xml":
        require_xml(connection)
    with connection.cursor() as cursor:
        for statement in (
            "CREATE TYPE mood AS ENUM ('sad', 'happy')",
            "CREATE TYPE pair AS (number integer, letter char(3))",
            "CREATE DOMAIN code AS char(3)",
            "CREATE DOMAIN minutes AS interval hour to minute",
            "CREATE DOMAIN code_of_code AS code",
            "CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'bad')",
        ):
            cursor.execute(statement)
    return postgresql_alias


@pytest.mark.parametrize("kind", TYPES)
def test_any_type_of_column(types: str, kind: str) -> None:
    """Fails if a cast cuts values, as `character` and a domain do."""
    if kind in {"bit(3)[]", "interval hour to minute[]"} and not find_spec("psycopg"):
        pytest.skip("psycopg2 sends such an array as texts, which the column refuses")
    history = History(types)
    values = dict(enumerate(TYPES[kind], 1))
    create_pairs(history, kind, values)

    write_pairs(history, values)

    assert count_differences(history, "{}::text") == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("char(3)", "DEUX", id="char"),
        pytest.param("char(3)[]", ["DEUX"], id="array of char"),
        pytest.param("varchar(80)", "x" * 81, id="varchar"),
        pytest.param("varchar(3)[]", ["DEUX"], id="array of varchar"),
        pytest.param("bit(5)", "101101", id="bit"),
        pytest.param("bit(5)", "1", id="shorter bit"),
        pytest.param("bit varying(5)", "101101", id="varbit"),
        pytest.param("code", "DEUX", id="domain"),
        pytest.param("code_of_code", "DEUX", id="domain of a domain"),
        pytest.param("code[]", ["DEUX"], id="array of a domain"),
        pytest.param("short", "DEUX", id="domain with a check"),
        pytest.param("short", "bad", id="check of a domain"),
        pytest.param("pair", "(1,DEUX)", id="record"),
        pytest.param("numeric(5,2)", Decimal(1000), id="numeric"),
    ],
)
def test_what_the_column_refuses(types: str, kind: str, value: Any) -> None:
    """Fails if a value is made to fit: Django's update() is refused, too."""
    history = History(types)
    create_pairs(history, kind, [1, 2])

    with pytest.raises((DataError, IntegrityError)):
        history.rows("Movie").filter(pk=1).update(theirs=value)
    with pytest.raises((DataError, IntegrityError)):
        write(history, ["ours"], [((1,), (value,))])
    # Another value takes it out of the quick way.
    with pytest.raises((DataError, IntegrityError)):
        write(history, ["ours"], [((1,), (value,)), ((2,), (None,))])

    assert read(history, "ours", "theirs") == [(None, None), (None, None)]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        pytest.param("char(3)", ["DEU", "FRA", "D  ", "X"], id="char"),
        pytest.param("bit(5)", ["10110", "10111", "00000"], id="bit"),
        pytest.param("code", ["DEU", "FRA"], id="domain"),
        pytest.param("citext", ["a", "B", "c"], id="citext"),
        pytest.param("money", ["1.50", "12.00"], id="money"),
        pytest.param("mood", ["sad", "happy"], id="enum"),
        pytest.param("timetz", ["10:00:00+05:30", "10:00:00+00"], id="timetz"),
        pytest.param("interval hour to minute", ["01:02:00", "1 day"], id="interval"),
        pytest.param("numeric(5,2)", [Decimal("1.50"), Decimal(-7)], id="numeric"),
        pytest.param("real", [0.5, 2.0], id="real"),
    ],
)
def test_any_type_of_key(types: str, kind: str, keys: list[Any]) -> None:
    """Fails if the keys are cut or changed, so that rows are not found."""
    history = History(types)
    create_pairs(history, "text", keys, TypedField(kind, primary_key=True))

    write_pairs(history, {key: f"<{key}>" for key in keys})

    assert count_differences(history, "{}") == 0


def test_foreign_key_to_a_char(types: str) -> None:
    """Fails if the key of the other table is cut."""
    history = History(types)
    history.apply(
        migrations.CreateModel(
            "Country", [("code", TypedField("char(3)", primary_key=True))]
        ),
        migrations.CreateModel(
            "Movie", [("id", models.BigAutoField(primary_key=True))]
        ),
    )
    country = history.model("Country")
    history.rows("Country").bulk_create(country(pk=pk) for pk in ("DEU", "FRA"))
    history.rows("Movie").bulk_create(history.model("Movie")() for _ in range(2))

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "country",
            models.ForeignKey("films.Country", models.CASCADE),
            lambda movie: "FRA",
        )
    )

    assert read(history, "country_id") == ["FRA", "FRA"]


# PostgreSQL


@pytest.fixture
def bound_by_server(postgresql_alias: str) -> Iterator[str]:
    """Return an alias whose parameters are bound by the server."""
    connection = connections[postgresql_alias]
    pytest.importorskip("psycopg", reason="psycopg2 binds on the client alone")
    connection.close()
    connection.settings_dict["OPTIONS"]["server_side_binding"] = True
    yield postgresql_alias
    connection.close()
    del connection.settings_dict["OPTIONS"]["server_side_binding"]


def test_parameters_bound_by_the_server(bound_by_server: str) -> None:
    history = History(bound_by_server)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 27))
    rows = [((n,), (text, n)) for n, text in enumerate(NASTY, 1)]

    write(history, ["text", "number"], rows)

    assert read(history, "text", "number") == [values for _, values in rows]


def test_more_rows_than_parameters_bound_by_the_server(bound_by_server: str) -> None:
    history = History(bound_by_server)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 40_001))
    rows: Any = [((n,), ("a",)) for n in range(1, 40_001)]
    model = history.model("Movie")
    writer = PostgreSQLWriter(
        history.connection, model, [model._meta.get_field("text")]
    )

    writer._write_values(rows)

    assert set(read(history, "text")) == {"a"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((1, 2), "{1,2}", id="numbers"),
        pytest.param((True, False), "{1,0}", id="booleans"),
        pytest.param((Level.LOW, Level.HIGH), "{1,2}", id="enums"),
        pytest.param(("a", 'b"\\'), '{"a","b\\"\\\\"}', id="texts"),
        pytest.param(("NULL", ""), '{"NULL",""}', id="texts that look like others"),
        pytest.param(("a", None), ["a", None], id="None among them"),
        pytest.param((1.5,), [1.5], id="others"),
    ],
)
def test_to_array(values: Any, expected: Any) -> None:
    assert to_array(values) == expected


def test_planner_looks_at_the_batch_alone(postgresql_alias: str) -> None:
    history = History(postgresql_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 20_001))
    field = history.model("Movie")._meta.get_field("text")
    rows = [((n,), ("x",)) for n in range(1, 501)]
    with history.connection.cursor() as cursor:
        cursor.execute("ANALYZE films_movie")

    (statement,) = write(history, ["text"], rows, only_null=field)
    with history.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        explained = "\n".join(line for (line,) in cursor.fetchall())

    assert "films_movie_pkey" in explained
    assert "Seq Scan on films_movie" not in explained


# MySQL and MariaDB


@pytest.mark.parametrize(
    ("key", "step", "value", "how", "access"),
    [
        (models.BigAutoField(primary_key=True), 1, "x", "ELT(", "range"),
        (models.BigAutoField(primary_key=True), 2, "x", "JSON_TABLE(", "eq_ref"),
        (models.BigAutoField(primary_key=True), 1, b"x", "UNION ALL", "eq_ref"),
        (
            models.CharField(
                primary_key=True, max_length=20, db_collation="utf8mb4_bin"
            ),
            1,
            "x",
            "JSON_TABLE(",
            "eq_ref",
        ),
        (models.UUIDField(primary_key=True), 1, "x", "UNION ALL", "eq_ref"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, models.Field) else None,
)
def test_rows_are_found_by_primary_key(
    mysql_alias: str,
    key: models.Field[Any, Any],
    step: int,
    value: Any,
    how: str,
    access: str,
) -> None:
    history = History(mysql_alias)
    set_snapshot_isolation(history, "OFF")
    is_uuid = isinstance(key, models.UUIDField)
    create_movies(
        history,
        key,
        [uuid.UUID(int=n) if is_uuid else n for n in range(1, 2001)],
    )
    writer = MySQLWriter(history.connection, history.model("Movie"), [])
    keys = [writer.key_of(row) for row in history.rows("Movie").order_by("pk")[:100]]

    rows = [(key, (value,)) for key in keys[::step]]
    (statement,) = write(history, ["text"], rows)
    with history.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {statement}")
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    if is_uuid and not history.connection.mysql_is_mariadb:
        # A text there, as Django makes the column.
        how = "JSON_TABLE("
    if how == "JSON_TABLE(":
        how = get_join(history)
    assert how in statement
    (movie,) = [line for line in plan if line["table"] == "films_movie"]
    assert (movie["type"], movie["key"]) == (access, "PRIMARY")


def get_join(history: History) -> str:
    """Return what texts are joined with: MariaDB has JSON_TABLE from 10.6 on."""
    connection: Any = history.connection
    is_old = connection.mysql_is_mariadb and connection.mysql_version < (10, 6)
    return "UNION ALL" if is_old else "JSON_TABLE("


def set_snapshot_isolation(history: History, value: str) -> bool:
    """Set it, where the server has it: MariaDB, ON by default from 11.6.2 on."""
    with history.connection.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        has_it = bool(cursor.fetchall())
        if has_it:
            cursor.execute(f"SET SESSION innodb_snapshot_isolation = {value}")
    return has_it


@pytest.mark.parametrize("snapshot", ["OFF", "ON"])
def test_row_behind_the_range_may_be_locked(mysql_alias: str, snapshot: str) -> None:
    """It fails if a range is written where the server waits for the row behind it."""
    history = History(mysql_alias)
    if not set_snapshot_isolation(history, snapshot) and snapshot == "ON":
        pytest.skip("The server has no innodb_snapshot_isolation")
    # So many that a join finds its rows by their keys.
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 2001))
    rows = [((n,), ("x",)) for n in (2, 3)]

    with Session(history.connection) as other, history.connection.cursor() as cursor:
        other.execute("BEGIN")
        other.execute("UPDATE films_movie SET number = 0 WHERE id IN (1, 4)")
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        try:
            (statement,) = write(history, ["text"], rows)
        finally:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")
        other.execute("ROLLBACK")

    assert ("ELT(" in statement) is (snapshot == "OFF")
    assert read(history, "text")[:5] == [None, "x", "x", None, None]


def test_no_range_where_the_row_behind_it_would_be_waited_for(
    mysql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mysql_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 6))
    monkeypatch.setattr(history.connection, "isolation_level", "repeatable read")

    (statement,) = write(history, ["text"], [((n,), ("x",)) for n in (2, 3)])

    assert get_join(history) in statement
    assert read(history, "text") == [None, "x", "x", None, None]


def test_statements_fit_into_a_packet(
    mysql_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mysql_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 9))
    rows = [((n,), ('"' * 10_000,)) for n in range(1, 9)]
    monkeypatch.setattr(MySQLWriter, "_settings", Settings(150_000, "utf8mb4", False))

    statements = write(history, ["text"], rows)

    assert len(statements) == 4
    assert max(map(len, statements)) < 150_000
    assert set(read(history, "text")) == {'"' * 10_000}


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        pytest.param("bigint", [-(2**63), 2**63 - 1, 0], id="signed"),
        pytest.param("bigint unsigned", [0, 2**63, 2**64 - 1], id="unsigned"),
        pytest.param("decimal(30)", [-1, 2**63, 2**64, 10**29], id="decimal"),
        pytest.param("varchar(30)", [2**63, -1, 2**64 + 1], id="text"),
    ],
)
def test_integers_of_any_size(mysql_alias: str, kind: str, numbers: list[int]) -> None:
    """Fails if JSON_TABLE clips an integer to the largest that it has."""
    history = History(mysql_alias)
    values = dict(zip(range(1, 99, 2), numbers, strict=False))
    create_pairs(history, kind, values)

    write_pairs(history, values)

    assert count_differences(history, "{}") == 0


def test_integer_that_the_column_refuses(mysql_alias: str) -> None:
    """Fails if 2**63 becomes 2**63 - 1, as it did in a DurationField."""
    history = History(mysql_alias)
    create_pairs(history, "bigint", [1, 3])

    with pytest.raises(DataError):
        history.rows("Movie").filter(pk=1).update(theirs=2**63)
    with pytest.raises(DataError):
        write(history, ["ours"], [((1,), (2**63,)), ((3,), (1,))])

    assert read(history, "ours") == [None, None]


@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("tinytext", 255),
        ("tinyblob", 255),
        ("text", 65_535),
        ("blob", 65_535),
        ("varchar(80)", 80),
        ("varbinary(80)", 80),
    ],
)
def test_longest_value_of_a_type(
    mysql_alias: str, kind: str, most: int, step: int
) -> None:
    """Fails if a join writes what is too long: of 256 bytes none, of 257 one."""
    history = History(mysql_alias)
    one: Any = b"x" if kind in {"tinyblob", "blob", "varbinary(80)"} else "x"
    longest, longer = one * most, one * (most + 1)
    create_pairs(history, kind, [1, 1 + step])

    write_pairs(history, {1: longest, 1 + step: longest[:7]})
    with pytest.raises(DataError):
        history.rows("Movie").filter(pk=1).update(theirs=longer)
    with pytest.raises(DataError):
        write(history, ["ours"], [((1,), (longer,)), ((1 + step,), (longest[:7],))])
    if isinstance(longer, str):
        # Of two bytes each.
        accents = "\u00e9" * (most // 2 + 1) if "text" in kind else "\u00e9" * 81
        with pytest.raises(DatabaseError):
            write(history, ["ours"], [((1,), (accents,)), ((1 + step,), ("x",))])

    assert count_differences(history, "HEX({})") == 0


def test_values_of_several_types(mysql_alias: str) -> None:
    """Fails if UNION makes a text of the 0, which is another year."""
    history = History(mysql_alias)
    values = {1: 0, 3: "0", 5: 2021}
    create_pairs(history, "year", values)

    write_pairs(history, values)

    assert read(history, "ours") == [0, 2000, 2021]
    assert count_differences(history, "{}") == 0


@pytest.mark.parametrize("step", [1, 2], ids=["keys-without-gaps", "keys-with-gaps"])
@pytest.mark.parametrize("value", ["x", 5, None], ids=repr)
def test_keys_above_the_signed_integers(
    mysql_alias: str, step: int, value: Any
) -> None:
    """Fails if the keys are clipped, so that their rows are not found."""
    history = History(mysql_alias)
    keys = range(2**63 - 3, 2**63 + 4, step)
    create_pairs(
        history, "varchar(9)", keys, TypedField("bigint unsigned", primary_key=True)
    )

    write(history, ["ours"], [((key,), (value,)) for key in keys])
    write(history, ["theirs"], [((2**64 - 1,), ("x",)), ((keys[0],), ("x",))])

    expected = None if value is None else str(value)
    assert read(history, "ours") == [expected] * len(keys)


@pytest.fixture(params=["latin1", "utf8mb3", "utf8mb4"])
def charset(mysql_alias: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the database another character set; return an alias of it."""
    connection = connections[mysql_alias]
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@character_set_database, @@collation_database")
        before = cursor.fetchone()
        cursor.execute(f"ALTER DATABASE {name} CHARACTER SET {request.param}")
    # A session notes the character set of its database when it begins.
    connection.close()
    yield mysql_alias
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER DATABASE {name} CHARACTER SET {before[0]} COLLATE {before[1]}"
        )
    connection.close()


@pytest.mark.parametrize("connected", ["utf8mb4", "utf8mb3", "latin1"])
@pytest.mark.parametrize("of_column", ["utf8mb4", "utf8mb3", "latin1", "binary"])
def test_characters_that_a_character_set_lacks(
    charset: str, of_column: str, connected: str
) -> None:
    """Fails if a way to write turns them into question marks, as JSON_TABLE does."""
    history = History(charset)
    values = {1: "e", 3: "\u00e9", 5: "\u2192", 7: "\U0001f389", 9: "?"}
    create_pairs(history, f"varchar(9) CHARACTER SET {of_column}", values)
    connection = history.connection
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    before = options.get("charset")
    options["charset"] = connected
    taken, refused = {}, {}
    try:
        for key, value in values.items():
            try:
                history.rows("Movie").filter(pk=key).update(theirs=value)
            except (DatabaseError, UnicodeEncodeError):
                refused[key] = value
                with pytest.raises((DatabaseError, UnicodeEncodeError)):
                    write(history, ["ours"], [((1,), ("e",)), ((key,), (value,))])
                with pytest.raises((DatabaseError, UnicodeEncodeError)):
                    write(history, ["ours"], [((key,), (value,))])
            else:
                taken[key] = value
        rows = [((key,), (value,)) for key, value in taken.items()]
        try:
            write(history, ["ours"], rows)
        except DatabaseError:
            # As the fill does then.
            for row in rows:
                write(history, ["ours"], [row])
    finally:
        connection.close()
        if before is None:
            del options["charset"]
        else:
            options["charset"] = before

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, HEX(ours), HEX(theirs) FROM films_movie ORDER BY id")
        rows = {key: pair for key, *pair in cursor}
    assert {
        key: ours == theirs for key, (ours, theirs) in rows.items()
    } == dict.fromkeys(values, True)
    assert [key for key, (ours, _) in rows.items() if ours is None] == list(refused)
    assert 1 in taken


# Values that need no cleaning


class ShoutingField(models.CharField):
    def to_python(self, value: Any) -> Any:
        return super().to_python(value).upper()


def make_shouting() -> Any:
    field: Any = models.CharField(max_length=3)
    field.to_python = str.upper
    return field


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        pytest.param(
            models.SlugField(max_length=5),
            ["a", "a-b_1"],
            ["", "a b", "abcdef", "é", None, 1, "a\n"],
            id="slug",
        ),
        pytest.param(
            models.CharField(max_length=3),
            ["a", "é b", "😀"],
            ["", "abcd", "a\0", "\ud800", "a\nb", None, 1],
            id="char",
        ),
        pytest.param(models.TextField(), ["a" * 9999], ["", "a\0", b"a"], id="text"),
        pytest.param(models.EmailField(), [], ["a@example.com"], id="validator"),
        pytest.param(
            models.CharField(max_length=3, choices=[("a", "A")]),
            [],
            ["a"],
            id="choices",
        ),
        pytest.param(ShoutingField(max_length=3), [], ["a"], id="own conversion"),
        pytest.param(models.IntegerField(), [], [1], id="not a text"),
        pytest.param(
            models.CharField(max_length=3, validators=[RegexValidator(".*")]),
            ["a b"],
            ["a\0", "\ud800", SafeString("a")],
            id="a validator that takes all",
        ),
        pytest.param(
            models.CharField(
                max_length=9, validators=[RegexValidator("bad", inverse_match=True)]
            ),
            [],
            ["bad"],
            id="inverse validator",
        ),
        pytest.param(
            models.CharField(max_length=9, validators=[MaxLengthValidator(3)]),
            ["abc"],
            ["abcd", SafeString("a")],
            id="a limit of its own",
        ),
        pytest.param(make_shouting(), [], ["a"], id="own conversion of one field"),
    ],
)
def test_acceptor_says_yes_only_where_clean_changes_nothing(
    field: Any, accepted: Any, refused: Any
) -> None:
    """Fails if a condition is gone: of a validator, a method, a type, a character."""
    accepts = get_acceptor(field)

    assert [value for value in accepted if not accepts(value)] == []
    assert [value for value in refused if accepts(value)] == []
    assert [field.clean(value, None) for value in accepted] == accepted


class HiddenField(models.IntegerField):
    def get_prep_value(self, value: Any) -> Any:
        return value + 1


def test_keys_of_own_kinds_are_prepared() -> None:
    assert is_stock_integer(models.BigAutoField())
    assert is_stock_integer(models.PositiveIntegerField())
    assert not is_stock_integer(HiddenField())
    assert not is_stock_integer(models.UUIDField())
