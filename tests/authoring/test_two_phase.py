"""makemigrations --two-phase: one migration under the old code, one under the new."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, migrations, models

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support import servers
from tests.support.catalogue import describe_table, without_names
from tests.support.history import History
from tests.support.ledger import NO_WAITING
from tests.support.movies import MOVIE, STUDIO, slug_of
from tests.support.sessions import Session
from tests.support.site import Site

pytestmark = pytest.mark.newest

MODELS = """\
class Movie(models.Model):
    title = models.CharField(max_length=100)
"""
SLUG = "    slug = models.SlugField(unique=True, max_length=80)\n"

FIRST = '''\
import safefield.operations
from django.db import migrations, models


def populate_movie_slug(movie):
    """
    Return the slug of one existing movie.

    Fields to build it from: id, title.
    """
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("films", "0001_initial"),
    ]

    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="slug",
            field=models.SlugField(max_length=80, null=True, unique=True),
            populate=populate_movie_slug,
        ),
    ]
'''

SECOND = """\
import importlib

import safefield.operations
from django.db import migrations, models

try:
    populate_movie_slug = importlib.import_module(
        ".0002_movie_slug", __package__
    ).populate_movie_slug
except ModuleNotFoundError:  # 0002_movie_slug is squashed.
    populate_movie_slug = None


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("films", "0002_movie_slug"),
    ]

    operations = [
        safefield.operations.AlterFieldWithBackfill(
            model_name="movie",
            name="slug",
            field=models.SlugField(max_length=80, unique=True),
            populate=populate_movie_slug,
        ),
    ]
"""

OUTPUT = """\
Migrations for 'films':
  films/migrations/0002_movie_slug.py
    + Add field slug to movie, backfilled by populate_movie_slug
  films/migrations/0003_alter_movie_slug.py
    ~ Alter field slug on movie, backfilled by populate_movie_slug
Next: write populate_movie_slug() in films/migrations/0002_movie_slug.py.
Then deploy in this order:
  1. manage.py migrate films 0002_movie_slug
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""


IMPORT = "import safefield\nimport safefield"


def make_site(path: Path, models: str = MODELS, *, settings: str = "") -> Site:
    """Return a project whose models are migrated, with black."""
    site = Site(path, settings=settings, has_black=True)
    site.write_models(models)
    assert site.manage("makemigrations", "--no-header").code == 0
    return site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a project with a new required field that has no migration yet."""
    site = make_site(tmp_path)
    site.write_models(MODELS + SLUG)
    return site


def write_slug(site: Site) -> None:
    """Write the function that makemigrations has left."""
    name = "films/migrations/0002_movie_slug.py"
    raising = (
        'raise NotImplementedError("Write populate_movie_slug() before running '
        'migrate.")'
    )
    text = site.read(name)
    assert raising in text
    site.write(name, text.replace(raising, 'return movie.title.lower() + "-film"'))


@pytest.mark.parametrize("by", ["option", "setting"])
def test_two_migrations(tmp_path: Path, by: str) -> None:
    settings = 'SAFEFIELD = {"TWO_PHASE": True}\n' if by == "setting" else ""
    arguments = ["--two-phase"] if by == "option" else []
    site = make_site(tmp_path, settings=settings)
    site.write_models(MODELS + SLUG)

    result = site.manage("makemigrations", "--no-header", *arguments)

    assert result == (OUTPUT, "", 0)
    assert site.read("films/migrations/0002_movie_slug.py") == FIRST
    assert site.read("films/migrations/0003_alter_movie_slug.py") == SECOND
    again = site.manage("makemigrations", "--check", *arguments)
    assert again == ("No changes detected\n", "", 0)


def test_option_beats_the_setting(tmp_path: Path) -> None:
    site = make_site(tmp_path, settings='SAFEFIELD = {"TWO_PHASE": True}\n')
    site.write_models(MODELS + SLUG)

    site.manage("makemigrations", "--no-two-phase")

    assert site.list_migrations() == ["0001_initial.py", "0002_movie_slug.py"]


def test_dry_run_shows_both_files(site: Site) -> None:
    result = site.manage(
        "makemigrations", "--two-phase", "--dry-run", "-v", "3", "--no-header"
    )

    first, second = result.out.split("Full migrations file '0003_alter_movie_slug.py'")
    assert "null=True" in first
    assert "null=True" not in second
    assert '".0002_movie_slug", __package__' in second
    assert (result.err, result.code) == ("", 0)
    assert site.list_migrations() == ["0001_initial.py"]


def test_unwritten_function_is_reported_once(site: Site) -> None:
    site.manage("makemigrations", "--two-phase")

    result = site.manage("check")

    path = site.path / "films/migrations/0002_movie_slug.py"
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        "films.0002_movie_slug: (safefield.E001) populate_movie_slug() in "
        f"{path}:7 is not written yet.\n"
        "\tHINT: Return the value of one existing row, then run migrate. If every row "
        "should get the same value, delete the migration and run makemigrations "
        "--one-off-default.\n\n"
        "System check identified 1 issue (0 silenced).\n"
    )


def test_first_phases_come_first(tmp_path: Path) -> None:
    models = MODELS + "    year = models.IntegerField(null=True)\n    old = SLUG\n"
    models = models.replace("SLUG", "models.TextField()")
    site = make_site(tmp_path, models)
    site.write_models(
        MODELS
        + SLUG
        + "    year = models.IntegerField()\n"
        + "    code = models.IntegerField()\n"
        + "    seen = models.BooleanField(null=True)\n"
        + "    class Meta:\n"
        + "        indexes = [models.Index(fields=['code'], name='code')]\n"
    )

    result = site.manage("makemigrations", "--no-header", "--two-phase")

    assert (
        result.out
        == """\
Migrations for 'films':
  films/migrations/0002_movie_seen.py
    + Add field seen to movie
  films/migrations/0003_movie_code.py
    + Add field code to movie, backfilled by populate_movie_code
  films/migrations/0004_movie_slug.py
    + Add field slug to movie, backfilled by populate_movie_slug
  films/migrations/0005_alter_movie_year.py
    ~ Alter field year on movie, backfilled by populate_movie_year
  films/migrations/0006_alter_movie_code.py
    ~ Alter field code on movie, backfilled by populate_movie_code
  films/migrations/0007_alter_movie_slug.py
    ~ Alter field slug on movie, backfilled by populate_movie_slug
  films/migrations/0008_remove_movie_old_movie_code.py
    - Remove field old from movie
    + Create index code on field(s) code of model movie
Next: write populate_movie_code() in films/migrations/0003_movie_code.py.
Next: write populate_movie_slug() in films/migrations/0004_movie_slug.py.
Next: write populate_movie_year() in films/migrations/0005_alter_movie_year.py.
Then deploy in this order:
  1. manage.py migrate films 0004_movie_slug
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    assert '".0003_movie_code"' in site.read(
        "films/migrations/0006_alter_movie_code.py"
    )
    assert site.manage("makemigrations", "--check", "--two-phase").code == 0


def test_nullable_field_needs_no_second_phase(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.write_models(
        "import uuid\n\n"
        + MODELS
        + "    key = models.UUIDField(default=uuid.uuid4, unique=True, null=True)\n"
    )

    site.manage("makemigrations", "--two-phase")

    assert site.list_migrations() == ["0001_initial.py", "0002_movie_key.py"]


def test_callable_default_needs_no_function(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.write_models(
        "import uuid\n\n"
        + MODELS
        + "    key = models.UUIDField(default=uuid.uuid4, unique=True)\n"
    )

    result = site.manage("makemigrations", "--two-phase", "--no-header")

    assert (
        result.out
        == """\
Migrations for 'films':
  films/migrations/0002_movie_key.py
    + Add field key to movie, backfilled by its default
  films/migrations/0003_alter_movie_key.py
    ~ Alter field key on movie, backfilled by its default
Then deploy in this order:
  1. manage.py migrate films 0002_movie_key
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    assert "importlib" not in site.read("films/migrations/0003_alter_movie_key.py")


def test_alteration_alone_is_for_the_new_code(tmp_path: Path) -> None:
    """Fails if it is advised to run what the old code does not bear."""
    code = "    code = models.CharField(max_length=50{})\n"
    site = make_site(tmp_path, MODELS + code.format(""))
    note = "    note = models.TextField(null=True)\n"
    site.write_models(MODELS + code.format(", unique=True") + note)

    result = site.manage("makemigrations", "--no-header", "--two-phase")
    note = note.replace("null=True", "")
    site.write_models(MODELS + code.format(", unique=True") + note)
    alone = site.manage("makemigrations", "--no-header", "--two-phase")

    assert (
        result.out
        == """\
Migrations for 'films':
  films/migrations/0002_movie_note.py
    + Add field note to movie
  films/migrations/0003_alter_movie_code.py
    ~ Alter field code on movie
If rows share a code, migrate stops and names them. Then add \
deduplicate=safefield.numbered to the operation in \
films/migrations/0003_alter_movie_code.py.
Then deploy in this order:
  1. manage.py migrate films 0002_movie_note
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    assert (
        alone.out
        == """\
Migrations for 'films':
  films/migrations/0004_alter_movie_note.py
    ~ Alter field note on movie, backfilled by populate_movie_note
Next: write populate_movie_note() in films/migrations/0004_alter_movie_note.py.
Then deploy in this order:
  1. Let the new code replace the old code everywhere.
  2. manage.py migrate
"""
    )


TAG = "class Tag(models.Model):\n    name = models.CharField(max_length=50)\n"


def test_first_phase_waits_for_no_second_phase_of_another_app(tmp_path: Path) -> None:
    """Fails if what old code does not bear comes with the first phase, or before it."""
    site = Site(tmp_path, apps=["films", "people", "shops"])
    site.write_models(MODELS)
    site.write_models(TAG, app="people")
    old = "    old = models.TextField()\n"
    site.write_models(TAG + old, app="shops")
    assert site.manage("makemigrations", "--no-header").code == 0
    key = "    tag = models.ForeignKey('people.Tag', models.CASCADE)\n"
    site.write_models(MODELS + key)
    note = "    note = models.TextField(null=True)\n"
    site.write_models(TAG + "    code = models.IntegerField()\n" + note, app="people")
    site.write_models(TAG + note, app="shops")

    result = site.manage("makemigrations", "--no-header", "--two-phase")

    assert (
        result.out.partition("Then ")[2]
        == """\
deploy in this order:
  1. manage.py migrate people 0003_tag_code
  1. manage.py migrate films 0002_movie_tag
  1. manage.py migrate shops 0002_tag_note
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    for name in ("films", "people", "shops"):
        for file, text in site.read_migrations(name).items():
            raising = re.compile(r"raise NotImplementedError\(.*?\n(?=\n\n)", re.DOTALL)
            site.write(f"{name}/migrations/{file}", raising.sub("return 1", text))
    for label in (
        "films.0002_movie_tag",
        "people.0003_tag_code",
        "shops.0002_tag_note",
    ):
        assert site.manage("migrate", "-v0", *label.split(".")).code == 0
    shown = site.manage("showmigrations", "--plan").out
    assert {line for line in shown.splitlines() if line.startswith("[ ]")} == {
        "[ ]  people.0004_alter_tag_code",
        "[ ]  films.0003_alter_movie_tag",
        "[ ]  shops.0003_remove_tag_old",
    }
    assert site.manage("migrate", "-v0") == ("", "", 0)


def test_default_that_only_the_new_code_knows_is_said(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.write_models(
        MODELS
        + SLUG
        + "    seen = models.BooleanField(default=False)\n"
        + "    rank = models.IntegerField(default=1, db_default=1)\n"
        + "    note = models.TextField(null=True, default='')\n"
        + "    tags = models.ManyToManyField('self')\n"
    )

    result = site.manage("makemigrations", "--no-header", "--two-phase")
    plain = site.manage("makemigrations", "--no-header", "--no-two-phase", "--dry-run")

    assert (
        result.out.partition("Next")[2]
        == """\
: write populate_movie_slug() in films/migrations/0003_movie_slug.py.
movie.seen is required, and only the new code has a value for it: the old code \
cannot insert rows after step 1. Give it a db_default.
Then deploy in this order:
  1. manage.py migrate films 0003_movie_slug
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    assert plain.out == "No changes detected\n"
    write_slug_to = "films/migrations/0003_movie_slug.py"
    text = site.read(write_slug_to)
    site.write(write_slug_to, text.replace("raise NotImplementedError", "return str"))
    assert site.manage("migrate", "-v0", "films", "0003").code == 0
    connection = sqlite3.connect(site.path / "db.sqlite3")
    with pytest.raises(sqlite3.IntegrityError, match="films_movie.seen"):
        connection.execute("INSERT INTO films_movie (title) VALUES ('old')")
    connection.close()


# With other options.


def test_update_is_refused(site: Site) -> None:
    result = site.manage("makemigrations", "--two-phase", "--update")

    assert result == (
        "",
        "CommandError: --two-phase writes two migrations, and --update only one. "
        "Leave one of them out.\n",
        1,
    )


def test_update_by_setting_writes_one_phase(tmp_path: Path) -> None:
    site = make_site(tmp_path, settings='SAFEFIELD = {"TWO_PHASE": True}\n')
    site.write_models(MODELS + "    year = models.IntegerField(null=True)\n")
    site.manage("makemigrations", "--no-header")
    site.write_models(MODELS + "    year = models.IntegerField(null=True)\n" + SLUG)

    result = site.manage("makemigrations", "--update", "--name", "both")

    assert (result.err, result.code) == ("", 0)
    assert "AlterFieldWithBackfill" not in site.read("films/migrations/0002_both.py")


def test_second_phase_survives_update(site: Site) -> None:
    site.manage("makemigrations", "--two-phase", "--no-header")
    write_slug(site)
    site.write_models(MODELS + SLUG + "    year = models.IntegerField(null=True)\n")

    result = site.manage(
        "makemigrations", "--update", "--no-header", "--name", "required"
    )

    assert (result.err, result.code) == ("", 0)
    assert site.list_migrations() == [
        "0001_initial.py",
        "0002_movie_slug.py",
        "0003_required.py",
    ]
    year = """\
        migrations.AddField(
            model_name="movie",
            name="year",
            field=models.IntegerField(null=True),
        ),
    ]
"""
    assert site.read("films/migrations/0003_required.py") == (
        SECOND.removesuffix("    ]\n") + year
    )
    assert site.manage("migrate").code == 0


def test_squash_asks_for_porting_as_django_does(site: Site) -> None:
    site.manage("makemigrations", "--two-phase", "--no-header")
    write_slug(site)

    result = site.manage("squashmigrations", "films", "0002", "0003", "--noinput")

    assert result.code == 0
    text = site.read(
        "films/migrations/0002_movie_slug_squashed_0003_alter_movie_slug.py"
    )
    assert text.count("# films.migrations.0002_movie_slug\n") == 1


def test_squash_from_the_first_migration_needs_no_function(site: Site) -> None:
    site.manage("makemigrations", "--two-phase", "--no-header")
    write_slug(site)

    result = site.manage(
        "squashmigrations", "films", "0003", "--noinput", "--no-header"
    )

    assert result.code == 0, result
    text = site.read("films/migrations/0001_squashed_0003_alter_movie_slug.py")
    assert "safefield" not in text
    assert "models.SlugField(max_length=80, unique=True)" in text


SQUASHED = "0001_initial_squashed_0002_movie_slug"


# Fails if the second phase cannot be imported without the file of the first.
def test_second_phase_survives_a_squash_of_the_first(site: Site) -> None:
    site.manage("makemigrations", "--two-phase", "--no-header")
    write_slug(site)
    result = site.manage("squashmigrations", "films", "0001", "0002", "--noinput")
    assert result.code == 0, result
    for name in ("0001_initial", "0002_movie_slug"):
        (site.path / f"films/migrations/{name}.py").unlink()
    file = f"films/migrations/{SQUASHED}.py"
    text = re.sub(r"    replaces = \[.*?\]\n", "", site.read(file), flags=re.DOTALL)
    assert "0002_movie_slug" not in text
    site.write(file, text)
    second = "films/migrations/0003_alter_movie_slug.py"
    site.write(
        second, site.read(second).replace('"0002_movie_slug")', f'"{SQUASHED}")')
    )
    assert site.manage("migrate", "films", SQUASHED, "-v0").code == 0
    connection = sqlite3.connect(site.path / "db.sqlite3")
    with connection:
        connection.execute("INSERT INTO films_movie (title) VALUES ('A')")

    refused = site.manage("migrate", "-v0")
    with connection:
        connection.execute("UPDATE films_movie SET slug = 'a'")
    connection.close()
    done = site.manage("migrate", "-v0")

    assert refused.code == 1
    assert refused.err == (
        "BackfillError: films.Movie.slug could not be filled in some rows:\n"
        "  1 row: the missing populate of films.Movie.slug gave a bad value: it is "
        "None, and the field is required (pk 1)\n"
        "Nothing was changed. Fix the missing populate of films.Movie.slug, then "
        "run migrate again.\n"
    )
    assert done == ("", "", 0)
    assert site.manage("makemigrations", "--check").out == "No changes detected\n"


# On a database.


def test_old_code_runs_on_between_the_phases(alias: str, tmp_path: Path) -> None:
    connection = connections[alias]
    twin = (
        "\n\nclass Twin(models.Model):\n    title = models.CharField(max_length=100)\n"
    )
    site = Site(tmp_path, database=servers.get_connection_settings(connection))
    site.write_models(MODELS)
    site.manage("makemigrations")
    assert site.manage("migrate", "films").code == 0
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO films_movie (title) VALUES ('A'), ('B')")
    site.write_models(MODELS + SLUG)
    site.manage("makemigrations", "--two-phase")
    write_slug(site)

    # 1. The first phase, under the old code, which goes on inserting.
    assert site.manage("migrate", "films", "0002").code == 0
    between = describe_table(connection, "films_movie")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO films_movie (title) VALUES ('C'), ('D')")
        # 2. The new code writes its own values, also into rows of the old one.
        cursor.execute("INSERT INTO films_movie (title, slug) VALUES ('E', 'own')")
        cursor.execute("UPDATE films_movie SET slug = 'mine' WHERE title = 'D'")
    # 3. The second phase.
    assert site.manage("migrate").code == 0

    with connection.cursor() as cursor:
        cursor.execute("SELECT title, slug FROM films_movie ORDER BY title")
        rows = list(cursor.fetchall())
    site.write_models(MODELS + SLUG + twin + SLUG)
    site.manage("makemigrations")
    assert site.manage("migrate", "films").code == 0
    table = describe_table(connection, "films_movie")
    assert rows == [
        ("A", "a-film"),
        ("B", "b-film"),
        ("C", "c-film"),
        ("D", "mine"),
        ("E", "own"),
    ]
    assert between["columns"]["slug"]["null"]
    assert without_names(table, "movie") == without_names(
        describe_table(connection, "films_twin"), "twin"
    )
    nullable = dict(table["columns"]["slug"], null=True)
    nullable["default"] = between["columns"]["slug"]["default"]
    assert dict(table, columns=dict(table["columns"], slug=nullable)) == between


def test_old_code_runs_on_until_a_field_becomes_unique(
    alias: str, tmp_path: Path
) -> None:
    """Fails if it is refused before the last step, or if that one loses a row."""
    connection = connections[alias]
    code = "    code = models.CharField(max_length=50{})\n"
    site = Site(tmp_path, database=servers.get_connection_settings(connection))
    site.write_models(MODELS + code.format(""))
    site.manage("makemigrations")
    assert site.manage("migrate", "films").code == 0
    insert = "INSERT INTO films_movie (title, code) VALUES (%s, 'a')"
    insert_slug = "INSERT INTO films_movie (title, code, slug) VALUES (%s, 'a', %s)"
    with connection.cursor() as cursor:
        cursor.execute(insert, ["A"])
    site.write_models(MODELS + code.format(", unique=True") + SLUG)
    site.manage("makemigrations", "--two-phase")
    write_slug(site)
    (name,) = (name for name in site.list_migrations() if "alter_movie_code" in name)
    text = site.read(f"films/migrations/{name}")
    unique = "field=models.CharField(max_length=50, unique=True),\n"
    assert unique in text
    numbered = f"{unique}            deduplicate=safefield.numbered,\n"
    text = text.replace(unique, numbered).replace("import safefield", IMPORT, 1)
    site.write(f"films/migrations/{name}", text)

    assert site.manage("migrate", "films", "0002_movie_slug").code == 0
    with connection.cursor() as cursor:
        cursor.execute(insert, ["B"])
        cursor.execute(insert_slug, ["C", "c"])
    assert site.manage("migrate", "-v0") == ("", "", 0)

    with connection.cursor() as cursor:
        cursor.execute("SELECT title, code, slug FROM films_movie ORDER BY title")
        rows = list(cursor.fetchall())
        with pytest.raises(DatabaseError):
            cursor.execute(insert_slug, ["D", "d"])
    assert rows == [
        ("A", "a", "a-film"),
        ("B", "a-2", "b-film"),
        ("C", "a-3", "c"),
    ]


@pytest.mark.parametrize("target", ["0002", "0001"])
def test_there_and_back(alias: str, tmp_path: Path, target: str) -> None:
    connection = connections[alias]
    site = Site(tmp_path, database=servers.get_connection_settings(connection))
    site.write_models(MODELS)
    site.manage("makemigrations")
    site.write_models(MODELS + SLUG)
    site.manage("makemigrations", "--two-phase")
    write_slug(site)
    assert site.manage("migrate", "films", target).code == 0
    before = describe_table(connection, "films_movie")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO films_movie (title) VALUES ('A'), ('B')")

    assert site.manage("migrate", "films").code == 0
    assert site.manage("migrate", "films", target).code == 0

    assert describe_table(connection, "films_movie") == before


FIELDS: dict[str, tuple[Any, Any]] = {
    "unique": (models.SlugField(unique=True, max_length=80), slug_of),
    "index": (models.CharField(max_length=80, db_index=True), slug_of),
    "comment": (models.TextField(db_comment="It's shown first"), slug_of),
    "foreign key": (
        models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: 1,
    ),
    "one-to-one": (
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie: movie.pk,
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_both_phases_end_as_django_makes_them(alias: str, case: str) -> None:
    final, populate = FIELDS[case]
    nullable = final.clone()
    nullable.null = True
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    studio, movie = history.model("Studio"), history.model("Movie")
    history.rows("Studio").bulk_create(studio(pk=n, name=str(n)) for n in range(1, 7))
    history.rows("Movie").bulk_create(movie(title=f"Old {n}", year=n) for n in "12345")

    history.apply(AddFieldWithBackfill("Movie", "extra", nullable, populate))
    first = history.describe("Movie")
    filled = list(history.rows("Movie").values_list("extra", flat=True))
    movie.objects.using(alias).create(title="Between", year=6)
    between = history.rows("Movie").filter(extra=None).count()
    history.apply(AlterFieldWithBackfill("Movie", "extra", final, populate))
    second = history.describe("Movie")
    left = history.rows("Movie").filter(extra=None).count()
    history.apply(
        migrations.CreateModel("First", [*MOVIE.fields, ("extra", nullable)]),
        migrations.CreateModel("Second", [*MOVIE.fields, ("extra", final)]),
    )

    assert None not in filled
    assert between == 1
    assert left == 0
    assert without_names(first, "movie") == without_names(
        history.describe("First"), "first"
    )
    assert without_names(second, "movie") == without_names(
        history.describe("Second"), "second"
    )


def test_row_without_a_value_is_named_by_the_second_phase(alias: str) -> None:
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="Old", year=1)
    field = models.IntegerField()

    history.apply(
        AddFieldWithBackfill(
            "Movie", "rating", models.IntegerField(null=True), lambda movie: None
        )
    )
    first = history.describe("Movie")
    with pytest.raises(BackfillError) as caught:
        history.apply(
            AlterFieldWithBackfill("Movie", "rating", field, lambda movie: None)
        )

    assert [row.pk for row in caught.value.rows] == [1]
    assert history.describe("Movie") == first


WAITS = re.compile("Lock wait|database is locked|lock timeout")


def test_default_of_the_database_fills_in_for_old_code(alias: str) -> None:
    """
    Insert a row before each statement, by code that does not know the column.

    Refused may be only what would have to wait for the migration.
    """
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    history.rows("Movie").create(title="Old", year=1)
    refused: list[str] = []
    with Session(history.connection) as other:
        other.execute(NO_WAITING[other.vendor])

        def insert(
            execute: Any, sql: str, params: Any, many: bool, context: Any
        ) -> Any:
            try:
                other.execute(
                    "INSERT INTO films_movie (title, year) VALUES ('Late', 1)"
                )
            except DatabaseError as exc:
                refused.append(str(exc))
            return execute(sql, params, many, context)

        with history.connection.execute_wrapper(insert):
            history.apply(
                AddFieldWithBackfill(
                    "Movie", "rating", models.IntegerField(db_default=7), lambda _: 5
                )
            )
        other.execute("INSERT INTO films_movie (title, year) VALUES ('Last', 1)")

    rows = list(history.rows("Movie").values_list("title", "rating"))
    assert rows[0] == ("Old", 5)
    assert set(rows[1:-1]) <= {("Late", 5), ("Late", 7)}
    assert rows[-1] == ("Last", 7)
    assert [text for text in refused if not WAITS.search(text)] == []
