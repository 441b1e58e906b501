"""What a user needs who may do little more than an application does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import Window
from django.db.models.functions import Lower, RowNumber

from safefield import BackfillError, numbered
from safefield.backends.base import locks, retries
from safefield.exceptions import SafefieldError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.half_way import SLUG, make_site
from tests.support.history import History
from tests.support.ledger import add_slug, get_rows, populate_slug
from tests.support.movies import create_movies, values
from tests.support.rehearsals import rehearse
from tests.support.sessions import Session
from tests.support.stops import abandon

pytestmark = pytest.mark.newest

ROLE = f"safefield_poor_{os.getpid()}"

#: What Django's own migrations need of MySQL and MariaDB. Neither CREATE TEMPORARY
#: TABLES nor LOCK TABLES, TRIGGER, PROCESS or SUPER.
ORDINARY = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"


class Admin:
    """
    The session of the one who gives and takes rights.

    Args:
        connection: Of the test, before it is the user's.
    """

    def __init__(self, connection: Any) -> None:
        self.session = Session(connection)
        self.connection = connection
        self.database = connection.ops.quote_name(connection.settings_dict["NAME"])
        self.vendor = connection.vendor
        name = connection.settings_dict["NAME"]
        #: What the database says of a temporary table, and what lets it be made.
        if self.vendor == "postgresql":
            self.refusal = (
                f'permission denied to create temporary tables in database "{name}"'
            )
            self.grant = f'GRANT TEMPORARY ON DATABASE "{name}" TO "{ROLE}"'
        else:
            self.refusal = f"Access denied for user '{ROLE}'@'%' to database '{name}'"
            self.grant = f"GRANT CREATE TEMPORARY TABLES ON `{name}`.* TO '{ROLE}'@'%'"

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.session.execute(statement.format(role=ROLE, database=self.database))
        # To MySQL a session has the rights with which it began.
        self.connection.close()


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    """Let the connection of the test be that of the user, who may do little."""
    names = {"alias", "postgresql_alias", "mysql_alias"} & set(request.fixturenames)
    connection: Any = connections[request.getfixturevalue(names.pop())]
    admin = Admin(connection)
    own = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
    password = own["PASSWORD"]
    if admin.vendor == "postgresql":
        admin.execute(
            "DROP ROLE IF EXISTS {role}",
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password or 'none'}'",
            "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
            "GRANT USAGE, CREATE ON SCHEMA public TO {role}",
        )
    else:
        admin.execute(
            "DROP USER IF EXISTS {role}",
            f"CREATE USER {ROLE} IDENTIFIED BY '{password}'",
            f"GRANT {ORDINARY} ON {{database}}.* TO {{role}}",
        )
    connection.settings_dict.update(USER=ROLE, PASSWORD=password)
    yield admin
    connection.close()
    connection.settings_dict.update(own)
    if admin.vendor == "postgresql":
        admin.execute(
            "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC",
            "DROP OWNED BY {role} CASCADE",
            "DROP ROLE {role}",
        )
    else:
        admin.execute("DROP USER {role}")
    admin.session.__exit__()


on_servers = pytest.mark.parametrize(
    "alias", ["postgresql", "mariadb", "mysql"], indirect=True
)


@pytest.fixture
def history(alias: str, admin: Admin) -> History:
    return History(alias)


def populate_two(movie: Any) -> str | None:
    return populate_slug(movie) if movie.pk < 3 else None


def stop(history: History, operation: Any = None) -> None:
    """Leave the table as a run does that was stopped half-way."""
    with pytest.raises(BackfillError):
        history.apply(operation or add_slug(populate_two))


FILLED = [(n, f"Film Number {n - 1}", f"film-number-{n - 1}-{n}") for n in (1, 2, 3)]

FIELDS = {
    "unique": (models.SlugField(unique=True, max_length=80), populate_slug),
    "index": (models.SlugField(max_length=80), populate_slug),
    "key": (models.ForeignKey("films.Studio", models.CASCADE), lambda _: 1),
    "default": (models.IntegerField(db_default=7), lambda movie: movie.pk),
    "nullable": (models.IntegerField(null=True), lambda movie: movie.pk),
}


@on_servers
@pytest.mark.parametrize("case", FIELDS)
@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
def test_field(history: History, case: str, rows: int) -> None:
    """Fails if LOCK TABLES is needed, which an ordinary user has not got."""
    create_movies(history, rows)
    history.rows("Studio").create(pk=1, name="One")
    field, populate = FIELDS[case]

    history.apply(AddFieldWithBackfill("Movie", "extra", field, populate))

    after = history.describe("Movie")
    history.unapply()
    history.rows("Movie").delete()
    history.apply(migrations.AddField("Movie", "extra", field))
    assert after == history.describe("Movie")


@on_servers
def test_under_inserts(history: History) -> None:
    """Fails if old code that inserts ends a run that may create no trigger."""
    create_movies(history, 3)
    inserted = 0

    def old_code(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal inserted
        is_last = "NOT NULL" in sql and "slug" in sql and "INSERT" not in sql
        if is_last and inserted < 2:
            inserted += 1
            with Session(history.connection) as other:
                other.execute(
                    "INSERT INTO films_movie (id, title, year) VALUES (%s, 'Late', 1)",
                    [9 + inserted],
                )
        return execute(sql, *args)

    with history.connection.execute_wrapper(old_code):
        history.apply(add_slug())

    assert inserted > 0
    assert get_rows(history)[:3] == FILLED
    assert get_rows(history)[3:] == [
        (9 + n, "Late", f"late-{9 + n}") for n in range(1, inserted + 1)
    ]


@on_servers
def test_stopped_run_is_resumed(history: History) -> None:
    """Fails if a temporary table is needed to see the type of the column."""
    create_movies(history, 3)
    stop(history)

    history.apply(add_slug())

    assert get_rows(history) == FILLED


@on_servers
def test_stopped_run_is_abandoned(history: History) -> None:
    """Fails if a temporary table is needed to see the type of the column."""
    create_movies(history, 3)
    before = history.describe("Movie")
    stop(history)

    assert abandon(history, add_slug()) == 1

    assert history.describe("Movie") == before


@on_servers
def test_column_of_somebody_else(history: History) -> None:
    """Fails if it is taken for the wanted one where the type is not asked for."""
    create_movies(history, 3)
    history.apply(migrations.AddField("Movie", "slug", models.IntegerField(null=True)))
    history.states.pop()
    history.migrations.pop()
    before = history.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        history.apply(add_slug())

    assert "already has a column slug of type" in str(caught.value)
    assert history.describe("Movie") == before


@on_servers
def test_backwards(history: History) -> None:
    """Fails if the way back needs more than the way there."""
    create_movies(history, 3)
    before = history.describe("Movie")
    history.apply(add_slug(reverse=lambda movie: {"title": movie.slug}))

    history.unapply()

    assert history.describe("Movie") == before
    assert values(history, "title") == [row[2] for row in FILLED]


@on_servers
def test_altered(history: History) -> None:
    """Fails if a stopped alteration can be neither resumed nor abandoned."""
    create_movies(history, 3)
    history.apply(
        migrations.AddField("Movie", "slug", models.SlugField(null=True, max_length=80))
    )
    before = history.describe("Movie")
    field = models.SlugField(unique=True, max_length=80)
    stop(history, AlterFieldWithBackfill("Movie", "slug", field, populate_two))
    operation = AlterFieldWithBackfill("Movie", "slug", field, populate_slug)
    abandon(history, operation)
    assert history.describe("Movie") == before

    history.apply(operation)
    assert get_rows(history) == FILLED
    history.unapply()

    assert history.describe("Movie") == before


@on_servers
def test_altered_to_another_type(history: History, admin: Admin) -> None:
    """Fails if the error of a temporary table that compares the values is passed on."""
    create_movies(history, 3)
    before = history.describe("Movie")
    operation = AlterFieldWithBackfill("Movie", "year", models.CharField(max_length=9))

    if admin.vendor == "mysql":
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert str(caught.value) == (
            "films.Movie.year cannot be altered: to compare its values with those of "
            "the new type takes a temporary table, which the database refused. It "
            f"said: {admin.refusal}. Let this user create temporary tables "
            f"({admin.grant}). Nothing was changed."
        )
        assert history.describe("Movie") == before
        admin.execute(admin.grant)

    history.apply(operation)
    assert values(history, "year") == ["1900", "1901", "1902"]
    history.unapply()
    assert history.describe("Movie") == before


@on_servers
def test_rehearsal(history: History, admin: Admin) -> None:
    """Fails if a rehearsal says no more than what the database says."""
    create_movies(history, 3)

    with pytest.raises(SafefieldError) as caught:
        rehearse(history, add_slug())

    assert str(caught.value) == (
        "Table films_movie cannot be rehearsed: the database refused a temporary table "
        f"that is like it. It said: {admin.refusal}. Let this user create temporary "
        f"tables ({admin.grant})."
    )
    admin.execute(admin.grant)
    assert rehearse(history, add_slug()).error is None


@on_servers
def test_window(history: History, admin: Admin) -> None:
    """Fails if the refusal comes when the column is there, or names no statement."""
    create_movies(history, 3)
    before = history.describe("Movie")
    operation = AddFieldWithBackfill(
        "Movie",
        "place",
        models.IntegerField(unique=True),
        Window(RowNumber(), order_by="id"),
    )

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    assert str(caught.value) == (
        "films.Movie.place: RowNumber() OVER (F(id)) needs a temporary table, and the "
        f"database refused it. It said: {admin.refusal}. Let this user create "
        f"temporary tables ({admin.grant}), or give a function of one row as populate, "
        "then run migrate again."
    )
    assert history.describe("Movie") == before
    admin.execute(admin.grant)
    history.apply(operation)
    assert values(history, "place") == [1, 2, 3]


@on_servers
def test_expression(history: History) -> None:
    """Fails if an expression that is not about other rows takes a temporary table."""
    create_movies(history, 3)
    history.rows("Movie").update(title="Film")
    field = models.SlugField(max_length=80, unique=True)

    history.apply(
        AddFieldWithBackfill(
            "Movie", "slug", field, Lower("title"), deduplicate=numbered
        )
    )

    assert values(history, "slug") == ["film", "film-2", "film-3"]


@on_servers
def test_deduplicate(history: History) -> None:
    """Fails if what is taken already is looked for in a table of our own."""
    create_movies(history, 3)

    history.apply(add_slug(lambda movie: "film", deduplicate=numbered))

    assert values(history, "slug") == ["film", "film-2", "film-3"]


@on_servers
def test_waits_for_others(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if who may not see the other session gets an error about that."""
    monkeypatch.setattr(locks, "STRONG_LOCK", retries.Patience(2, 0.0, 0.0))
    create_movies(history, 3)
    with Session(history.connection) as other:
        other.execute("BEGIN")
        other.fetch("SELECT * FROM films_movie")
        with pytest.raises(BackfillError) as caught:
            history.apply(add_slug())

    assert str(caught.value).startswith(
        "films.Movie.slug: could not lock table films_movie, because other "
        "sessions held locks on it at each try."
    )
    history.apply(add_slug())
    assert get_rows(history) == FILLED


@on_servers
def test_commands(alias: str, admin: Admin, tmp_path: Path) -> None:
    """Fails if showbackfills needs more than to read, or makes a table for a type."""
    site = make_site(alias, tmp_path)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=3))
    assert site.manage("migrate").code == 1
    if admin.vendor == "mysql":
        # Who may make no table at all.
        admin.execute("REVOKE CREATE ON {database}.* FROM {role}")

    shown = site.manage("showbackfills", "films")

    assert (shown.err, shown.out.splitlines()[0]) == (
        "",
        "films.0003_movie_slug        films.Movie.slug  filling: 3 of 5 rows (60%)",
    )
    if admin.vendor == "mysql":
        admin.execute("GRANT CREATE ON {database}.* TO {role}")
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    assert site.manage("migrate").code == 0
    assert site.manage("showbackfills", "--check").code == 0


# Sessions in which nobody may write

READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET default_transaction_read_only = on",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
}
READ_WRITE = {
    "sqlite": "PRAGMA query_only = OFF",
    "postgresql": "SET default_transaction_read_only = off",
    "mysql": "SET SESSION TRANSACTION READ WRITE",
}


@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
def test_session_that_may_only_read(alias: str, rows: int) -> None:
    """Fails if the error of the database is passed on, with a traceback."""
    history = History(alias)
    create_movies(history, rows)

    def refuse(call: Callable[[], object]) -> str:
        with history.connection.cursor() as cursor:
            cursor.execute(READ_ONLY[history.connection.vendor])
        with pytest.raises(BackfillError) as caught:
            call()
        with history.connection.cursor() as cursor:
            cursor.execute(READ_WRITE[history.connection.vendor])
        return str(caught.value)

    before = history.describe("Movie")
    texts = [refuse(lambda: history.apply(add_slug()))]
    assert history.describe("Movie") == before
    history.apply(add_slug(reverse=lambda movie: {"title": movie.slug}))
    texts.append(refuse(history.unapply))

    assert get_rows(history) == FILLED[:rows]
    for text in texts:
        assert re.fullmatch(
            r"films\.Movie\.slug: the database takes no changes from this session: .*"
            r"read.?only.*\. Let it write, or connect to a server that does\. .*Run "
            r"migrate again.*\.",
            text,
            re.IGNORECASE,
        ), text


# PostgreSQL: whose the table is


@pytest.fixture
def others(postgresql_alias: str, admin: Admin) -> Iterator[History]:
    """The tables are those of another role; this one may read and write them."""
    history = History(postgresql_alias)
    create_movies(history, 3)
    admin.execute(
        "DROP ROLE IF EXISTS {role}_owner",
        "CREATE ROLE {role}_owner",
        "GRANT USAGE, CREATE ON SCHEMA public TO {role}_owner",
        "ALTER TABLE films_movie OWNER TO {role}_owner",
        "ALTER TABLE films_studio OWNER TO {role}_owner",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON films_movie, films_studio TO {role}",
    )
    yield history
    admin.execute("DROP OWNED BY {role}_owner CASCADE", "DROP ROLE {role}_owner")


NOT_OWNER = (
    f"films.Movie.slug cannot be changed: only the owner of table films_movie may "
    f"change it, and role {ROLE} is not {ROLE}_owner. Run migrate as {ROLE}_owner, or "
    f"let {ROLE} act as it: GRANT {ROLE}_owner TO {ROLE}. Nothing was changed."
)


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
def test_table_of_another_role(
    others: History, admin: Admin, rows: int, atomic: bool
) -> None:
    """Fails if the server says so, in a traceback, or only when rows are filled."""
    if not rows:
        others.rows("Movie").delete()
    before = others.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        others.apply(add_slug(), atomic=atomic)

    if atomic and not rows:
        # The error of the server: to ask first would cost each run of tests a trip.
        assert str(caught.value) == (
            "films.Movie.slug: this user may not do what is needed: must be owner of "
            "table films_movie. Give it the right. Nothing was changed. Run migrate "
            "again."
        )
    else:
        assert str(caught.value) == NOT_OWNER
    assert others.describe("Movie") == before
    admin.execute("GRANT {role}_owner TO {role}")
    others.apply(add_slug(), atomic=atomic)
    assert get_rows(others) == FILLED[:rows]


def test_altered_column_and_the_way_back_of_another_role(
    others: History, admin: Admin
) -> None:
    """Fails if rows are filled, or reversed, and the last statement is refused."""
    admin.execute("GRANT {role}_owner TO {role}")
    nullable = models.SlugField(null=True, max_length=80)
    others.apply(migrations.AddField("Movie", "slug", nullable))
    # A session keeps what its role was.
    admin.execute("REVOKE {role}_owner FROM {role}")
    field = models.SlugField(unique=True, max_length=80)
    operation = AlterFieldWithBackfill(
        "Movie",
        "slug",
        field,
        populate_slug,
        reverse=lambda movie: {"title": movie.slug},
    )

    with pytest.raises(BackfillError) as caught:
        others.apply(operation)

    assert str(caught.value) == NOT_OWNER
    assert values(others, "slug") == [None] * 3
    admin.execute("GRANT {role}_owner TO {role}")
    others.apply(operation)
    admin.execute("REVOKE {role}_owner FROM {role}")

    with pytest.raises(BackfillError) as caught:
        others.unapply()

    assert str(caught.value) == NOT_OWNER
    assert get_rows(others) == FILLED


def test_abandoning_the_table_of_another_role(others: History, admin: Admin) -> None:
    """Fails if the server's error is passed on."""
    admin.execute("GRANT {role}_owner TO {role}")
    stop(others)
    admin.execute("REVOKE {role}_owner FROM {role}")

    with pytest.raises(BackfillError) as caught:
        abandon(others, add_slug())

    assert str(caught.value) == NOT_OWNER


@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
@pytest.mark.parametrize(
    ("case", "refused"), [("unique", True), ("index", True), ("nullable", False)]
)
def test_no_create_in_the_schema(
    postgresql_alias: str, admin: Admin, rows: int, case: str, refused: bool
) -> None:
    """Fails if the index is refused when the column is filled, or the rest is too."""
    history = History(postgresql_alias)
    create_movies(history, rows)
    before = history.describe("Movie")
    admin.execute("REVOKE CREATE ON SCHEMA public FROM {role}")
    operation = AddFieldWithBackfill("Movie", "extra", *FIELDS[case])

    if refused:
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert str(caught.value) == (
            f"films.Movie.extra cannot be changed: it takes an index, and role {ROLE} "
            f"may create none in schema public. Let it: GRANT CREATE ON SCHEMA public "
            f"TO {ROLE}. Nothing was changed."
        )
        assert history.describe("Movie") == before
        admin.execute("GRANT CREATE ON SCHEMA public TO {role}")

    history.apply(operation)
    # What is made of the column goes with it, without that right.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM {role}")
    history.unapply()
    assert history.describe("Movie") == before


def test_no_reference_to_the_other_table(others: History, admin: Admin) -> None:
    """Fails if the foreign key is refused when the column is filled."""
    admin.execute("ALTER TABLE films_movie OWNER TO {role}")
    others.rows("Studio").create(pk=1, name="One")
    before = others.describe("Movie")
    operation = AddFieldWithBackfill("Movie", "studio", *FIELDS["key"])

    with pytest.raises(BackfillError) as caught:
        others.apply(operation)

    assert str(caught.value) == (
        f"films.Movie.studio cannot be changed: role {ROLE} may not refer to table "
        f'films_studio. Let it: GRANT REFERENCES ON "films_studio" TO {ROLE}. Nothing '
        f"was changed."
    )
    assert others.describe("Movie") == before
    admin.execute("GRANT REFERENCES ON films_studio TO {role}")
    others.apply(operation)
    assert values(others, "studio_id") == [1, 1, 1]
