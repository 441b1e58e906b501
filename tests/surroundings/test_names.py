"""Names that safefield needs, and that somebody else has."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, migrations, models, transaction
from django.db.models.expressions import Window
from django.db.models.functions import RowNumber

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.movies import MOVIE, STUDIO
from tests.support.old_code import OldCode
from tests.support.rehearsals import rehearse
from tests.surroundings.witness import Snapshot, take_snapshot


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    history.apply(
        STUDIO,
        MOVIE,
        migrations.AddField("Movie", "code", models.CharField(max_length=9, null=True)),
    )
    studio, movie = history.model("Studio"), history.model("Movie")
    history.rows("Studio").bulk_create(studio(name=str(n)) for n in range(3))
    history.rows("Movie").bulk_create(movie(title=str(n), year=n) for n in range(3))
    history.execute("CREATE TABLE audit (what integer)")
    return history


def look(history: History) -> Snapshot:
    return take_snapshot(history.connection)


def make_name(history: History, suffix: str = "", name: str = "slug") -> str:
    """Return the name that Django gives to an index or a constraint of a column."""
    editor: Any = history.connection.schema_editor()
    return str(editor._create_index_name("films_movie", [name], suffix=suffix))


def assert_refused(history: History, operation: Any, names: str) -> None:
    """Fail unless migrate and its rehearsal refuse, and nothing changes."""
    before = look(history)
    message = (
        f"films.Movie.{operation.name} needs a name that something else has: "
        f"{names}. Rename or drop it, then run migrate again. Nothing was changed."
    )

    assert str(rehearse(history, operation).error) == message
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert str(caught.value) == message
    assert look(history) == before


def key_of(movie: Any) -> str:
    return str(movie.pk)


INDEXED = models.IntegerField(db_index=True)
ADDED = AddFieldWithBackfill("Movie", "slug", INDEXED, lambda movie: movie.pk)


def test_index_of_another_table(history: History) -> None:
    """Fails if the database is left to refuse the name when all rows are filled."""
    name = make_name(history)
    history.execute(f"CREATE INDEX {name} ON audit (what)")
    if history.connection.vendor == "mysql":
        before = look(history)
        history.apply(ADDED)
        assert before.catalogue - look(history).catalogue == set()
        return

    owner = {
        "postgresql": f"{name} (index {name} on table audit)",
        "sqlite": f"{name} (index on table audit)",
    }[history.connection.vendor]
    assert_refused(history, ADDED, owner)


def test_index_of_another_column(history: History) -> None:
    """Fails if an index is taken for ours by its name: there would be none."""
    name = make_name(history)
    history.execute(f"CREATE INDEX {name} ON films_movie (year)")

    owner = {
        "mysql": f"{name} (BTREE index of year)",
        "postgresql": f"{name} (index {name} on table films_movie)",
        "sqlite": f"{name} (index on table films_movie)",
    }[history.connection.vendor]
    assert_refused(history, ADDED, owner)


def test_index_of_the_column_that_is_another_one(history: History) -> None:
    """Fails if an index is taken for ours by its column: it finds other rows."""
    if history.connection.vendor == "mysql":
        pytest.skip("it has no partial indexes")
    name = make_name(history, name="code")
    history.execute(f"CREATE INDEX {name} ON films_movie (code) WHERE year > 1")
    operation = AlterFieldWithBackfill(
        "Movie", "code", models.CharField(max_length=9, db_index=True), key_of
    )

    owner = {
        "postgresql": f"{name} (index {name} on table films_movie)",
        "sqlite": f"{name} (index on table films_movie)",
    }[history.connection.vendor]
    assert_refused(history, operation, owner)


def test_unique_constraint(history: History) -> None:
    """Fails if the name of a constraint of another table is not looked for."""
    name = make_name(history, "_uniq")
    history.execute(f"CREATE UNIQUE INDEX {name} ON audit (what)")
    operation = AddFieldWithBackfill(
        "Movie", "slug", models.IntegerField(unique=True), lambda movie: movie.pk
    )
    if history.connection.vendor == "postgresql":
        owner = f"{name} (index {name} on table audit)"
        assert_refused(history, operation, owner)
        return
    before = look(history)

    history.apply(operation)

    assert before.catalogue - look(history).catalogue == set()


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_postgresql_check_with_the_name_of_the_constraint(
    postgresql_alias: str, atomic: bool
) -> None:
    """Fails if only indexes are looked for: the index has to become a constraint."""
    history = History(postgresql_alias, atomic=atomic)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="One", year=1)
    name = make_name(history, "_uniq")
    history.execute(f"ALTER TABLE films_movie ADD CONSTRAINT {name} CHECK (id > 0)")

    assert_refused(
        history,
        AddFieldWithBackfill(
            "Movie", "slug", models.IntegerField(unique=True), lambda movie: movie.pk
        ),
        f"{name} (constraint {name} on table films_movie)",
    )


def test_foreign_key(history: History) -> None:
    """Fails if a foreign key is taken for ours by its name, or met too late."""
    vendor = history.connection.vendor
    if vendor == "sqlite":
        pytest.skip("its foreign keys have no names that count")
    field = models.ForeignKey("films.Studio", models.CASCADE)
    operation = AddFieldWithBackfill("Movie", "studio", field, lambda movie: movie.pk)
    name = make_name(history, "_fk_films_studio_id", "studio_id")
    if vendor == "postgresql":
        history.execute(f"ALTER TABLE films_movie ADD CONSTRAINT {name} CHECK (id > 0)")
        owner = f"{name} (constraint {name} on table films_movie)"
    else:
        history.execute(
            "CREATE TABLE sequel (movie bigint, "
            f"CONSTRAINT {name} FOREIGN KEY (movie) REFERENCES films_movie (id))",
        )
        owner = f"{name} (foreign key of sequel.movie)"

    assert_refused(history, operation, owner)


def test_column_is_indexed_already(history: History) -> None:
    """Fails if the indexes of the field before count as somebody else's."""
    history.apply(
        migrations.AlterField(
            "Movie",
            "code",
            models.CharField(max_length=9, null=True, unique=True, db_index=True),
        )
    )

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "code", models.CharField(max_length=9, unique=True), key_of
        )
    )

    assert [unique["columns"] for unique in history.describe("Movie")["uniques"]] == [
        ["code"]
    ]


# The check and the trigger that keep rows without a value away


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_postgresql_check(postgresql_alias: str, atomic: bool) -> None:
    """Fails if a check is taken for ours by its name: it is dropped at the end."""
    history = History(postgresql_alias, atomic=atomic)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="One", year=1)
    name = make_name(history, "_notnull")
    history.execute(
        f"ALTER TABLE films_movie ADD CONSTRAINT {name} CHECK (year > 0) NOT VALID",
    )
    before = look(history)

    history.apply(ADDED)
    assert before.catalogue - look(history).catalogue == set()

    history.unapply()
    assert look(history).catalogue == before.catalogue


TRIGGERS = {
    "another table": "CREATE TRIGGER {} BEFORE INSERT ON audit "
    "FOR EACH ROW SET NEW.what = 1",
    "another event": "CREATE TRIGGER {} BEFORE UPDATE ON films_movie "
    "FOR EACH ROW SET NEW.year = NEW.year",
    "same event": "CREATE TRIGGER {} BEFORE INSERT ON films_movie "
    "FOR EACH ROW SET NEW.year = NEW.year",
}


@pytest.mark.parametrize("case", TRIGGERS)
@pytest.mark.parametrize("times", [0, 1], ids=["quiet", "busy"])
def test_mariadb_trigger(mysql_alias: str, case: str, times: int) -> None:
    """Fails if a trigger is taken for ours by its name: it is dropped at the end."""
    history = History(mysql_alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="One", year=1)
    history.execute("CREATE TABLE audit (what integer)")
    history.execute(TRIGGERS[case].format(make_name(history, "_notnull")))
    before = look(history)
    created: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("CREATE TRIGGER"):
            created.append(sql)
        return execute(sql, *rest)

    with (
        history.connection.execute_wrapper(OldCode(history, times)),
        history.connection.execute_wrapper(watch),
    ):
        history.apply(ADDED)

    assert len(created) == times
    after = look(history)
    lost = before.catalogue - after.catalogue
    # A row more, and its AUTO_INCREMENT.
    assert {fact for fact in lost if "ENGINE" not in fact} == set()
    assert len([fact for fact in after.catalogue if fact.startswith("TRIGGER")]) == 1


def test_temporary_tables_of_the_session(history: History) -> None:
    """Fails if a temporary table of ours has a name that can be had already."""
    names = ["safefield_probe", "safefield_rehearsal", "safefield_values"]
    for name in names:
        history.execute(
            f"CREATE TEMPORARY TABLE {name} (n integer)",
            f"INSERT INTO {name} VALUES (7)",
        )
    operation = AlterFieldWithBackfill(
        "Movie",
        "code",
        models.CharField(max_length=9, unique=True),
        Window(RowNumber(), order_by="pk"),
    )

    assert rehearse(history, operation).error is None
    history.apply(operation)
    history.unapply()

    with history.connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"SELECT n FROM {name}")
            assert cursor.fetchall() in ([(7,)], ((7,),)), name


# Settings


def test_mariadb_foreign_key_checks_stay_off(mysql_alias: str) -> None:
    """Fails if the setting is switched on at the end, whatever it was."""
    history = History(mysql_alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Studio").create(name="One")
    history.rows("Movie").create(title="One", year=1)
    history.execute("SET SESSION foreign_key_checks = 0")
    before = look(history).session
    field = models.ForeignKey("films.Studio", models.CASCADE)

    history.apply(AddFieldWithBackfill("Movie", "studio", field, lambda movie: 1))

    assert look(history).session == before


def test_postgresql_constraints_wait_as_before(postgresql_alias: str) -> None:
    """Fails if all constraints wait after the backfill, also those that did not."""
    history = History(postgresql_alias, atomic=True)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="One", year=1)
    history.execute(
        "CREATE TABLE at_once (n integer UNIQUE DEFERRABLE INITIALLY IMMEDIATE)",
        "CREATE TABLE later (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    )

    def look_at_both(apps: Any, editor: Any) -> None:
        editor.execute("INSERT INTO later VALUES (1), (1)")
        editor.execute("DELETE FROM later")
        with pytest.raises(IntegrityError), transaction.atomic(postgresql_alias):
            editor.execute("INSERT INTO at_once VALUES (1), (1)")

    look = migrations.RunPython(look_at_both, look_at_both)
    history.apply(look, ADDED, look)
    assert history.rows("Movie").get().slug == 1
    history.unapply()


@pytest.mark.parametrize("is_new", [False, True])
def test_column_whose_name_differs_by_an_accent(history: History, is_new: bool) -> None:
    """Fails if it is looked for as a server compares texts: the other one is found."""
    history.execute(
        "ALTER TABLE films_movie ADD ete integer DEFAULT 5 NOT NULL CHECK (ete > 4)",
        "CREATE INDEX by_hand_ete ON films_movie (ete)",
    )
    name = "\u00e9t\u00e9"
    field = models.IntegerField(db_index=True, db_column=name)
    operation: Any = AddFieldWithBackfill("Movie", name, field, lambda movie: 7)
    if not is_new:
        nullable = models.IntegerField(null=True, db_column=name)
        history.apply(migrations.AddField("Movie", name, nullable))
        operation = AlterFieldWithBackfill("Movie", name, field, lambda movie: 7)
    before = history.describe("Movie")

    history.apply(operation)

    assert {getattr(movie, name) for movie in history.rows("Movie")} == {7}
    table = history.describe("Movie")
    assert table["columns"][name]["null"] is False
    columns = [index["columns"] for index in table["indexes"]]
    # As PostgreSQL spells it, and the others.
    assert [f'"{name}"'] in columns or [name] in columns
    assert columns.count(["ete"]) == 1
    history.unapply()
    assert history.describe("Movie") == before
