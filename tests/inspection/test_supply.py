"""A rehearsal supplies what earlier operations, which have not run, are to make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.models import F, Value
from django.db.models.expressions import Window
from django.db.models.functions import Concat, RowNumber

import safefield
from safefield import BackfillError
from safefield.exceptions import SafefieldError
from safefield.inspection.rehearsed import Rehearsal
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support import servers
from tests.support.history import History
from tests.support.rehearsals import create, dump, rehearse, without_ending
from tests.support.site import Site


@pytest.fixture
def history(alias: str) -> History:
    return History(alias)


def check(history: History, *operations: Any) -> Rehearsal:
    """Rehearse, run all of the operations, and compare."""
    before = dump(history)

    rehearsal = rehearse(history, *operations)

    assert dump(history) == before
    failure = None
    try:
        history.apply(*operations)
    except BackfillError as exc:
        failure = exc
    assert without_ending(rehearsal.error) == without_ending(failure)
    if failure is None:
        name = operations[-1].name
        field = history.model("Movie")._meta.get_field(name)
        values = dict(history.rows("Movie").values_list("pk", field.attname))
        assert dict(rehearsal.samples) == values
        for pk, _, new in rehearsal.renumbered_samples:
            assert values[pk] == new
    return rehearsal


def text(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(**{"max_length": 60, **options})


def adding(name: str, field: Any, populate: Any, **options: Any) -> Any:
    return AddFieldWithBackfill("Movie", name, field, populate, **options)


def slug_of(movie: Any) -> str:
    return str(movie.title).lower()


CHAINS: dict[str, Any] = {
    "backfills": lambda: [
        adding("slug", text(unique=True), slug_of, deduplicate=safefield.numbered),
        adding("path", text(), lambda movie: f"/{movie.year}/{movie.slug}"),
        adding("url", text(), lambda movie: f"https:/{movie.path}"),
    ],
    "the earlier one fails": lambda: [
        adding("slug", text(unique=True), slug_of),
        adding("path", text(), lambda movie: f"/{movie.year}/{movie.slug}"),
    ],
    "expressions": lambda: [
        adding("place", models.IntegerField(), Window(
            RowNumber(), order_by=F("year").asc())),
        adding("path", text(), Concat(Value("/"), "title", output_field=text())),
        adding("url", text(), lambda movie: f"{movie.path}?{movie.place}"),
    ],
    "an expression over a backfill": lambda: [
        adding("slug", text(), slug_of),
        adding("url", text(), Concat(Value("/"), "slug", output_field=text())),
    ],
    "plain fields": lambda: [
        migrations.AddField("Movie", "a", text(default="A")),
        migrations.AddField("Movie", "b", text(null=True)),
        migrations.AddField("Movie", "c", text(db_default="C")),
        migrations.AddField("Movie", "d", models.IntegerField(default=4)),
        adding("z", text(), lambda m: f"{m.a} {m.b} {m.c} {m.d}"),
    ],
    "renamed": lambda: [
        migrations.RenameField("Movie", "title", "name"),
        adding("slug", text(), lambda movie: movie.name.lower()),
        migrations.RenameField("Movie", "slug", "handle"),
        adding("url", text(), lambda movie: f"/{movie.handle}"),
    ],
    "another column": lambda: [
        migrations.AlterField("Movie", "year", models.IntegerField(db_column="y")),
        adding("url", text(), lambda movie: f"/{movie.year}"),
    ],
    "two phases": lambda: [
        adding("slug", text(null=True, unique=True), slug_of,
               deduplicate=safefield.numbered),
        AlterFieldWithBackfill("Movie", "slug", text(unique=True), slug_of,
                               deduplicate=safefield.numbered),
    ],
    "filled and then required": lambda: [
        migrations.AddField("Movie", "slug", text(null=True)),
        AlterFieldWithBackfill("Movie", "slug", text(max_length=80), slug_of),
        adding("url", text(), lambda movie: f"/{movie.slug}"),
    ],
    "required before": lambda: [
        migrations.AddField("Movie", "a", text(null=True)),
        migrations.AlterField("Movie", "a", text(default="A")),
        adding("z", text(), lambda movie: movie.a),
    ],
    "rows of the same table": lambda: [
        adding("slug", text(), slug_of),
        adding("others", text(), lambda movie, apps: " ".join(
            apps.get_model("films", "Movie").objects.using(movie._state.db)
            .exclude(pk=movie.pk).order_by("pk").values_list("slug", flat=True))),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_predicts_what_migrate_does(history: History, name: str) -> None:
    # Fails if an operation before the backfill is not supplied, or not in order.
    create(history, "A", "b", "a", "C")

    rehearsal = check(history, *CHAINS[name]())

    assert (rehearsal.error is not None) is (name == "the earlier one fails")


def test_half_filled(history: History) -> None:
    # Fails if what an earlier run has filled is computed anew.
    create(history, "a", "B", "c")
    operation = adding("slug", text(), lambda movie: int("x" * (movie.pk == 2) or 1))
    with pytest.raises(BackfillError):
        history.apply(operation)

    rehearsal = rehearse(
        history,
        adding("slug", text(), lambda movie: "new"),
        adding("url", text(), lambda movie: f"/{movie.slug}"),
    )

    is_there = history.connection.vendor != "sqlite"
    old = "/1" if is_there else "/new"
    assert rehearsal.samples == [(1, old), (2, "/new"), (3, old)]


def test_limit(history: History) -> None:
    # Fails if a copy of some rows is not told as such.
    create(history, *[f"Film {number}" for number in range(50)])
    first = adding("slug", text(), slug_of)
    second = adding("url", text(unique=True), lambda movie: f"/{movie.slug}")

    rehearsal = rehearse(history, first, second, limit=20)

    assert (rehearsal.rows, rehearsal.rehearsed) == (50, 20)
    assert rehearsal.notes == [
        "What films.0002_test is to fill was filled first, in a copy of the table.",
        "Duplicates were looked for among the rehearsed rows only.",
        "<lambda>() found only the rehearsed rows in the table.",
    ]


def test_what_is_not_supplied(history: History) -> None:
    # Fails if what is left out is not told.
    create(history, "a")

    rehearsal = rehearse(
        history,
        migrations.RunPython(migrations.RunPython.noop),
        migrations.AddField("Studio", "city", text(null=True)),
        migrations.AddIndex("Movie", models.Index(fields=["year"], name="by_year")),
        adding("slug", text(), slug_of),
    )

    assert rehearsal.notes == [
        "films.0002_test is not applied, and this was not done: Raw Python operation; "
        "Add field city to Studio."
    ]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (
            migrations.AlterField("Movie", "year", models.TextField()),
            "films.Movie.slug cannot be rehearsed yet, because films.0002_test is to "
            "change column films_movie.year. Apply films.0002_test first.",
        ),
        (
            migrations.AlterModelTable("Movie", "other"),
            "films.Movie.slug cannot be rehearsed yet, because films.0002_test is to "
            "rename a table: Rename table for Movie to other. Apply films.0002_test "
            "first.",
        ),
    ],
    ids=["type", "table"],
)
def test_what_cannot_be_supplied(
    history: History, operation: Any, message: str
) -> None:
    create(history, "a")

    with pytest.raises(SafefieldError) as caught:
        rehearse(history, operation, adding("slug", text(), slug_of))

    assert str(caught.value) == message


def test_column_that_an_earlier_backfill_adds(history: History) -> None:
    # Fails if what the column of that name holds now is taken for what it is to hold.
    create(history, "a")

    with pytest.raises(SafefieldError) as caught:
        rehearse(
            history,
            migrations.RenameField("Movie", "title", "name"),
            adding("title", text(), lambda movie: movie.name.upper()),
            adding("slug", text(), slug_of),
        )

    assert str(caught.value) == (
        "films.Movie.slug cannot be rehearsed yet, because films.0002_test is to "
        "change column films_movie.title. Apply films.0002_test first."
    )


def test_function_that_reads_what_is_not_there_yet(history: History) -> None:
    """Fails if migrate is said to fail, which does not."""
    create(history, "a")
    history.rows("Studio").create(name="Ghibli")

    def read(movie: Any, apps: Any) -> str:
        studios = apps.get_model("films", "Studio").objects
        return str(studios.using(movie._state.db).get().name)

    operations = [
        migrations.AddField("Studio", "city", text(null=True)),
        adding("slug", text(), read),
    ]

    with pytest.raises(SafefieldError) as caught:
        rehearse(history, *operations)

    assert str(caught.value) == (
        "films.Movie.slug cannot be rehearsed yet, because these columns are not "
        "there: films_studio.city. An operation before it in the same migration is to "
        "make them."
    )
    history.apply(*operations)
    assert list(history.rows("Movie").values_list("slug", flat=True)) == ["Ghibli"]


MIGRATION = """\
import safefield.operations
from django.db import migrations, models


def populate_movie_{name}(movie):
    return {value}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "{before}")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="{name}",
            field=models.CharField(max_length=40),
            populate=populate_movie_{name},
        ),
    ]
"""


def test_migrations_of_a_project(tmp_path: Path) -> None:
    # Fails if only the first backfill of a table can be rehearsed.
    site = Site(tmp_path)
    fields = "class Movie(models.Model):\n    title = models.CharField(max_length=40)\n"
    site.write_models(fields)
    site.manage("makemigrations", "films")
    site.manage("migrate")
    site.manage(
        "shell", "-c", "from films.models import *; Movie.objects.create(title='Dune')"
    )
    values = {"slug": "movie.title.lower()", "url": "'/' + movie.slug"}
    before = "0001_initial"
    for number, (name, value) in enumerate(values.items(), 2):
        migration = f"{number:04}_movie_{name}"
        site.write(
            f"films/migrations/{migration}.py",
            MIGRATION.format(name=name, value=value, before=before),
        )
        fields += f"    {name} = models.CharField(max_length=40)\n"
        before = migration
    site.write_models(fields)

    result = site.manage("rehearsebackfill", "films", "0003")

    assert result == (
        "films.Movie.url, filled by populate_movie_url(): dry run on 1 row, "
        "nothing was changed.\n"
        "Some values:\n"
        "  pk 1: '/dune'\n"
        "migrate takes about 0.1 s.\n"
        "What films.0002_movie_slug is to fill was filled first, in a copy of the "
        "table.\n",
        "",
        0,
    )
    (found,) = json.loads(
        site.manage("rehearsebackfill", "films", "0003", "--json").out
    )
    assert found["notes"] == [
        "What films.0002_movie_slug is to fill was filled first, in a copy of the "
        "table."
    ]
    assert "0002_movie_slug\n" in site.manage("showmigrations", "films").out


MODELS = """\
class Studio(models.Model):
    name = models.CharField(max_length=40)


class Movie(models.Model):
    title = models.CharField(max_length=40)
"""
GENRE = """\


class Genre(models.Model):
    name = models.CharField(max_length=40)
"""

#: models.py, the functions that return a constant, and what cannot be rehearsed yet.
NOT_YET = {
    "model": (
        MODELS
        + "    code = models.IntegerField()\n"
        + "    genre = models.ForeignKey('Genre', models.CASCADE)\n"
        + GENRE,
        ["0003_movie_code", "0004_movie_genre"],
        "films.Movie.genre cannot be rehearsed yet, because these columns are not "
        "there: films_genre.id. Apply films.0003_movie_code first.",
    ),
    "model of an earlier one": (
        MODELS
        + "    genre = models.ForeignKey('Genre', models.CASCADE)\n"
        + "    zone = models.IntegerField()\n"
        + GENRE,
        ["0003_movie_genre", "0004_movie_zone"],
        "films.Movie.genre cannot be rehearsed yet, because these columns are not "
        "there: films_genre.id. Apply films.0002_genre first.\n"
        "films.Movie.zone cannot be rehearsed yet, because these columns are not "
        "there: films_genre.id. Apply films.0003_movie_genre first.",
    ),
    "field": (
        MODELS.replace(
            "max_length=40)\n\n",
            "max_length=40)\n    code = models.IntegerField(unique=True)\n\n",
            1,
        )
        + "    studio = models.ForeignKey(Studio, models.CASCADE, to_field='code')\n",
        ["0002_studio_code", "0003_movie_studio"],
        "films.Movie.studio cannot be rehearsed yet, because these columns are not "
        "there: films_studio.code. Apply films.0002_studio_code first.",
    ),
}


# Fails if what is not there is looked for, or if the others are not told.
@pytest.mark.parametrize("name", NOT_YET)
def test_foreign_key_to_what_is_not_there_yet(
    name: str, alias: str, tmp_path: Path
) -> None:
    after, migrations, error = NOT_YET[name]
    settings = servers.get_connection_settings(connections[alias])
    site = Site(tmp_path, database=settings)
    site.write_models(MODELS)
    site.succeed("makemigrations", "films")
    site.succeed("migrate", "-v", "0")
    site.succeed(
        "shell",
        "-c",
        "from films.models import *\n"
        "Movie.objects.create(title='a'), Studio.objects.create(name='a')",
    )
    # The second field comes later.
    zone = "    zone = models.IntegerField()\n"
    for text in (after.replace(zone, ""), after):
        site.write_models(text)
        site.succeed("makemigrations", "films")
    for each in migrations:
        path = f"films/migrations/{each}.py"
        text, _, rest = site.read(path).partition("    raise NotImplementedError(")
        rest = rest.partition("class Migration")[2]
        site.write(path, f"{text}    return 1\n\n\nclass Migration{rest}")

    result = site.manage("rehearsebackfill", "--json")

    fields = [each["field"] for each in json.loads(result.out or "[]")]
    kind = "CommandError" if fields else "SafefieldError"
    assert (result.err, result.code) == (f"{kind}: {error}\n", 1)
    assert len(fields) + len(error.splitlines()) == 2
