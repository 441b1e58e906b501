"""Expressions that go through a temporary table, and what stands around it."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import (
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Subquery,
    Value,
    Window,
)
from django.db.models.functions import Cast, Concat, FirstValue, RowNumber, Upper

import safefield
from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers

BOOK = migrations.CreateModel(
    "Book",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("shelf", models.IntegerField()),
        ("price", models.DecimalField(max_digits=8, decimal_places=2)),
        ("big", models.PositiveBigIntegerField()),
        ("bought", models.DateTimeField()),
        # Names that its own queries could have.
        ("safefield_value", models.IntegerField(default=1)),
        ("safefield_key0", models.IntegerField(default=1)),
        ("safefield_number", models.IntegerField(default=1)),
        ("safefield_group", models.IntegerField(default=1)),
        ("safefield_rows", models.IntegerField(default=1)),
        ("safefield_all", models.IntegerField(default=1)),
        ("value", models.IntegerField(default=1)),
        ("key0", models.IntegerField(default=1)),
    ],
)
MOMENT = dt.datetime(2020, 3, 29, 1, 30, 5, 6, tzinfo=dt.timezone.utc)

#: What is of the table as a whole: through the temporary table on each database.
BY_TABLE = Window(RowNumber(), order_by="id")


class FixedCharField(models.CharField):  # type: ignore[type-arg]  # not at run time
    """A column of type char(n)."""

    def db_type(self, connection: Any) -> str:
        return f"char({self.max_length})"


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(BOOK)
    create(history)
    return history


def create(history: History) -> None:
    history.rows("Book").bulk_create(
        history.model("Book")(
            title=f"Título {n} ",
            shelf=n % 2,
            price=decimal.Decimal(n) / 3,
            big=2**64 - 1 - n if history.connection.vendor == "mysql" else 2**63 - 1,
            bought=MOMENT + dt.timedelta(days=n),
        )
        for n in range(5)
    )


def add(
    field: models.Field[Any, Any], populate: Any = BY_TABLE, **options: Any
) -> AddFieldWithBackfill:
    return AddFieldWithBackfill("Book", "extra", field, populate, **options)


def read_raw(history: History, column: str) -> list[Any]:
    """Return a column as the server has it, byte by byte."""
    sql = {
        "sqlite": "typeof({0}), hex({0})",
        "postgresql": "pg_typeof({0})::text, {0}::text, octet_length({0}::text)",
        "mysql": "HEX({0}), {0}",
    }[history.connection.vendor].format(column)
    with history.connection.cursor() as cursor:
        cursor.execute(f"SELECT id, {sql} FROM films_book ORDER BY id")
        return list(cursor.fetchall())


def number() -> models.Field[Any, Any]:
    return models.IntegerField()


#: A field, and an expression of the row, which goes in each of the three ways.
EXACT: dict[str, tuple[models.Field[Any, Any], Any]] = {
    "char(n)": (FixedCharField(max_length=25), Upper("title")),
    "text": (models.CharField(max_length=30), Concat("title", Value("é\U0001f389 "))),
    "quotient": (
        models.DecimalField(max_digits=20, decimal_places=10),
        ExpressionWrapper(
            F("price") / 3, models.DecimalField(max_digits=20, decimal_places=10)
        ),
    ),
    "quotient of integers": (
        models.FloatField(),
        ExpressionWrapper(F("price") / Value(7.0), models.FloatField()),
    ),
    "rounded": (models.DecimalField(max_digits=8, decimal_places=1), F("price")),
    "unsigned": (models.PositiveBigIntegerField(), F("big")),
    "datetime": (models.DateTimeField(), F("bought")),
    "aware value": (
        models.DateTimeField(),
        Value(MOMENT.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=45)))),
    ),
    "date of a datetime": (models.DateField(), Cast("bought", models.DateField())),
    "decimal value": (
        models.DecimalField(max_digits=20, decimal_places=10),
        Value(decimal.Decimal("0.1234567891")),
    ),
    "boolean": (models.BooleanField(), Value(True)),
    "float": (models.FloatField(), Cast("price", models.FloatField())),
    "JSON": (models.JSONField(), Value({"é": [1, None]}, models.JSONField())),
}


@pytest.mark.parametrize("way", ["plain", "subquery", "window"])
def test_the_same_bytes_as_update(alias: str, way: str) -> None:
    # Fails if a value is converted more than once on its way, or to another type.
    history = History(alias)
    history.apply(BOOK)
    create(history)
    cases = dict(EXACT)
    if (alias, way) == ("mariadb", "window"):
        # A window has fewer digits there than what it is made of.
        del cases["quotient"]
    for number, (field, expression) in enumerate(cases.values()):
        populate: Any = expression
        if way == "subquery":
            itself = history.model("Book")._base_manager.filter(pk=OuterRef("pk"))
            populate = Subquery(
                itself.annotate(found=expression).values("found"), output_field=field
            )
        elif way == "window":
            populate = Window(FirstValue(expression), partition_by="id", order_by="id")
        twin = field.clone()
        twin.null = True

        history.apply(
            AddFieldWithBackfill("Book", f"extra{number}", field.clone(), populate),
            migrations.AddField("Book", f"twin{number}", twin),
        )

        history.rows("Book").order_by().update(**{f"twin{number}": expression})
    for number, case in enumerate(cases):
        assert (case, read_raw(history, f"extra{number}")) == (
            case,
            read_raw(history, f"twin{number}"),
        )


def test_tables_and_views_of_that_name_stay(history: History) -> None:
    # Fails if the temporary table has a name that somebody else has.
    connection = history.connection
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE safefield_values (id integer, number integer)")
        cursor.execute("INSERT INTO safefield_values VALUES (1, 7)")
        cursor.execute("CREATE VIEW safefield_value AS SELECT 7 AS number")
        cursor.execute("CREATE TEMPORARY TABLE safefield_probe_2 (id integer)")
        cursor.execute("INSERT INTO safefield_probe_2 VALUES (3)")
    shelved = models.expressions.RawSQL(
        "(SELECT number FROM safefield_values) + (SELECT number FROM safefield_value)",
        (),
        output_field=models.IntegerField(),
    )

    history.apply(add(number(), Window(Max(shelved), partition_by="id")))

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, number FROM safefield_values")
        assert list(cursor.fetchall()) == [(1, 7)]
        cursor.execute("SELECT number FROM safefield_value")
        assert list(cursor.fetchall()) == [(7,)]
        cursor.execute("SELECT id FROM safefield_probe_2")
        assert list(cursor.fetchall()) == [(3,)]
        if connection.vendor == "mysql":
            # What the fixture does not see.
            cursor.execute("DROP TEMPORARY TABLE safefield_probe_2")
    assert list(history.rows("Book").values_list("extra", flat=True)) == [14] * 5


def test_temporary_table_of_the_old_name_stays(history: History) -> None:
    # Fails if a temporary table of the session is dropped or hidden.
    with history.connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE safefield_values (id integer)")
        cursor.execute("INSERT INTO safefield_values VALUES (3)")

    history.apply(add(number()))

    with history.connection.cursor() as cursor:
        cursor.execute("SELECT id FROM safefield_values")
        assert list(cursor.fetchall()) == [(3,)]
        cursor.execute("DROP TABLE safefield_values")


def test_fields_named_as_its_own_queries(history: History) -> None:
    # Fails if an annotation can meet a field of the model.
    field = models.CharField(max_length=30, unique=True)
    shelf = Window(Max("shelf"), partition_by="shelf")

    history.apply(
        add(field, Cast(shelf, models.CharField()), deduplicate=safefield.numbered)
    )

    found = list(history.rows("Book").values_list("extra", flat=True))
    assert found == ["0", "1", "0-2", "1-2", "0-3"]


def test_commits_nothing_of_the_caller(mysql_alias: str) -> None:
    # Fails if a statement about the table commits, as CREATE INDEX and DROP TABLE do.
    from safefield.backends import get_backend

    history = History(mysql_alias)
    history.apply(BOOK)
    create(history)
    connection = history.connection
    model = history.model("Book")
    make_table = get_backend(connection).values_table
    table = make_table(connection, model, model._meta.get_field("shelf"))
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE films_book SET shelf = 99")
        table.create()
        table.insert(history.rows("Book").values_list("id", "shelf").order_by())
        table.index()
        table.drop()
        cursor.execute("ROLLBACK")
        cursor.execute("SELECT MAX(shelf) FROM films_book")
        assert cursor.fetchone() == (1,)


def test_every_temporary_table_has_a_primary_key(mysql_alias: str) -> None:
    # Fails if a server with sql_require_primary_key=ON would refuse the table.
    history = History(mysql_alias)
    history.apply(BOOK)
    create(history)
    created = []

    def watch(execute: Any, sql: str, *arguments: Any) -> Any:
        if "CREATE TEMPORARY TABLE" in sql:
            created.append(sql)
        return execute(sql, *arguments)

    with history.connection.execute_wrapper(watch):
        history.apply(add(number()))

    assert created
    assert all("(PRIMARY KEY (key0))" in sql for sql in created)


@on_servers
def test_leaves_nothing_behind_after_an_error(history: History) -> None:
    # Fails if the table stays when the fill raises.
    with pytest.raises(BackfillError):
        history.apply(add(number(), Window(Max(Cast("title", models.IntegerField())))))

    with history.connection.cursor() as cursor:
        tables = {
            "postgresql": "SELECT relname FROM pg_class WHERE relpersistence = 't'",
        }
        if history.connection.vendor in tables:
            cursor.execute(tables[history.connection.vendor])
            assert list(cursor.fetchall()) == []


def test_behind_a_pooler(postgresql_alias: str, monkeypatch: Any) -> None:
    # Fails if the table is made where the next statement may not find it.
    history = History(postgresql_alias)
    history.apply(BOOK)
    create(history)
    before = history.describe("Book")
    monkeypatch.setitem(
        connections[postgresql_alias].settings_dict,
        "DISABLE_SERVER_SIDE_CURSORS",
        True,
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(add(number()))

    assert str(caught.value) == (
        "films.Book.extra: RowNumber() OVER (F(id)) needs a "
        "temporary table, and the connection is that of a pooler, which may hand out "
        "another one for the next statement. "
        "Connect to the database itself, or give a function of one row as populate, "
        "then run migrate again."
    )
    assert history.describe("Book") == before

    # Within one transaction it is the same connection.
    history.apply(add(number()), atomic=True)
    assert list(history.rows("Book").values_list("extra", flat=True)) == [1, 2, 3, 4, 5]


# Rows that the database refuses


@pytest.mark.parametrize("way", ["plain", "window", "aggregate"])
def test_refused_in_one_row(history: History, way: str) -> None:
    # Fails if a value that cannot be computed in one row is not told by its key.
    keys = list(history.rows("Book").values_list("pk", flat=True))
    history.rows("Book").update(title="7")
    history.rows("Book").filter(pk=keys[3]).update(title="seven")
    vendor = history.connection.vendor
    populate: Any = Cast("title", models.IntegerField())
    if way == "window":
        populate = Window(Max(populate), partition_by="id")
    elif way == "aggregate":
        populate = Max(populate)

    if vendor == "sqlite":
        # It makes 0 of what is no number, as update() does.
        history.apply(add(number(), populate))
        assert list(history.rows("Book").values_list("extra", flat=True)) == [
            7,
            7,
            7,
            0,
            7,
        ]
        return
    with pytest.raises(BackfillError) as caught:
        history.apply(add(number(), populate))

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (keys[3], "the database refused it: a value is not of the column's type")
    ]
    if vendor == "mysql" or not history.atomic:
        filled = [None] * 5 if way == "window" else [7, 7, 7, None, 7]
        with history.connection.cursor() as cursor:
            cursor.execute("SELECT extra FROM films_book ORDER BY id")
            assert [extra for (extra,) in cursor.fetchall()] == filled


@on_servers
def test_refused_in_the_first_rows(history: History) -> None:
    # Fails if something is changed for an expression that works on none of them.
    before = history.describe("Book")

    with pytest.raises(BackfillError) as caught:
        history.apply(add(number(), Cast("title", models.IntegerField())))

    assert len(caught.value.rows) == 5
    if history.connection.vendor == "postgresql":
        assert history.describe("Book") == before


def test_datetime_without_a_time_zone(history: History) -> None:
    # Fails if it is found out only by a traceback, or written with a warning.
    before = history.describe("Book")

    with pytest.raises(BackfillError) as caught:
        history.apply(add(models.DateTimeField(), Value(dt.datetime(2020, 1, 2))))

    assert str(caught.value).startswith(
        "films.Book.extra: Value(datetime.datetime(2020, 1, 2, 0, 0)) cannot be "
        "computed: RuntimeWarning: DateTimeField "
    )
    assert history.describe("Book") == before


class Broken(models.Func):
    """An expression that cannot become SQL."""

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyError("template")


def test_expression_that_cannot_become_sql(history: History) -> None:
    # Fails if an error of another class than Django's own is passed on.
    before = history.describe("Book")

    with pytest.raises(BackfillError) as caught:
        history.apply(add(number(), Broken("shelf")))

    assert str(caught.value) == (
        "films.Book.extra: Broken(F(shelf)) cannot be computed: KeyError: 'template'. "
        "Fix the expression, then run migrate again. Nothing was changed."
    )
    assert history.describe("Book") == before


TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER lose AFTER UPDATE ON films_book WHEN NEW.id = 3 BEGIN "
        "UPDATE films_book SET extra = NULL WHERE id = 3; END"
    ),
    "postgresql": (
        "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$; "
        "CREATE TRIGGER undo BEFORE UPDATE ON films_book FOR EACH ROW "
        "WHEN (OLD.id = 3) EXECUTE FUNCTION undo()"
    ),
    "mysql": (
        "CREATE TRIGGER lose BEFORE UPDATE ON films_book FOR EACH ROW "
        "BEGIN IF NEW.id = 3 THEN SET NEW.extra = NULL; END IF; END"
    ),
}


@pytest.mark.parametrize(
    "populate", [F("shelf"), BY_TABLE, Max("shelf")], ids=["plain", "table", "joined"]
)
@pytest.mark.parametrize("null", [False, True], ids=["required", "nullable"])
def test_value_that_a_trigger_undoes(
    history: History, populate: Any, null: bool
) -> None:
    # Fails if the expression is blamed for a row that keeps no value, or nothing is.
    history.apply(migrations.AddField("Book", "extra", models.IntegerField(null=True)))
    with history.connection.cursor() as cursor:
        cursor.execute("UPDATE films_book SET id = id - %s", [get_first(history) - 1])
        cursor.execute(TRIGGERS[history.connection.vendor], None)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Book",
                "extra",
                models.IntegerField(null=null, db_index=True),
                populate,
            )
        )

    assert [(row.pk, row.reason) for row in caught.value.rows] == [
        (3, "the database kept no value: a trigger or rule undoes the UPDATE")
    ]


def get_first(history: History) -> int:
    return int(history.rows("Book").values_list("pk", flat=True)[0])


#: The names of the temporary tables of the session.
TEMPORARY = {
    "sqlite": "SELECT name FROM sqlite_temp_master",
    "postgresql": "SELECT relname FROM pg_class "
    "WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'",
}


@pytest.mark.parametrize("alias", ["default", "postgresql"], indirect=True)
def test_no_temporary_table_is_left(alias: str) -> None:
    """Fails if the table of the values stays for the rest of the session."""
    history = History(alias)
    history.apply(BOOK)
    history.rows("Book").create(title="a", shelf=1, price=1, big=1, bought=MOMENT)
    history.apply(
        AddFieldWithBackfill("Book", "number", models.IntegerField(), BY_TABLE)
    )

    with history.connection.cursor() as cursor:
        cursor.execute(TEMPORARY[history.connection.vendor])
        assert cursor.fetchall() == []
