"""Every row gets its value, or an error says which do not and why."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import OperationalError, migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.old_code import Insertion
from tests.support.titles import FIELDS, create, get_title, read

# Row security


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def secured(postgresql_alias: str, request: pytest.FixtureRequest) -> Any:
    """A table whose owner is under row security, in a session of that role."""
    history = History(postgresql_alias, atomic=request.param)
    create(history)
    role = f"safefield_{request.param}_owner".lower()
    history.execute(
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role}",
        f"GRANT ALL ON SCHEMA public TO {role}",
        f"ALTER TABLE films_movie OWNER TO {role}",
        "ALTER TABLE films_movie ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE films_movie FORCE ROW LEVEL SECURITY",
        "CREATE POLICY shown ON films_movie USING (id < 40)",
    )
    history.execute(f"SET ROLE {role}")
    yield history
    history.execute(
        "RESET ROLE",
        f"DROP OWNED BY {role} CASCADE",
        f"DROP ROLE {role}",
    )


def refusal(history: History) -> str:
    role = f"safefield_{history.atomic}_owner".lower()
    return (
        "films.Movie.code cannot be filled: row security may hide rows of table "
        f"films_movie from role {role}, and they would stay without a value. Run "
        "migrate as a role with BYPASSRLS, or as the owner of the table without FORCE "
        "ROW LEVEL SECURITY. Nothing was changed."
    )


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("sees", ["id < 40", "false"])
def test_row_security(secured: History, null: bool, sees: str) -> None:
    """Fails if rows that the role cannot see are taken for none."""
    secured.execute(f"ALTER POLICY shown ON films_movie USING ({sees})")
    before = secured.describe("Movie")
    field = models.CharField(max_length=200, null=null)

    with pytest.raises(BackfillError) as caught:
        secured.apply(AddFieldWithBackfill("Movie", "code", field, get_title))

    assert str(caught.value) == refusal(secured)
    assert secured.describe("Movie") == before


def test_row_security_of_an_altered_field_and_on_the_way_back(
    secured: History,
) -> None:
    """Fails if only the column that is added asks for row security."""
    secured.execute("ALTER TABLE films_movie NO FORCE ROW LEVEL SECURITY")
    secured.apply(
        AddFieldWithBackfill(
            "Movie",
            "code",
            models.CharField(max_length=200, null=True),
            get_title,
            lambda movie: {"title": f"{movie.code}!"},
        )
    )
    assert len(read(secured)) == 6
    secured.execute("ALTER TABLE films_movie FORCE ROW LEVEL SECURITY")
    before = secured.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        secured.unapply()
    assert str(caught.value) == refusal(secured)
    with pytest.raises(BackfillError) as caught:
        secured.apply(
            AlterFieldWithBackfill(
                "Movie", "code", models.CharField(max_length=200), get_title
            )
        )

    assert str(caught.value) == refusal(secured)
    assert secured.describe("Movie") == before


def test_row_security_that_is_not_for_this_role(secured: History) -> None:
    secured.execute("RESET ROLE")

    secured.apply(
        AddFieldWithBackfill(
            "Movie", "code", models.CharField(max_length=200), get_title
        )
    )

    assert read(secured) == [f"Film {n}" for n in range(1, 7)]


# What comes in behind the fill


def begins_to_enforce(sql: str) -> bool:
    # The index on both servers; nothing comes behind it but its constraint.
    return "UNIQUE" in sql


@on_servers
@pytest.mark.parametrize("is_added", [True, False], ids=["added", "altered"])
def test_row_behind_the_fill_of_a_nullable_field(alias: str, is_added: bool) -> None:
    """Fails if only NOT NULL looks for rows from the start of the table."""
    history = History(alias)
    field = models.CharField(max_length=200, null=True)
    create(history, *([] if is_added else [("code", field)]))
    operation: Any = AddFieldWithBackfill if is_added else AlterFieldWithBackfill
    unique = models.CharField(max_length=200, null=True, unique=True)
    insertion = Insertion(history, begins_to_enforce)

    with history.connection.execute_wrapper(insertion):
        history.apply(operation("Movie", "code", unique, get_title))

    assert insertion.is_done
    assert read(history) == ["Late", *(f"Film {n}" for n in range(1, 7))]


def test_rows_for_which_populate_gives_none_stay_empty(alias: str) -> None:
    history = History(alias)
    create(history)
    field = models.CharField(max_length=200, null=True)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "code", field, lambda movie: movie.title if movie.pk > 30 else None
        )
    )

    assert read(history) == [None, None, None, "Film 4", "Film 5", "Film 6"]


# MySQL and MariaDB without strict mode


def set_mode(history: History, mode: str) -> None:
    history.execute(f"SET SESSION sql_mode = '{mode}'")


def get_session(history: History) -> Any:
    with history.connection.cursor() as cursor:
        cursor.execute(
            "SELECT @@sql_mode, @@foreign_key_checks, @@lock_wait_timeout, "
            "@@innodb_lock_wait_timeout"
        )
        return cursor.fetchone()


@pytest.mark.parametrize("mode", ["", "ANSI_QUOTES,NO_ZERO_DATE"])
def test_row_that_comes_in_without_strict_mode(mysql_alias: str, mode: str) -> None:
    """Fails if the ALTER turns its NULL into an empty text, as without strict mode."""
    history = History(mysql_alias)
    create(history)
    set_mode(history, mode)
    before = get_session(history)
    insertion = Insertion(
        history, lambda sql: sql.startswith("ALTER TABLE") and "NOT NULL" in sql
    )

    with history.connection.execute_wrapper(insertion):
        history.apply(
            AddFieldWithBackfill(
                "Movie", "code", models.CharField(max_length=200), get_title
            )
        )

    assert insertion.is_done
    assert read(history) == ["Late", *(f"Film {n}" for n in range(1, 7))]
    assert get_session(history) == before


def test_value_that_does_not_fit_without_strict_mode(mysql_alias: str) -> None:
    """Fails if the server may cut what an expression gives."""
    history = History(mysql_alias)
    create(history)
    set_mode(history, "")
    before = get_session(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "Movie", "code", models.CharField(max_length=3), models.F("title")
            )
        )

    assert [row.pk for row in caught.value.rows] == [10, 20, 30, 40, 50, 60]
    assert read(history) == [None] * 6
    assert get_session(history) == before


def test_existing_value_is_not_clipped_without_strict_mode(mysql_alias: str) -> None:
    """Fails if the new type clips, as an ALTER without strict mode does."""
    history = History(mysql_alias)
    create(history, ("code", models.IntegerField(null=True)))
    history.rows("Movie").filter(pk=20).update(code=70_000)
    set_mode(history, "")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill(
                "Movie", "code", models.SmallIntegerField(), lambda movie: 1
            )
        )

    assert [row.pk for row in caught.value.rows] == [20]
    assert read(history)[1] == 70_000


@pytest.mark.parametrize("checks", [0, 1])
@pytest.mark.parametrize("fails", [False, True])
def test_session_is_as_before(mysql_alias: str, checks: int, fails: bool) -> None:
    """Fails if foreign_key_checks, or a wait, is set to what is usual afterwards."""
    history = History(mysql_alias)
    history.apply(migrations.CreateModel("Studio", FIELDS))
    create(history)
    history.rows("Studio").bulk_create([history.model("Studio")(id=1, title="x")])
    history.execute(
        f"SET SESSION foreign_key_checks = {checks}, lock_wait_timeout = 77, "
        "innodb_lock_wait_timeout = 33",
    )
    set_mode(history, "NO_ENGINE_SUBSTITUTION")
    before = get_session(history)
    operation = AddFieldWithBackfill(
        "Movie",
        "studio",
        models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: 2 if fails and movie.pk == 30 else 1,
    )

    if fails:
        with pytest.raises(BackfillError):
            history.apply(operation)
    else:
        history.apply(operation)

    assert get_session(history) == before == ("NO_ENGINE_SUBSTITUTION", checks, 77, 33)
    if not fails:
        history.unapply()
        assert get_session(history) == before


def test_session_is_as_before_where_a_size_is_not_to_be_had(
    mysql_alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails if a look at the size of a table leaves its setting when it fails."""
    history = History(mysql_alias)
    if history.connection.mysql_is_mariadb:
        pytest.skip("MariaDB needs no setting for it")
    create(history)
    caplog.set_level(logging.INFO, "safefield")
    looks = []

    def refuse(execute: Any, sql: Any, *rest: Any) -> Any:
        if "TABLE_ROWS" in str(sql):
            looks.append(sql)
            raise OperationalError(1290, "refused")
        return execute(sql, *rest)

    def ask() -> Any:
        with history.connection.cursor() as cursor:
            cursor.execute("SELECT @@information_schema_stats_expiry")
            return cursor.fetchone()

    before = ask()
    with history.connection.execute_wrapper(refuse):
        history.apply(
            AddFieldWithBackfill(
                "Movie", "code", models.CharField(max_length=200), get_title
            )
        )

    assert looks
    assert ask() == before
