"""showbackfills and abandonbackfill, on migrations that stopped half-way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.support import servers
from tests.support.catalogue import describe_table
from tests.support.half_way import INITIAL, ROWS, SLUG, YEAR, make_site
from tests.support.site import Site

MODELS = """
class Movie(models.Model):
    title = models.CharField(max_length=100)
    year = models.IntegerField(null=True)
"""


QUESTION = """\
You have requested to abandon films.0003_movie_slug on the 'default' database.
This will:
  - drop column slug of table films_movie, with the values of {tally}, its indexes \
and its constraints
Are you sure you want to do this?

    Type 'yes' to continue, or 'no' to cancel: """


@pytest.fixture
def site(alias: str, tmp_path: Path) -> Site:
    return make_site(alias, tmp_path)


def break_slug(site: Site) -> None:
    """Stop the first backfill after three of the five rows."""
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=3))
    assert site.manage("migrate", "films", "0003").code == 1


def break_year(site: Site) -> None:
    """Stop the second backfill after four of the five rows."""
    site.succeed("migrate", "films", "0003")
    site.write("films/migrations/0004_alter_movie_year.py", YEAR.format(limit=4))
    assert site.manage("migrate", "films", "0004").code == 1


def forget(site: Site, name: str) -> None:
    """Make the state of a run that was killed just before the record."""
    site.succeed("migrate", "films", "0003")
    site.succeed("migrate", "films", name, "--fake")


def describe(alias: str) -> dict[str, Any]:
    return describe_table(connections[alias], "films_movie")


def test_not_started(site: Site) -> None:
    assert site.succeed("showbackfills") == (
        "films.0003_movie_slug        films.Movie.slug  not started\n"
        "films.0004_alter_movie_year  films.Movie.year  not started\n"
    )


def test_empty_database(sqlite_alias: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_rows.py", ROWS)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))

    assert site.succeed("showbackfills") == (
        "films.0003_movie_slug  films.Movie.slug  not started\n"
    )


def test_half_way(site: Site, alias: str) -> None:
    break_slug(site)

    slug = {
        "default": "not started",
        "postgresql": "filling: 3 of 5 rows (60%)",
        "mariadb": "filling: 3 of 5 rows (60%)",
        "mysql": "filling: 3 of 5 rows (60%)",
    }[alias]
    assert site.succeed("showbackfills") == (
        f"films.0003_movie_slug        films.Movie.slug  {slug}\n"
        "films.0004_alter_movie_year  films.Movie.year  not started\n"
    )


def read_states(site: Site) -> list[str]:
    statuses = json.loads(site.succeed("showbackfills", "--json"))
    return [status["state"] for status in statuses]


def test_altered_half_way(site: Site, alias: str) -> None:
    break_year(site)

    count = 3 if alias == "default" else 4
    assert site.succeed("showbackfills") == (
        "films.0003_movie_slug        films.Movie.slug  done\n"
        "films.0004_alter_movie_year  films.Movie.year  pending: "
        f"{count} of 5 rows ({count * 20}%) have a value\n"
    )
    assert read_states(site) == ["done", "pending"]


def test_filled(site: Site, alias: str) -> None:
    site.succeed("migrate", "films", "0003")
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE films_movie SET year = 1900")

    assert site.succeed("showbackfills").splitlines()[1] == (
        "films.0004_alter_movie_year  films.Movie.year  filled, not enforced: 5 rows"
    )
    assert read_states(site) == ["done", "filled"]


def test_done(site: Site) -> None:
    site.succeed("migrate", "films")

    assert site.succeed("showbackfills") == (
        "films.0003_movie_slug        films.Movie.slug  done\n"
        "films.0004_alter_movie_year  films.Movie.year  done\n"
    )


PEOPLE = """\
class Person(models.Model):
    {number} = models.BigAutoField(primary_key=True)
    {table}
"""
FILMS = """\
class Movie(models.Model):
    title = models.CharField(max_length=9)
    director = models.ForeignKey("people.Person", models.CASCADE{options})
"""


# Fails if a foreign key is looked for by a name that another app has changed.
@pytest.mark.parametrize(
    ("number", "table"),
    [("id", "class Meta: db_table = 'humans'"), ("number", "")],
    ids=["table", "column"],
)
def test_done_and_what_it_refers_to_renamed(
    alias: str, tmp_path: Path, number: str, table: str
) -> None:
    settings = servers.get_connection_settings(connections[alias])
    site = Site(tmp_path, apps=["films", "people"], database=settings)
    site.write_models(PEOPLE.format(number="id", table=""), app="people")
    site.write_models(FILMS.format(options=", null=True"))
    site.succeed("makemigrations")
    site.write_models(FILMS.format(options=""))
    site.succeed("makemigrations")
    path = "films/migrations/0002_alter_movie_director.py"
    site.write(path, site.read(path).replace("raise NotImplementedError", "return "))
    site.write_models(PEOPLE.format(number=number, table=table), app="people")
    site.succeed("makemigrations", stdin="y\n")
    site.succeed("migrate", "-v", "0")

    assert site.succeed("showbackfills", "--check") == (
        "films.0002_alter_movie_director  films.Movie.director  done\n"
    )


def test_not_recorded(site: Site) -> None:
    forget(site, "0002")

    assert site.succeed("showbackfills").splitlines()[0] == (
        "films.0003_movie_slug        films.Movie.slug  done, not recorded: run migrate"
    )


def test_recorded_only(site: Site) -> None:
    site.succeed("migrate", "films", "0003", "--fake")

    assert site.succeed("showbackfills").splitlines()[0] == (
        "films.0003_movie_slug        films.Movie.slug  applied, but the column is not "
        "there"
    )


def test_half_way_back(site: Site, alias: str) -> None:
    site.succeed("migrate", "films", "0003")
    text = SLUG.format(limit=9).replace(
        "            populate_movie_slug,\n",
        "            populate_movie_slug,\n"
        "            lambda movie: 1 / (movie.pk < 4) and None,\n",
    )
    site.write("films/migrations/0003_movie_slug.py", text)
    assert site.manage("migrate", "films", "0002").code == 1

    slug = "applied, but not enforced: 2 of 5 rows (40%) have a value"
    if alias == "default":
        slug = "done"
    assert site.succeed("showbackfills").splitlines()[0] == (
        f"films.0003_movie_slug        films.Movie.slug  {slug}"
    )


def test_json(site: Site, alias: str) -> None:
    break_slug(site)

    slug = {
        "migration": "films.0003_movie_slug",
        "field": "films.Movie.slug",
        "is_applied": False,
        "state": "filling",
        "rows": 5,
        "filled": 3,
        "is_exact": True,
        "guard": None,
        "text": "filling: 3 of 5 rows (60%)",
    }
    if alias == "default":
        none = dict.fromkeys(("rows", "filled", "is_exact"))
        slug |= {"state": "not_started", "text": "not started", **none}
    assert json.loads(site.succeed("showbackfills", "--json")) == [
        slug,
        {
            "migration": "films.0004_alter_movie_year",
            "field": "films.Movie.year",
            "is_applied": False,
            "state": "not_started",
            "rows": None,
            "filled": None,
            "is_exact": None,
            "guard": None,
            "text": "not started",
        },
    ]


def test_abandon_after_asking(site: Site, alias: str) -> None:
    before = describe(alias)
    tally = "3 of 5 rows (60%)"
    if alias == "default":
        # There a failed fill leaves nothing.
        tally = "5 rows"
        forget(site, "0002")
    else:
        break_slug(site)
    half_way = describe(alias)
    arguments = ("abandonbackfill", "films", "0003")
    question = QUESTION.format(tally=tally)

    cancelled = site.succeed(*arguments, stdin="no\n")
    unanswered = site.manage(*arguments)
    after_no = describe(alias)
    done = site.succeed(*arguments, stdin="yes\n")

    assert cancelled == f"{question}Cancelled.\n"
    assert unanswered.err == "CommandError: Nobody answers here. Use --noinput.\n"
    assert after_no == half_way != before
    assert done == (
        f"{question}Dropped column slug of table films_movie.\n"
        "The schema is as it was before films.0003_movie_slug.\n"
    )
    assert describe(alias) == before
    assert site.succeed(*arguments) == (
        "Nothing to remove: no backfill of films.0003_movie_slug has left anything.\n"
    )
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    site.succeed("migrate", "films")


def test_abandon_what_is_only_not_recorded(site: Site, alias: str) -> None:
    before = describe(alias)
    forget(site, "0002")

    out = site.succeed("abandonbackfill", "films", "0003_movie_slug", "--noinput")

    assert out == (
        "Dropped column slug of table films_movie.\n"
        "The schema is as it was before films.0003_movie_slug.\n"
    )
    assert describe(alias) == before


def test_abandon_an_alteration(site: Site, alias: str) -> None:
    site.succeed("migrate", "films", "0003")
    before = describe(alias)
    site.succeed("migrate", "films")
    site.succeed("migrate", "films", "0003", "--fake")

    out = site.succeed("abandonbackfill", "films", "0004", "--noinput")

    assert out == (
        "Gave column year of table films_movie its definition from before. The values "
        "that were filled stay.\n"
        "The schema is as it was before films.0004_alter_movie_year.\n"
    )
    assert describe(alias) == before
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(year) FROM films_movie")
        assert cursor.fetchone() == (5,)


def test_abandon_the_check_before_not_null(
    postgresql_alias: str, tmp_path: Path
) -> None:
    connection = connections[postgresql_alias]
    site = Site(tmp_path, database=servers.get_connection_settings(connection))
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_rows.py", ROWS)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    site.write("films/migrations/0004_alter_movie_year.py", YEAR.format(limit=9))
    site.succeed("migrate", "films")
    site.succeed("migrate", "films", "0003", "--fake")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE films_movie ALTER COLUMN year DROP NOT NULL")
        cursor.execute("DROP INDEX " + find_index(cursor, "year"))
    before = describe(postgresql_alias)
    with connection.schema_editor() as editor:
        name = editor._create_index_name("films_movie", ["year"], suffix="_notnull")
        editor.execute(
            f"ALTER TABLE films_movie ADD CONSTRAINT {name} "
            f"CHECK (year IS NOT NULL) NOT VALID"
        )

    site.succeed("abandonbackfill", "films", "0004", "--noinput")

    assert describe(postgresql_alias) == before


def find_index(cursor: Any, column: str) -> str:
    cursor.execute(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'films_movie' "
        "AND indexdef LIKE %s",
        [f"%({column})%"],
    )
    return str(cursor.fetchone()[0])


MISTAKES = {
    "applied": (
        ("films", "0002"),
        "SafefieldError: films.0002_rows is applied on the 'default' database, so "
        "there is nothing to abandon. Undo it with: migrate films "
        "0001_initial\n",
    ),
    "first": (
        ("films", "0001"),
        "SafefieldError: films.0001_initial is applied on the 'default' database, so "
        "there is nothing to abandon. Undo it with: migrate films zero\n",
    ),
    "no backfill": (
        ("films", "0005"),
        "SafefieldError: films.0005_plain has no backfill.\n",
    ),
    "no migration": (
        ("films", "0009"),
        "SafefieldError: Cannot find a migration matching '0009' from app 'films'.\n",
    ),
    "two migrations": (
        ("films", "000"),
        "SafefieldError: More than one migration matches '000' in app 'films'. Be more "
        "specific.\n",
    ),
    "no app": (
        ("books", "0001"),
        "SafefieldError: App 'books' does not have migrations.\n",
    ),
}


@pytest.fixture
def plain_site(sqlite_alias: str, tmp_path: Path) -> Site:
    """Return the project on a SQLite file of its own."""
    site = Site(tmp_path)
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_rows.py", ROWS)
    site.write("films/migrations/0003_movie_slug.py", SLUG.format(limit=9))
    site.write("films/migrations/0004_alter_movie_year.py", YEAR.format(limit=9))
    site.succeed("migrate", "films", "0002")
    return site


@pytest.mark.parametrize("case", MISTAKES)
def test_abandon_mistakes(plain_site: Site, case: str) -> None:
    arguments, message = MISTAKES[case]
    plain = ROWS.replace("0001_initial", "0004_alter_movie_year")
    plain_site.write("films/migrations/0005_plain.py", plain)

    result = plain_site.manage("abandonbackfill", *arguments)

    assert result == ("", message, 1)


def test_abandon_before_its_turn(plain_site: Site) -> None:
    assert plain_site.succeed("abandonbackfill", "films", "0004") == (
        "Nothing to remove: films.0004_alter_movie_year cannot have begun before "
        "films.0003_movie_slug.\n"
    )


def test_abandon_beside_other_operations(site: Site, alias: str) -> None:
    text = SLUG.format(limit=9).replace(
        "    operations = [\n",
        "    operations = [\n"
        '        migrations.AddField("movie", "seen", models.TextField(null=True)),\n'
        '        migrations.AlterModelOptions("movie", {"ordering": ["title"]}),\n',
    )
    site.write("films/migrations/0003_movie_slug.py", text)
    forget(site, "0002")

    out = site.succeed("abandonbackfill", "films", "0003", stdin="yes\n")

    question = QUESTION.format(tally="5 rows").replace(
        "Are you sure",
        "It will NOT undo what else the migration may have done before it stopped:\n"
        "  - Add field seen to movie\n"
        "Are you sure",
    )
    assert out == (
        f"{question}Dropped column slug of table films_movie.\n"
        "films.0003_movie_slug also has:\n"
        "  - Add field seen to movie\n"
        "See which of them have run, and undo them by hand.\n"
    )
    assert list(describe(alias)["columns"]) == [
        "id",
        "title",
        "year",
        "seen",
    ]


def test_abandon_two_backfills(plain_site: Site) -> None:
    """Fails if the first one goes first, on which the second may stand."""
    text = SLUG.format(limit=9).replace(
        "    ]\n",
        "        safefield.operations.AddFieldWithBackfill(\n"
        '            "movie", "size", models.IntegerField(), lambda movie: 1\n'
        "        ),\n"
        "    ]\n",
    )
    plain_site.write("films/migrations/0003_movie_slug.py", text)
    forget(plain_site, "0002")

    out = plain_site.succeed("abandonbackfill", "films", "0003", "--noinput")

    assert out == (
        "Dropped column size of table films_movie.\n"
        "Dropped column slug of table films_movie.\n"
        "The schema is as it was before films.0003_movie_slug.\n"
    )


def test_migration_that_takes_the_name_over(plain_site: Site) -> None:
    text = SLUG.format(limit=9).replace(
        "    operations = [\n",
        '    operations = [\n        migrations.RemoveField("movie", "title"),\n',
    )
    text = text.replace('"slug",', '"title",').replace("movie.title", "str(movie.year)")
    plain_site.write("films/migrations/0003_movie_slug.py", text)
    sentence = (
        "films.Movie.title: migration films.0003_movie_slug begins with another column "
        "title in table films_movie, and the catalogue does not tell which of the two "
        "is there."
    )

    shown = plain_site.succeed("showbackfills").splitlines()[0]
    refused = plain_site.manage("abandonbackfill", "films", "0003", "--noinput")

    assert shown == (
        f"films.0003_movie_slug        films.Movie.title  unknown: {sentence}"
    )
    assert refused == ("", f"BackfillError: {sentence}\n", 1)


def test_other_column_is_not_dropped(plain_site: Site) -> None:
    forget(plain_site, "0002")
    text = SLUG.format(limit=9).replace("max_length=80", "max_length=90")
    plain_site.write("films/migrations/0003_movie_slug.py", text)

    refused = plain_site.manage("abandonbackfill", "films", "0003", "--noinput")

    sentence = (
        "films.Movie.slug cannot be added: table films_movie already has a column "
        "slug of type varchar(80), and varchar(90) was expected. Rename or drop that "
        "column, then run migrate again. Nothing was changed."
    )
    assert refused == ("", f"BackfillError: {sentence}\n", 1)
    assert plain_site.succeed("showbackfills").splitlines()[0] == (
        f"films.0003_movie_slug        films.Movie.slug  unknown: {sentence}"
    )


def test_migration_that_cannot_be_rendered(plain_site: Site) -> None:
    broken = SLUG.format(limit=9).replace("0002_rows", "0004_alter_movie_year")
    plain_site.write(
        "films/migrations/0005_movie_code.py",
        broken.replace('"movie"', '"film"').replace('"slug"', '"code"'),
    )

    assert plain_site.succeed("showbackfills") == (
        "films.0003_movie_slug        films.Movie.slug  not started\n"
        "films.0004_alter_movie_year  films.Movie.year  not started\n"
        "films.0005_movie_code                          unknown: KeyError: "
        "('films', 'film')\n"
    )


def add_database_without_movies(site: Site, condition: str = "db == 'default'") -> None:
    site.write(
        "routers.py",
        "class Router:\n"
        "    def allow_migrate(self, db, app_label, **hints):\n"
        f"        return {condition}\n",
    )
    settings = site.read("settings.py") + (
        "DATABASES['other'] = dict(DATABASES['default'], NAME='other.sqlite3')\n"
        "DATABASE_ROUTERS = ['routers.Router']\n"
    )
    site.write("settings.py", settings)
    site.succeed("migrate", "films", "0002", "--database", "other")


def test_database_without_the_model(plain_site: Site) -> None:
    add_database_without_movies(plain_site)

    elsewhere = (
        "films.0003_movie_slug        films.Movie.slug  not on this database\n"
        "films.0004_alter_movie_year  films.Movie.year  not on this database\n"
    )
    assert plain_site.succeed("showbackfills", "--database", "other") == elsewhere
    # Fails if only the migration that comes next is asked about.
    plain_site.succeed("migrate", "films", "--database", "other")
    assert plain_site.succeed("showbackfills", "--database", "other") == elsewhere


def test_router_that_asks_the_model(plain_site: Site) -> None:
    """Fails if a table is looked for that only the model itself says is not here."""
    add_database_without_movies(
        plain_site, "db == 'default' or [*hints] == ['model_name']"
    )

    assert plain_site.succeed("showbackfills", "--database", "other") == (
        "films.0003_movie_slug        films.Movie.slug  not on this database\n"
        "films.0004_alter_movie_year  films.Movie.year  not on this database\n"
    )


@pytest.mark.parametrize(
    "option",
    ["managed: False", "required_db_vendor: 'oracle'", "proxy: True"],
)
def test_model_that_says_itself_that_it_is_elsewhere(
    plain_site: Site, option: str
) -> None:
    """Fails if only the routers are asked, or only for the migration that is next."""
    name, _, value = option.partition(": ")
    initial = INITIAL.replace(
        "        ),\n    ]",
        f"            options={{{name!r}: {value}}},\n        ),\n    ]",
    )
    plain_site.write("films/migrations/0001_initial.py", initial)
    plain_site.write(
        "films/migrations/0002_rows.py",
        "from django.db import migrations\n\n\n"
        "class Migration(migrations.Migration):\n"
        "    dependencies = [('films', '0001_initial')]\n",
    )
    elsewhere = (
        "films.0003_movie_slug        films.Movie.slug  not on this database\n"
        "films.0004_alter_movie_year  films.Movie.year  not on this database\n"
    )

    assert plain_site.succeed("showbackfills") == elsewhere
    if name != "proxy":
        assert plain_site.manage("migrate").code == 0
        assert plain_site.succeed("showbackfills", "--check") == elsewhere


def test_abandon_keeps_off_a_database_without_the_model(plain_site: Site) -> None:
    # Fails if a table that the routers keep away is looked at: its column goes.
    add_database_without_movies(plain_site)
    path = plain_site.path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE films_movie (id integer PRIMARY KEY, slug varchar(80) NULL)"
        )

    out = plain_site.succeed(
        "abandonbackfill",
        "films",
        "0003",
        "--noinput",
        "--database",
        "other",
    )

    assert (
        out
        == "Nothing to remove: no backfill of films.0003_movie_slug has left "
        + ("anything.\n")
    )
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM pragma_table_info('films_movie')")
        assert found.fetchall() == [("id",), ("slug",)]


def test_abandon_in_a_history_that_is_not_consistent(plain_site: Site) -> None:
    # Fails if what comes later may be recorded: the column of its table goes.
    plain_site.succeed("migrate", "films", "0004")
    plain_site.succeed(
        "shell",
        "-c",
        "from django.db.migrations.recorder import MigrationRecorder\n"
        "MigrationRecorder.Migration.objects.filter(name='0003_movie_slug').delete()",
    )

    result = plain_site.manage("abandonbackfill", "films", "0003", "--noinput")

    assert result.err.endswith(
        "InconsistentMigrationHistory: Migration films.0004_alter_movie_year is "
        "applied before its dependency films.0003_movie_slug on database 'default'.\n"
    )
    assert (result.out, result.code) == ("", 1)


def test_nullable_half_way(postgresql_alias: str, tmp_path: Path) -> None:
    # Fails if a column that is to stay nullable is taken for a finished one.
    site = make_site(postgresql_alias, tmp_path)
    field = "models.CharField(max_length=80, null=True)"
    slug = SLUG.replace("models.SlugField(max_length=80, unique=True)", field)
    slug = slug.replace("else None", "else 1 / 0")
    site.write("films/migrations/0003_movie_slug.py", slug.format(limit=3))
    assert site.manage("migrate", "films", "0003").code == 1

    assert site.succeed("showbackfills").splitlines()[0] == (
        "films.0003_movie_slug        films.Movie.slug  filling: 3 of 5 rows (60%)"
    )


def test_on_a_replica(postgresql_alias: str, tmp_path: Path) -> None:
    # Fails if a session that may not create a temporary table says "unknown".
    site = make_site(postgresql_alias, tmp_path)
    break_slug(site)
    site.write(
        "settings.py",
        site.read("settings.py")
        + "DATABASES['default']['OPTIONS'] = {\n"
        + "    'options': '-c default_transaction_read_only=on'\n}\n",
    )

    assert site.succeed("showbackfills").splitlines()[0] == (
        "films.0003_movie_slug        films.Movie.slug  filling: 3 of 5 rows (60%)"
    )


def test_backfill_beside_the_state(plain_site: Site) -> None:
    text = SLUG.format(limit=9).replace(
        "    operations = [\n",
        "    operations = [migrations.SeparateDatabaseAndState([\n",
    )
    text = text.rstrip().removesuffix("]") + "])]\n"
    plain_site.write("films/migrations/0003_movie_slug.py", text)
    (plain_site.path / "films/migrations/0004_alter_movie_year.py").unlink()

    assert plain_site.succeed("showbackfills") == (
        "films.0003_movie_slug  films.Movie.slug  not started\n"
    )


def test_no_backfills(plain_site: Site) -> None:
    for name in ("0003_movie_slug", "0004_alter_movie_year"):
        (plain_site.path / f"films/migrations/{name}.py").unlink()

    assert plain_site.succeed("showbackfills") == (
        "No migration of this project has a backfill.\n"
    )
    assert plain_site.succeed("showbackfills", "--json") == "[]\n"
