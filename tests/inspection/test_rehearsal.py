"""A rehearsal says what migrate then does, and changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F
from django.db.models.expressions import Window
from django.db.models.functions import Lower, RowNumber
from django.utils.text import slugify

import safefield
from safefield import BackfillError
from safefield.inspection.entries import find_entries
from safefield.inspection.rehearsal import Stage
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.films import MOVIE as FILM
from tests.support.films import load_films
from tests.support.history import History
from tests.support.movies import MOVIE, STUDIO
from tests.support.rehearsals import (
    NoParents,
    check,
    create,
    dump,
    rehearse,
)
from tests.support.site import Site


@pytest.fixture
def history(alias: str) -> History:
    return History(alias)


def title_of(movie: Any) -> str:
    return slugify(movie.title)


def slug(**options: Any) -> models.SlugField[Any, Any]:
    return models.SlugField(**{"unique": True, "max_length": 20, **options})


def fail_on_b(movie: Any) -> str:
    if movie.title == "B":
        raise LookupError("no such film")
    return str(movie.title) if movie.title != "C" else ""


def create_studio(movie: Any, apps: Any) -> Any:
    studios = apps.get_model("films", "Studio").objects.using(movie._state.db)
    return studios.get_or_create(name=f"Studio {movie.year // 2}")[0]


OPERATIONS = {
    "good": (["a", "b", "c"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), title_of)),
    "duplicates": (["a", "b", "a", "a"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), title_of)),
    "duplicates in the eyes of the database": (
        ["a", "A", "b", "B"],
        lambda: AddFieldWithBackfill(
            "Movie", "slug", slug(), lambda movie: movie.title),
    ),
    "numbered": (["a", "b", "a", "A", "a-2"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), lambda movie: movie.title,
        deduplicate=safefield.numbered)),
    "bad rows": ([*"ABCDEFGH"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), fail_on_b)),
    "never works": ([*"AB"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), lambda movie: movie.nothing)),
    "unwritten": (["a"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), unwritten)),
    "too long": (["a", "b" * 21], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), title_of)),
    "foreign keys that point nowhere": (["a", "b"], lambda: AddFieldWithBackfill(
        "Movie", "studio", models.ForeignKey("films.Studio", models.CASCADE),
        lambda movie: 7)),
    "foreign key to itself": (["a", "b"], lambda: AddFieldWithBackfill(
        "Movie", "sequel", models.ForeignKey("self", models.CASCADE),
        lambda movie: movie)),
    "expression": (["A", "b"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), Lower("title"))),
    "expression with duplicates": (["A", "a", "b"], lambda: AddFieldWithBackfill(
        "Movie", "slug", slug(), Lower("title"), deduplicate=safefield.numbered)),
    "window": (["A", "a", "b"], lambda: AddFieldWithBackfill(
        "Movie", "position", models.IntegerField(),
        Window(RowNumber(), order_by=F("year").desc()))),
    "alteration": (["a", "b", "a"], lambda: AlterFieldWithBackfill(
        "Movie", "title", models.CharField(max_length=200, unique=True))),
    "alteration, numbered": (["a", "b", "a"], lambda: AlterFieldWithBackfill(
        "Movie", "title", models.CharField(max_length=200, unique=True),
        deduplicate=safefield.numbered)),
    "alteration of another collation": (["a", "A"], lambda: AlterFieldWithBackfill(
        "Movie", "title", models.CharField(max_length=200, unique=True))),
}  # fmt: skip


def unwritten(movie: Any) -> str:
    raise NotImplementedError("Write it.")


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("name", OPERATIONS)
def test_predicts_what_migrate_does(history: History, name: str) -> None:
    titles, make = OPERATIONS[name]
    create(history, *titles)

    check(history, make())


def test_populate_that_writes(history: History) -> None:
    create(history, "a", "b", "c")
    before = dump(history)

    rehearsal = rehearse(
        history,
        AddFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            create_studio,
        ),
    )

    assert dump(history) == before
    assert rehearsal.error is None
    assert rehearsal.writes


def test_half_filled(history: History) -> None:
    create(history, *[f"Film-{n}" for n in range(300)], "B", "Film-3")
    operation = AddFieldWithBackfill("Movie", "slug", slug(), fail_on_b)
    with pytest.raises(BackfillError):
        history.apply(operation)
    is_there = history.connection.vendor != "sqlite"

    rehearsal = check(history, operation)

    # The row that shared its value is empty again.
    assert rehearsal.filled == (300 if is_there else 0)
    assert rehearsal.rehearsed == rehearsal.rows == 302


def test_check_constraint(history: History) -> None:
    create(history, "a", "b")
    history.apply(
        migrations.AddField("Movie", "end", models.IntegerField(null=True)),
        migrations.AddConstraint(
            "Movie",
            models.CheckConstraint(
                condition=models.Q(end__gt=models.F("year")), name="ends_later"
            ),
        ),
    )
    operation = AlterFieldWithBackfill(
        "Movie", "end", models.IntegerField(), lambda movie: 1901
    )
    before = dump(history)

    rehearsal = rehearse(history, operation)

    assert dump(history) == before
    assert rehearsal.error is not None
    assert [row.pk for row in rehearsal.error.rows] == [2]


def test_limit(history: History) -> None:
    create(history, *[f"Film-{n}" for n in range(300)], "B")
    operation = AddFieldWithBackfill("Movie", "slug", slug(), fail_on_b)

    rehearsal = rehearse(history, operation, limit=250)

    assert rehearsal.error is None
    assert (rehearsal.rows, rehearsal.rehearsed) == (301, 250)
    assert rehearsal.samples == [(n, f"Film-{n - 1}") for n in range(1, 6)]


@pytest.mark.parametrize("kind", ["text", "composite", "child"])
def test_other_keys(history: History, kind: str) -> None:
    key: Any = {
        "text": [("id", models.CharField(max_length=9, primary_key=True))],
        "composite": [
            ("pk", models.CompositePrimaryKey("shelf", "id")),
            ("shelf", models.IntegerField()),
            ("id", models.IntegerField()),
        ],
        "child": [
            (
                "studio_ptr",
                models.OneToOneField(
                    "films.Studio", models.CASCADE, parent_link=True, primary_key=True
                ),
            )
        ],
    }[kind]
    title = ("title", models.CharField(max_length=20))
    bases = ("films.Studio",) if kind == "child" else (models.Model,)
    history.apply(STUDIO, migrations.CreateModel("Movie", [*key, title], bases=bases))
    movie = history.model("Movie")
    for n in range(1, 6):
        values = {
            "text": {"id": f"k{n}"},
            "composite": {"shelf": n % 2, "id": n},
            "child": {"name": f"Studio {n}"},
        }[kind]
        movie.objects.using(history.connection.alias).create(title="a", **values)
    operation = AddFieldWithBackfill(
        "Movie", "slug", slug(), title_of, deduplicate=safefield.numbered
    )

    assert rehearse(history, operation, limit=3).renumbered == 2
    rehearsal = check(history, operation)

    assert rehearsal.renumbered == 4


def test_columns_that_are_not_there_yet(history: History) -> None:
    create(history, "a")
    adding = migrations.AddField("Movie", "country", models.IntegerField(null=True))
    backfill = AddFieldWithBackfill("Movie", "slug", slug(), title_of)
    (entry,) = find_entries(history.make(adding, backfill), history.state.clone())
    parents: Any = NoParents()

    with pytest.raises(Exception) as caught:
        Stage(history.connection, parents, entry, None).rehearse()

    assert str(caught.value) == (
        "films.Movie.slug cannot be rehearsed yet, because these columns are not "
        "there: films_movie.country. An operation before it in the same migration is "
        "to make them."
    )


def test_table_in_another_schema(postgresql_alias: str) -> None:
    """Fails if a table is looked for by its name alone."""
    history = History(postgresql_alias)
    history.execute("CREATE SCHEMA archive")
    for model in (MOVIE, STUDIO):
        table = f'"archive"."{model.name}"'
        history.apply(
            migrations.CreateModel(model.name, model.fields, {"db_table": table})
        )
    for n in (1, 2):
        history.rows("Studio").create(name=f"Studio {n}")
        history.rows("Movie").create(title=f"Film {n}", year=n)
    studio = models.ForeignKey("films.Studio", models.CASCADE)
    operation = AddFieldWithBackfill("Movie", "studio", studio, lambda movie: movie.pk)

    assert check(history, operation).samples == [(1, 1), (2, 2)]
    history.execute("DROP SCHEMA archive CASCADE")


@pytest.mark.thorough_on("postgresql", "mariadb", "mysql")
@pytest.mark.parametrize("deduplicate", [None, safefield.numbered])
def test_films(history: History, deduplicate: Any) -> None:
    history.apply(FILM)
    load_films(history)
    max_length = 50 if deduplicate is None else 400

    rehearsal = check(
        history,
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True, max_length=max_length),
            title_of,
            deduplicate=deduplicate,
        ),
    )

    assert rehearsal.rehearsed == 36_273
    assert (rehearsal.error is None) is (deduplicate is not None)


MIGRATION = """\
import safefield
import safefield.operations
from django.db import migrations, models


def populate_movie_slug(movie):
    return movie.title.lower()


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0001_initial")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="slug",
            field=models.SlugField(max_length=10, unique=True),
            populate=populate_movie_slug,
        ),
    ]
"""
MODEL = "class Movie(models.Model):\n    title = models.CharField(max_length=100)\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write_models(MODEL)
    site.manage("makemigrations", "films")
    site.manage("migrate")
    site.manage(
        "shell",
        "-c",
        "from films.models import Movie\n"
        "for title in ['Dune', 'Heat', 'dune']:\n"
        "    Movie.objects.create(title=title)",
    )
    site.write_models(f"{MODEL}    slug = models.SlugField(max_length=10, unique=True)")
    site.write("films/migrations/0002_movie_slug.py", MIGRATION)
    return site


def test_command_that_fails(site: Site) -> None:
    result = site.manage("rehearsebackfill", "films", "0002")

    assert result == (
        "films.Movie.slug, filled by populate_movie_slug(): dry run on 3 rows, "
        "nothing was changed.\n"
        "migrate would report:\n"
        "  films.Movie.slug has values that its constraints would refuse:\n"
        "    1 row: an earlier row has the same value, and the field is unique "
        "(pk 3: 'dune')\n"
        "  Nothing was changed. Make populate_movie_slug() give each row its own "
        "value, or add deduplicate=safefield.numbered to the operation, then run "
        "migrate again.\n"
        "Some values:\n"
        "  pk 1: 'dune'\n"
        "  pk 2: 'heat'\n"
        "  pk 3: 'dune'\n",
        "CommandError: migrate would fail at films.Movie.slug.\n",
        1,
    )


def test_command_that_succeeds(site: Site) -> None:
    site.write(
        "films/migrations/0002_movie_slug.py",
        MIGRATION.replace(
            "populate=populate_movie_slug,",
            "populate=populate_movie_slug, deduplicate=safefield.numbered,",
        ),
    )

    result = site.manage("rehearsebackfill", "films", "0002_movie_slug")

    # However long it takes on a busy machine.
    out = re.sub(r"about [0-9.]+ s", "about 0.1 s", result.out)
    assert (out, result.err, result.code) == (
        "films.Movie.slug, filled by populate_movie_slug(): dry run on 3 rows, "
        "nothing was changed.\n"
        "1 row would get another value, because an earlier row has the same:\n"
        "  pk 3: 'dune' becomes 'dune-2'\n"
        "Some values:\n"
        "  pk 1: 'dune'\n"
        "  pk 2: 'heat'\n"
        "  pk 3: 'dune-2'\n"
        "migrate takes about 0.1 s.\n",
        "",
        0,
    )


LATER = """\
import safefield.operations
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0002_movie_slug")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="code",
            field=models.SlugField(max_length=10),
            populate=lambda movie: movie.slug,
        ),
    ]
"""


@pytest.mark.parametrize("arguments", [[], ["films"]], ids=["all", "app"])
def test_command_for_all_that_are_left(site: Site, arguments: list[str]) -> None:
    """Fails if it needs to be told each migration, which CI does not know."""
    site.write("films/migrations/0003_movie_code.py", LATER)

    result = site.manage("rehearsebackfill", *arguments, "--json")

    assert [found["field"] for found in json.loads(result.out)] == [
        "films.Movie.slug",
        "films.Movie.code",
    ]
    # The second reads what the first cannot fill.
    assert result.err == "CommandError: migrate would fail at films.Movie.slug.\n"
    assert result.code == 1


@pytest.mark.parametrize("arguments", [[], ["films"]], ids=["all", "app"])
def test_command_with_nothing_left(site: Site, arguments: list[str]) -> None:
    site.manage("migrate", "films", "0002_movie_slug", "--fake")

    result = site.manage("rehearsebackfill", *arguments)

    assert result == ("Nothing to rehearse: each backfill is applied.\n", "", 0)


def test_command_without_values(site: Site) -> None:
    with (site.path / "settings.py").open("a") as file:
        file.write("SAFEFIELD = {'SHOW_VALUES': False}\n")

    result = site.manage("rehearsebackfill", "films", "0002_movie_slug")

    assert "dune" not in result.out + result.err
    assert result.code == 1


def test_command_as_json(site: Site) -> None:
    result = site.manage(
        "rehearsebackfill", "films", "0002_movie_slug", "--json", "--limit", "2"
    )

    (found,) = json.loads(result.out)
    assert found.pop("seconds") >= 0
    assert len(found.pop("seconds_range")) == 2
    assert found == {
        "field": "films.Movie.slug",
        "source": "populate_movie_slug()",
        "rows": 3,
        "rehearsed": 2,
        "filled": 0,
        "error": None,
        "bad_rows": [],
        "renumbered": 0,
        "renumbered_samples": [],
        "samples": [{"pk": 1, "value": "dune"}, {"pk": 2, "value": "heat"}],
        "writes": False,
        "notes": ["Duplicates were looked for among the rehearsed rows only."],
        "is_here": True,
    }
    assert result.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["films", "0003"],
            "SafefieldError: Cannot find a migration matching '0003' from app 'films'.",
        ),
        (
            ["films", "0001"],
            "SafefieldError: films.0001_initial has no backfill.",
        ),
        (["film"], "SafefieldError: App 'film' does not have migrations."),
        (
            ["films", "0002_movie_slug", "--limit", "0"],
            "CommandError: --limit must be a whole number of rows, at least 1, not 0.",
        ),
    ],
)
def test_command_refuses(site: Site, arguments: list[str], message: str) -> None:
    result = site.manage("rehearsebackfill", *arguments)

    assert result == ("", f"{message}\n", 1)


def test_command_after_migrate(site: Site) -> None:
    site.manage("migrate", "films", "0002_movie_slug", "--fake")

    result = site.manage("rehearsebackfill", "films", "0002_movie_slug")

    assert result == (
        "",
        "SafefieldError: Migration films.0002_movie_slug is already applied.\n",
        1,
    )


GERMAN = """
LANGUAGE_CODE = "de"
USE_I18N = True
"""


def test_command_in_no_language(site: Site) -> None:
    # Fails without @no_translations: migrate runs in no language either.
    with (site.path / "settings.py").open("a") as file:
        file.write(GERMAN)
    site.write(
        "films/migrations/0002_movie_slug.py",
        MIGRATION.replace(
            "return movie.title.lower()",
            "from django.utils.formats import number_format\n"
            "    from django.utils.translation import gettext\n"
            "    words = gettext('Yes') + ' ' + number_format(1.5)\n"
            "    return words if movie.pk == 1 else str(movie.pk)",
        ).replace("models.SlugField", "models.CharField"),
    )

    out = site.manage("rehearsebackfill", "films", "0002").out

    assert "  pk 1: 'Yes 1.5'\n" in out
    site.write_models(f"{MODEL}    slug = models.CharField(max_length=10, unique=True)")
    assert site.manage("migrate").code == 0
    found = site.manage(
        "shell", "-c", "from films.models import *; print(Movie.objects.get(pk=1).slug)"
    )
    assert found.out.splitlines()[-1] == "Yes 1.5"


def add_database(site: Site, models_here: str) -> None:
    """Add a database, on which only some models are."""
    site.write(
        "routers.py",
        "class Router:\n"
        "    def allow_migrate(self, db, app_label, model_name=None, **hints):\n"
        f"        return db == 'default' or model_name in {models_here}\n",
    )
    with (site.path / "settings.py").open("a") as file:
        file.write(
            "DATABASES['other'] = dict(DATABASES['default'], NAME='other.sqlite3')\n"
            "DATABASE_ROUTERS = ['routers.Router']\n"
        )
    assert site.manage("migrate", "films", "0001", "--database", "other").code == 0


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_database_without_the_model(site: Site, options: list[str]) -> None:
    # Fails if nothing is said of a model that is not there.
    add_database(site, "[]")

    result = site.manage(
        "rehearsebackfill", "films", "0002", "--database", "other", *options
    )

    assert result == (
        "",
        "SafefieldError: Nothing of migration films.0002_movie_slug can be rehearsed "
        "on the 'other' database: films.Movie.slug is not on this database.\n",
        1,
    )


def test_database_without_one_of_the_models(site: Site) -> None:
    # Fails if a model that is not there is passed over without a word.
    site.write_models(f"{MODEL}\n\nclass Star(models.Model):\n    pass\n")
    site.write(
        "films/migrations/0001_initial.py",
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        "    operations = [\n"
        "        migrations.CreateModel('Movie', [\n"
        "            ('id', models.BigAutoField(primary_key=True)),\n"
        "            ('title', models.CharField(max_length=100)),\n"
        "        ]),\n"
        "        migrations.CreateModel('Star', [\n"
        "            ('id', models.BigAutoField(primary_key=True)),\n"
        "        ]),\n"
        "    ]\n",
    )
    site.write(
        "films/migrations/0002_movie_slug.py",
        MIGRATION.rstrip().removesuffix("]")
        + "    safefield.operations.AddFieldWithBackfill(\n"
        "            'star', 'rank', models.IntegerField(), lambda star: 1),\n    ]\n",
    )
    add_database(site, "['star']")

    result = site.manage("rehearsebackfill", "films", "0002", "--database", "other")
    found = site.manage(
        "rehearsebackfill", "films", "0002", "--database", "other", "--json"
    )

    assert result == (
        "films.Movie.slug: not on this database.\n\n"
        "films.Star.rank, filled by <lambda>(): dry run on 0 rows, nothing was "
        "changed.\n"
        "migrate takes about 0.1 s.\n",
        "",
        0,
    )
    assert [(each["field"], each["is_here"]) for each in json.loads(found.out)] == [
        ("films.Movie.slug", False),
        ("films.Star.rank", True),
    ]


def test_error_of_the_database_in_populate(alias: str) -> None:
    """Fails if a rehearsal takes it for a lost connection, and ends in a traceback."""
    history = History(alias)
    create(history, "A", "B", "C")

    def populate(movie: Any) -> str:
        if movie.title == "B":
            with history.connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM films_movie")
        return str(movie.title)

    rehearsal = check(history, AddFieldWithBackfill("Movie", "slug", slug(), populate))

    assert rehearsal.error is not None
    assert [row.pk for row in rehearsal.error.rows] == [2]
