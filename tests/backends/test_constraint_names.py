"""The names of unique constraints and indexes: Django's own, with rows and without."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

pytestmark = pytest.mark.thorough_on("mysql")

ID = ("id", models.BigAutoField(primary_key=True))
LONG = "x" * 50 + "ü"


def text(**options: Any) -> Any:
    return models.CharField(max_length=50, **options)


def one_to_one(**options: Any) -> Any:
    return models.OneToOneField("films.Studio", models.CASCADE, **options)


def foreign_key(**options: Any) -> Any:
    return models.ForeignKey("films.Studio", models.CASCADE, **options)


#: A column, its field, and what it was when there is one already.
FIELDS: dict[str, tuple[str, Any, Any]] = {
    "unique": ("code", text(unique=True), text()),
    "unique, nullable": ("code", text(unique=True, null=True), text(null=True)),
    "unique, made required": ("code", text(unique=True), text(null=True)),
    "index": ("code", text(db_index=True), text(null=True)),
    "unique number": (
        "code",
        models.IntegerField(unique=True),
        models.IntegerField(null=True),
    ),
    "one-to-one": ("code", one_to_one(), foreign_key()),
    "one-to-one, nullable": ("code", one_to_one(null=True), foreign_key(null=True)),
    "long name": (LONG, text(unique=True), text()),
}
TABLES = {"short": "films_movie", "long": "ä" * 29, "longest": "t" * 63}


def read_names(history: History, table: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        found = history.connection.introspection.get_constraints(cursor, table)
    return sorted(
        (name, *(key for key in ("unique", "index", "foreign_key") if what[key]))
        for name, what in found.items()
        if what["columns"] != ["id"]
    )


def make_names(
    alias: str,
    table: str,
    fields: list[Any],
    operation: Operation,
    *,
    atomic: bool = False,
    rows: int = 0,
    taken: str = "",
) -> list[Any]:
    """Return the names that an operation leaves behind, and undo everything."""
    history = History(alias, atomic=atomic)
    history.apply(
        migrations.CreateModel("Studio", [ID]),
        migrations.CreateModel("Movie", [ID, *fields], {"db_table": table}),
    )
    if taken:
        sql = f'CREATE TABLE "{taken}" (id integer)'
        history.apply(migrations.RunSQL(sql, f'DROP TABLE "{taken}"'))
    studio, movie = history.model("Studio"), history.model("Movie")
    history.rows("Studio").bulk_create(studio() for _ in range(rows))
    history.rows("Movie").bulk_create(
        movie(**{movie._meta.get_field(name).attname: number for name, _ in fields})
        for number in range(1, rows + 1)
    )
    history.apply(operation)
    names = read_names(history, table)
    while history.migrations:
        history.unapply()
    return names


def key_of(movie: Any) -> Any:
    return movie.pk


# Fails if a unique constraint gets the name of AlterField where AddField makes it, or
# the other way round. The witness is Django's own operation on an empty table.
@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize("is_added", [True, False], ids=["added", "altered"])
@pytest.mark.parametrize("case", FIELDS)
def test_names_are_djangos(
    case: str, is_added: bool, atomic: bool, rows: int, alias: str
) -> None:
    name, field, old_field = FIELDS[case]
    with_default = field.clone()
    with_default.default = 1
    expected = make_names(
        alias,
        "films_movie",
        [] if is_added else [(name, old_field)],
        migrations.AddField("Movie", name, with_default)
        if is_added
        else migrations.AlterField("Movie", name, field),
    )
    kind: Any = AddFieldWithBackfill if is_added else AlterFieldWithBackfill

    names = make_names(
        alias,
        "films_movie",
        [] if is_added else [(name, old_field)],
        kind("Movie", name, field, key_of),
        atomic=atomic,
        rows=rows,
    )

    assert len(expected) >= 1
    assert names == expected


# Fails if the name is cut at another place than PostgreSQL cuts it, or if something
# that has the name already stops the run.
@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize("is_taken", [False, True], ids=["free", "taken"])
@pytest.mark.parametrize("name", ["code", LONG], ids=["short column", "long column"])
@pytest.mark.parametrize("table", TABLES)
def test_name_is_the_one_of_an_inline_unique(
    table: str, name: str, is_taken: bool, atomic: bool, alias: str
) -> None:
    def make(operation: Operation, **options: Any) -> str:
        names = make_names(alias, TABLES[table], [], operation, **options)
        return str(next(name for name, *what in names if what == ["unique"]))

    # Without an index for LIKE, whose name Django cuts to that of the other index.
    field = models.IntegerField(unique=True)
    plain = migrations.AddField(
        "Movie", name, models.IntegerField(unique=True, default=1)
    )
    expected = make(plain)
    taken = expected if is_taken else ""
    if is_taken:
        expected = make(plain, taken=taken)

    found = make(
        AddFieldWithBackfill("Movie", name, field, key_of),
        taken=taken,
        atomic=atomic,
        rows=2,
    )

    assert found == expected
