"""A backfill under every command of Django that reads or runs migrations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.support import servers
from tests.support.site import Site

pytestmark = pytest.mark.newest

MODELS = """\
class Movie(models.Model):
    title = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
"""

INITIAL = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Movie",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("title", models.CharField(max_length=100)),
            ],
        ),
    ]
"""

SLUG = """\
import safefield.operations
from django.db import migrations, models


def populate_movie_slug(movie):
    return f"film-{movie.title}"


def reverse_movie_slug(movie):
    return {"title": movie.slug.removeprefix("film-")}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0001_initial")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="slug",
            field=models.SlugField(unique=True),
            populate=populate_movie_slug,
            reverse=reverse_movie_slug,
        ),
    ]
"""

#: Django's own operations on the new field, behind it in the same migration.
MORE = """\
        migrations.AlterField("movie", "slug", models.SlugField(max_length=80)),
        migrations.RenameField("movie", "slug", "handle"),
        migrations.AddIndex(
            "movie", models.Index(fields=["handle", "title"], name="by_handle")
        ),
    ]
"""

MORE_ALONE = f"""\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("films", "0002_movie_slug")]
    operations = [
{MORE}"""

USER_WITH_A_NUMBER = """\
from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    number = models.PositiveIntegerField(unique=True)
"""

CREATE_ROWS = """
from django.db import connection
with connection.cursor() as cursor:
    for title in "abc":
        cursor.execute("INSERT INTO films_movie (title) VALUES (%s)", [title])
"""

SHOW = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT {} FROM films_movie ORDER BY id")
    print(*[value for value, in cursor.fetchall()])
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def any_site(tmp_path: Path, alias: str) -> Site:
    """Return a site on each of the databases."""
    database = servers.get_connection_settings(connections[alias])
    connections[alias].close()
    return make_site(tmp_path, database=database)


def make_site(path: Path, **options: Any) -> Site:
    site = Site(path, **options)
    site.write_models(MODELS)
    site.write("films/migrations/0001_initial.py", INITIAL)
    site.write("films/migrations/0002_movie_slug.py", SLUG)
    return site


def create_rows(site: Site) -> None:
    site.succeed("migrate", "-v", "0", "films", "0001")
    site.succeed("shell", "-v", "0", "-c", CREATE_ROWS)


def show(site: Site, column: str = "slug") -> str:
    return site.succeed("shell", "-v", "0", "-c", SHOW.format(column))


# migrate


def test_forwards_backwards_forwards(any_site: Site) -> None:
    create_rows(any_site)

    assert "Applying films.0002_movie_slug... OK" in any_site.succeed("migrate")
    assert show(any_site) == "film-a film-b film-c\n"
    assert any_site.succeed("makemigrations", "--check") == "No changes detected\n"

    out = any_site.succeed("migrate", "films", "0001")
    assert "Unapplying films.0002_movie_slug... OK" in out
    assert show(any_site, "title") == "a b c\n"

    any_site.succeed("migrate")
    assert show(any_site) == "film-a film-b film-c\n"
    any_site.succeed("migrate", "films", "zero")


def test_plan(site: Site) -> None:
    site.succeed("migrate", "-v", "0", "films", "0001")

    assert site.succeed("migrate", "--plan") == (
        "Planned operations:\n"
        "films.0002_movie_slug\n"
        "    Add field slug to movie, backfilled by populate_movie_slug\n"
    )
    site.succeed("migrate", "-v", "0")
    assert site.succeed("migrate", "--plan", "films", "0001") == (
        "Planned operations:\n"
        "films.0002_movie_slug\n"
        "    Undo Add field slug to movie, backfilled by populate_movie_slug\n"
    )


def test_check(site: Site) -> None:
    site.succeed("migrate", "-v", "0", "films", "0001")

    assert site.manage("migrate", "--check").code == 1
    site.succeed("migrate", "-v", "0")
    assert site.manage("migrate", "--check").code == 0


def test_fake(site: Site) -> None:
    """Only the record is written, both ways."""
    create_rows(site)

    assert "FAKED" in site.succeed("migrate", "--fake")
    assert "[X] 0002_movie_slug" in site.succeed("showmigrations")
    assert site.manage("shell", "-c", SHOW.format("slug")).code == 1

    assert "FAKED" in site.succeed("migrate", "--fake", "films", "0001")
    assert "[ ] 0002_movie_slug" in site.succeed("showmigrations")
    site.succeed("migrate", "-v", "0")
    assert show(site) == "film-a film-b film-c\n"


def test_fake_initial(any_site: Site) -> None:
    """The table is there already; what comes after the first migration is run."""
    create_rows(any_site)
    any_site.succeed("migrate", "-v", "0", "--fake", "films", "zero")

    out = any_site.succeed("migrate", "--fake-initial")

    assert "Applying films.0001_initial... FAKED" in out
    assert "Applying films.0002_movie_slug... OK" in out
    assert show(any_site) == "film-a film-b film-c\n"
    any_site.succeed("migrate", "-v", "0", "films", "zero")


def test_fake_initial_where_it_is_in_the_first_migration(site: Site) -> None:
    """Django asks whether the column is there, as it does of an AddField."""
    operations = SLUG[SLUG.index("        safefield") : SLUG.rindex("    ]")]
    functions = SLUG[SLUG.index("def populate") : SLUG.index("class Migration")]
    site.write(
        "films/migrations/0001_initial.py",
        "import safefield.operations\n"
        + INITIAL.replace("    ]\n", operations + "    ]\n").replace(
            "\n\nclass", f"\n\n{functions}class"
        ),
    )
    (site.path / "films/migrations/0002_movie_slug.py").unlink()
    site.succeed("migrate", "-v", "0")
    site.succeed("migrate", "-v", "0", "--fake", "films", "zero")

    out = site.succeed("migrate", "--fake-initial")

    assert "Applying films.0001_initial... FAKED" in out


def test_run_before(site: Site) -> None:
    site.write(
        "films/migrations/0002_other.py",
        INITIAL.replace("    initial = True\n", "")
        .replace(
            "    operations",
            '    dependencies = [("films", "0001_initial")]\n'
            '    run_before = [("films", "0002_movie_slug")]\n    operations',
        )
        .replace('"Movie"', '"Other"'),
    )
    site.write(
        "films/migrations/0002_movie_slug.py",
        SLUG.replace('"0001_initial")]', '"0002_other")]'),
    )
    create_rows(site)

    out = site.succeed("migrate")

    assert re.findall(r"Applying films\.(\w+)", out) == [
        "0002_other",
        "0002_movie_slug",
    ]
    assert show(site) == "film-a film-b film-c\n"


def test_prune(site: Site) -> None:
    create_rows(site)
    site.succeed("migrate", "-v", "0")
    site.write(
        "films/migrations/0001_squashed_0002_movie_slug.py",
        INITIAL.replace(
            "    operations",
            '    replaces = [("films", "0001_initial"), ("films", "0002_movie_slug")]\n'
            "    operations",
        ).replace("100)),", '100)), ("slug", models.SlugField(unique=True)),'),
    )
    site.succeed("migrate", "-v", "0")
    for name in ("0001_initial", "0002_movie_slug"):
        (site.path / f"films/migrations/{name}.py").unlink()
    site.write(
        "films/migrations/0001_squashed_0002_movie_slug.py",
        re.sub(
            r"    replaces = .*\n",
            "",
            site.read("films/migrations/0001_squashed_0002_movie_slug.py"),
        ),
    )

    out = site.succeed("migrate", "--prune", "films")

    assert "Pruning films.0002_movie_slug OK" in out
    assert show(site) == "film-a film-b film-c\n"


# squashmigrations and optimizemigration


def test_squash_from_zero(site: Site) -> None:
    """CreateModel takes the field in: there are no rows to be filled."""
    site.succeed("squashmigrations", "--noinput", "films", "0002")

    text = site.read("films/migrations/0001_squashed_0002_movie_slug.py")

    assert "safefield" not in text
    assert '("slug", models.SlugField(unique=True))' in text.replace("'", '"')
    site.succeed("migrate", "-v", "0")
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"


RELATED = """\
class Studio(models.Model):
    name = models.CharField(max_length=50)
{}

class Movie(models.Model):
    studio = models.ForeignKey(Studio, models.CASCADE, null=True)
{}"""


# Fails if the key of the other model, or the other backfill, stands in the way.
def test_squash_of_related_models_that_are_elidable(tmp_path: Path) -> None:
    site = Site(tmp_path)
    country = "    country = models.CharField(max_length=2)\n"
    code = "    code = models.IntegerField()\n"
    for fields in (("", ""), (country, ""), (country, code)):
        site.write_models(RELATED.format(*fields))
        site.succeed("makemigrations")
    for name in site.list_migrations()[1:]:
        path = tmp_path / "films" / "migrations" / name
        write_function(path, "1")
        text = path.read_text()
        argument = "            elidable=True,\n            populate="
        path.write_text(text.replace("            populate=", argument))

    out = site.succeed("squashmigrations", "--noinput", "films", "0003")

    assert "Optimized from 4 operations to 2 operations.\n" in out
    text = site.read("films/migrations/0001_squashed_0003_movie_code.py")
    assert "safefield" not in text
    site.succeed("migrate", "-v", "0")
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
    assert site.succeed("showbackfills") == (
        "No migration of this project has a backfill.\n"
    )


def test_squash_from_the_middle(site: Site) -> None:
    """The operation stays, and Django says that its functions are to be moved."""
    site.write("films/migrations/0003_more.py", MORE_ALONE)
    site.write_models(
        MODELS.replace(
            "slug = models.SlugField(unique=True)",
            "handle = models.SlugField(max_length=80)",
        )
        + "\n    class Meta:\n        indexes = [models.Index("
        "fields=['handle', 'title'], name='by_handle')]\n"
    )
    create_rows(site)

    out = site.succeed("squashmigrations", "--noinput", "films", "0002", "0003")

    assert "Manual porting required" in out
    name = "0002_movie_slug_squashed_0003_more.py"
    text = site.read(f"films/migrations/{name}")
    assert "safefield.operations.AddFieldWithBackfill(" in text
    assert "populate=films.migrations.0002_movie_slug.populate_movie_slug" in text
    functions = SLUG[SLUG.index("def populate") : SLUG.index("class Migration")]
    site.write(
        f"films/migrations/{name}",
        text.replace("films.migrations.0002_movie_slug.", "")
        .replace("import films.migrations.0002_movie_slug\n", "")
        .replace("class Migration", f"{functions}class Migration"),
    )

    assert "0002_movie_slug_squashed_0003_more... OK" in site.succeed("migrate")
    assert show(site, "handle") == "film-a film-b film-c\n"
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
    site.succeed("migrate", "-v", "0", "films", "0001")
    assert show(site, "title") == "a b c\n"


def test_optimizemigration(site: Site) -> None:
    """Nothing is moved across it, and what can be merged behind it is merged."""
    path = "films/migrations/0002_movie_slug.py"
    more = MORE.replace(
        "    ]\n",
        '        migrations.AddField("movie", "a", models.IntegerField(null=True)),\n'
        '        migrations.AlterField("movie", "a", models.TextField(null=True)),\n'
        "    ]\n",
    )
    site.write(path, SLUG.replace("    ]\n", more))

    site.succeed("optimizemigration", "films", "0002")

    names = ["0002_movie_slug.py", "0002_movie_slug_optimized.py"]
    found = [name for name in site.list_migrations() if name in names]
    text = site.read(f"films/migrations/{found[-1]}")
    assert re.findall(r"(?:migrations|operations)\.(\w+)\($", text, re.M) == [
        *("AddFieldWithBackfill", "RenameField", "AlterField", "AddIndex", "AddField")
    ]


# sqlmigrate


def test_sqlmigrate_with_later_operations(any_site: Site) -> None:
    """What follows on the new field finds it in the state."""
    any_site.write("films/migrations/0002_movie_slug.py", SLUG.replace("    ]\n", MORE))
    create_rows(any_site)

    forwards = any_site.succeed("sqlmigrate", "films", "0002")
    assert re.findall(r"^-- (.+)$", forwards, re.M)[:2] == [
        "Add field slug to movie, backfilled by populate_movie_slug",
        "Python: fill films.Movie.slug from populate_movie_slug()",
    ]
    assert "-- Rename field slug on movie to handle" in forwards
    assert "CREATE INDEX" in forwards
    assert "film-a" not in forwards

    backwards = any_site.succeed("sqlmigrate", "--backwards", "films", "0002")
    assert "-- Python: reverse films.Movie.slug row by row" in backwards
    assert "-- Rename field slug on movie to handle" in backwards

    assert show(any_site, "title") == "a b c\n"
    any_site.succeed("migrate", "-v", "0")
    assert show(any_site, "handle") == "film-a film-b film-c\n"
    any_site.succeed("sqlmigrate", "films", "0002")
    any_site.succeed("sqlmigrate", "--backwards", "films", "0002")
    assert show(any_site, "handle") == "film-a film-b film-c\n"
    any_site.succeed("migrate", "-v", "0", "films", "zero")


# Where migrations are kept


def write_function(path: Path, code: str = 'f"film-{movie.title}"') -> None:
    """Write the function that makemigrations has left to be written."""
    path.write_text(
        re.sub(
            r'raise NotImplementedError\(\s*".*?"\s*\)',
            f"return {code}",
            path.read_text(),
            flags=re.S,
        )
    )


def test_migration_modules(tmp_path: Path) -> None:
    site = Site(tmp_path, settings='MIGRATION_MODULES = {"films": "elsewhere.films"}\n')
    site.write("elsewhere/__init__.py", "")
    site.write("elsewhere/films/__init__.py", "")
    site.write("elsewhere/films/0001_initial.py", INITIAL)
    site.write_models(MODELS)
    create_rows(site)

    site.succeed("makemigrations")
    (path,) = (tmp_path / "elsewhere/films").glob("0002_*.py")
    assert site.list_migrations() == []
    write_function(path)

    site.succeed("migrate", "-v", "0")

    assert show(site) == "film-a film-b film-c\n"


def test_app_in_a_namespace_package(tmp_path: Path) -> None:
    site = Site(tmp_path, apps=(), installed_apps=["safefield", "company.films"])
    site.write("company/films/migrations/__init__.py", "")
    site.write("company/films/migrations/0001_initial.py", INITIAL)
    site.write("company/films/models.py", f"from django.db import models\n\n{MODELS}")
    site.write(
        "company/films/apps.py",
        "from django.apps import AppConfig\n\n\n"
        "class FilmsConfig(AppConfig):\n"
        '    name = "company.films"\n'
        f"    path = {str(tmp_path / 'company/films')!r}\n",
    )
    create_rows(site)

    site.succeed("makemigrations")
    (path,) = (tmp_path / "company/films/migrations").glob("0002_*.py")
    write_function(path)
    site.succeed("migrate", "-v", "0")

    assert show(site) == "film-a film-b film-c\n"


# A swapped user model


def test_foreign_key_to_a_swapped_user_model(tmp_path: Path) -> None:
    """`migrations.swappable_dependency` and `settings.AUTH_USER_MODEL` are written."""
    site = Site(
        tmp_path,
        apps=("accounts", "films"),
        installed_apps=[
            "safefield",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "accounts",
            "films",
        ],
        settings='AUTH_USER_MODEL = "accounts.User"\n',
    )
    site.write(
        "accounts/models.py",
        "from django.contrib.auth.models import AbstractUser\n\n\n"
        "class User(AbstractUser):\n    pass\n",
    )
    site.write_models(
        "class Movie(models.Model):\n    title = models.CharField(max_length=100)\n"
    )
    site.succeed("makemigrations")
    site.succeed("migrate", "-v", "0")
    site.succeed(
        *("shell", "-v", "0", "-c"),
        "from accounts.models import User\nfrom films.models import Movie\n"
        "for name in 'abc':\n"
        "    User.objects.create(username=name)\n"
        "    Movie.objects.create(title=name)\n",
    )
    site.write_models(
        "class Movie(models.Model):\n    title = models.CharField(max_length=100)\n"
        '    owner = models.ForeignKey("accounts.User", models.CASCADE)\n'
    )
    site.write("accounts/models.py", USER_WITH_A_NUMBER)

    site.succeed("makemigrations")
    for app, code in (
        (
            "films",
            "apps.get_model('accounts', 'User').objects.get(username=movie.title)",
        ),
        ("accounts", "user.pk * 10"),
    ):
        (name,) = (n for n in site.list_migrations(app) if n.startswith("0002_"))
        path = tmp_path / app / "migrations" / name
        write_function(path, code)
        text = path.read_text().replace("(movie):", "(movie, apps):")
        path.write_text(text)
    films = site.read_migrations("films")
    assert any("migrations.swappable_dependency(" in text for text in films.values())
    assert any("to=settings.AUTH_USER_MODEL" in text for text in films.values())
    site.succeed("migrate", "-v", "0")

    assert show(site, "owner_id") == "1 2 3\n"
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
    site.succeed("migrate", "-v", "0", "accounts", "0001")


# Interpreters, labels, routers

PLAIN = "class Movie(models.Model):\n    title = models.CharField(max_length=100)\n"
WITH_SLUG = f"{PLAIN}    slug = models.SlugField(unique=True)\n"


def make_films(site: Site, app: str = "films") -> None:
    """Make the first migration, and three rows."""
    site.write_models(PLAIN, app=app)
    site.succeed("makemigrations", app)
    site.succeed("migrate", "-v", "0")
    site.succeed(
        *("shell", "-v", "0", "-c"),
        f"from django.apps import apps\nMovie = apps.get_model('{app}.Movie')\n"
        "for title in 'abc':\n    Movie.objects.using('default').create(title=title)\n",
    )


def find_slugs(site: Site, app: str = "films") -> str:
    return site.succeed(
        *("shell", "-v", "0", "-c"),
        f"from django.apps import apps\nMovie = apps.get_model('{app}.Movie')\n"
        "rows = Movie.objects.using('default').order_by('pk')\n"
        "print(*rows.values_list('slug', flat=True))\n",
    )


# Fails if something stands on an assert, or on the docstring of a function.
@pytest.mark.thorough
def test_without_asserts_and_docstrings(tmp_path: Path) -> None:
    site = Site(tmp_path, environment={"PYTHONOPTIMIZE": "2"})
    make_films(site)
    site.write_models(WITH_SLUG)

    site.succeed("makemigrations", "--two-phase")
    unwritten = site.manage("check")
    path = tmp_path / "films" / "migrations" / "0002_movie_slug.py"
    write_function(path, 'f"film-{movie.title}"')

    assert unwritten.code == 1
    assert "(safefield.E001) populate_movie_slug() in " in unwritten.err
    site.succeed("migrate", "-v", "0")
    assert find_slugs(site) == "film-a film-b film-c\n"
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
    site.succeed("migrate", "-v", "0", "films", "0001")


# Fails if the label is written where only an identifier can stand.
def test_app_called_like_a_keyword(tmp_path: Path) -> None:
    site = Site(tmp_path, apps=("class",))
    make_films(site, "class")
    site.write_models(WITH_SLUG, app="class")

    site.succeed("makemigrations", "--two-phase")
    path = tmp_path / "class" / "migrations" / "0002_movie_slug.py"
    write_function(path, 'f"film-{movie.title}"')
    site.succeed("migrate", "-v", "0")

    assert find_slugs(site, "class") == "film-a film-b film-c\n"
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
    site.succeed("migrate", "-v", "0", "class", "0001")


ROUTER = """
DATABASES["replica"] = {{
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": {name!r},
}}


class Router:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"


DATABASE_ROUTERS = [Router()]
"""


# Fails if rows are read where the router sends reads: there are others, or none.
def test_reads_that_a_router_sends_to_a_replica(tmp_path: Path) -> None:
    settings = ROUTER.format(name=str(tmp_path / "replica.sqlite3"))
    site = Site(tmp_path, settings=settings)
    make_films(site)
    site.succeed("migrate", "-v", "0", "--database", "replica")
    site.write_models(WITH_SLUG)
    site.succeed("makemigrations")
    path = tmp_path / "films" / "migrations" / "0002_movie_slug.py"
    write_function(path, 'f"film-{movie.title}"')

    site.succeed("migrate", "-v", "0")

    assert find_slugs(site) == "film-a film-b film-c\n"
    assert site.succeed("makemigrations", "--check") == "No changes detected\n"
