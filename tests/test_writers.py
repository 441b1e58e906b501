"""How each database writes a batch."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.test.utils import CaptureQueriesContext

from safefield.acceptance import get_acceptor, is_stock_integer
from safefield.backends import get_backend
from safefield.backends.mysql.writer import MySQLWriter
from safefield.backends.postgresql.writer import PostgreSQLWriter, to_array
from safefield.exceptions import BackfillError
from safefield.operations import AddFieldWithBackfill
from tests.history import History
from tests.sessions import Session

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


@pytest.mark.parametrize("collation", ["utf8mb4_bin", "utf8mb4_german2_ci"])
def test_text_keys_of_another_collation(mariadb_alias: str, collation: str) -> None:
    history = History(mariadb_alias)
    key = models.CharField(primary_key=True, max_length=20, db_collation=collation)
    create_movies(history, key, ["a", "ä"])

    write(history, ["text", "number"], [(("a",), ("A", 1)), (("ä",), ("Ä", None))])

    assert set(read(history, "pk", "text")) == {("a", "A"), ("ä", "Ä")}


def test_text_keys_of_another_collation_on_postgresql(postgresql_alias: str) -> None:
    history = History(postgresql_alias)
    key = models.CharField(primary_key=True, max_length=20, db_collation="C")
    create_movies(history, key, ["a", "B", "ä"])

    write(history, ["text"], [((key,), (key * 2,)) for key in ("a", "B", "ä")])

    assert set(read(history, "pk", "text")) == {("a", "aa"), ("B", "BB"), ("ä", "ää")}


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


def test_rows_that_have_a_value_are_passed_over(alias: str) -> None:
    history = History(alias)
    create_movies(history, models.BigAutoField(primary_key=True), [1, 2])
    history.rows("Movie").filter(pk=1).update(text="theirs")
    text = history.model("Movie")._meta.get_field("text")

    write(history, ["text"], [((1,), ("ours",)), ((2,), ("ours",))], only_null=text)

    assert read(history, "text") == ["theirs", "ours"]


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
    mariadb_alias: str,
    key: models.Field[Any, Any],
    step: int,
    value: Any,
    how: str,
    access: str,
) -> None:
    history = History(mariadb_alias)
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
        cursor.execute(f"EXPLAIN {statement}")
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    assert how in statement
    (movie,) = [line for line in plan if line["table"] == "films_movie"]
    assert (movie["type"], movie["key"]) == (access, "PRIMARY")


def test_row_behind_the_range_may_be_locked(mariadb_alias: str) -> None:
    history = History(mariadb_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 6))
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

    assert "ELT(" in statement
    assert read(history, "text") == [None, "x", "x", None, None]


def test_no_range_where_the_row_behind_it_would_be_waited_for(
    mariadb_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mariadb_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 6))
    monkeypatch.setattr(history.connection, "isolation_level", "repeatable read")

    (statement,) = write(history, ["text"], [((n,), ("x",)) for n in (2, 3)])

    assert "JSON_TABLE(" in statement
    assert read(history, "text") == [None, "x", "x", None, None]


def test_statements_fit_into_a_packet(
    mariadb_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mariadb_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 9))
    rows = [((n,), ('"' * 10_000,)) for n in range(1, 9)]
    monkeypatch.setattr(MySQLWriter, "_max_bytes", 150_000)

    statements = write(history, ["text"], rows)

    assert len(statements) == 4
    assert max(map(len, statements)) < 150_000
    assert set(read(history, "text")) == {'"' * 10_000}


def test_union_where_there_is_no_json_table(
    mariadb_alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(mariadb_alias)
    create_movies(history, models.BigAutoField(primary_key=True), range(1, 52, 2))
    monkeypatch.setattr(MySQLWriter, "_has_json_table", False)

    (statement,) = write(
        history,
        ["text"],
        [((n,), (text,)) for n, text in zip(range(1, 52, 2), NASTY, strict=True)],
    )

    assert "UNION ALL" in statement
    assert read(history, "text") == NASTY


# Values that need no cleaning


class ShoutingField(models.CharField):
    def to_python(self, value: Any) -> Any:
        return super().to_python(value).upper()


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
    ],
)
def test_acceptor_says_yes_only_where_clean_changes_nothing(
    field: Any, accepted: Any, refused: Any
) -> None:
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
