"""Values that are to be unique among the rows of a group."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connections, migrations, models
from django.db.migrations.writer import OperationWriter
from django.db.models import F, Q
from django.db.models.functions import Lower

import safefield
from safefield import BackfillError
from safefield.authoring.migration_file import get_backfills
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.ledger import on_servers
from tests.support.rehearsals import rehearse, without_ending
from tests.support.servers import get_connection_settings
from tests.support.sessions import Session
from tests.support.site import Site
from tests.support.states import detect, model, pk, text

pytestmark = pytest.mark.newest

STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True))]
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=40)),
        ("studio", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
        ("country", models.CharField(max_length=10, null=True)),
    ],
)

#: What a later operation adds: the witness that no duplicates were let through.
CONSTRAINT = migrations.AddConstraint(
    "Movie",
    models.UniqueConstraint(fields=["studio", "slug"], name="one_slug_per_studio"),
)
TOGETHER = migrations.AlterUniqueTogether("Movie", {("country", "slug")})

Row = tuple[str, int | None]


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return make(History(alias, atomic=request.param))


def make(history: History) -> History:
    history.apply(STUDIO, MOVIE)
    history.rows("Studio").bulk_create(history.model("Studio")(pk=pk) for pk in (1, 2))
    return history


def create(history: History, *rows: Row, country: str | None = None) -> None:
    history.rows("Movie").bulk_create(
        history.model("Movie")(pk=pk, title=title, studio_id=studio, country=country)
        for pk, (title, studio) in enumerate(rows, start=1)
    )


def populate(movie: Any) -> str:
    return str(movie.title)


POPULATES = pytest.mark.parametrize(
    "source", [populate, F("title"), Lower("title")], ids=["function", "F", "Lower"]
)


def add_slug(source: Any = populate, **options: Any) -> AddFieldWithBackfill:
    options = {"unique_with": ("studio",), **options}
    return AddFieldWithBackfill("Movie", "slug", models.SlugField(), source, **options)


def slugs(history: History) -> list[str]:
    return list(history.rows("Movie").values_list("slug", flat=True))


def get_error(history: History, operation: Any) -> BackfillError:
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)
    return caught.value


def is_kept(history: History) -> bool:
    """Return whether what a failed migration has written stays."""
    return history.connection.vendor == "mysql" or (
        history.connection.vendor == "postgresql" and not history.atomic
    )


# The argument


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"unique_with": "studio"},
            TypeError,
            "unique_with must be a list or tuple of names, not the string 'studio'.",
        ),
        (
            {"unique_with": [1]},
            TypeError,
            "unique_with must be a list or tuple of names, not [1].",
        ),
        (
            {"unique_with": ("studio",), "field": models.SlugField(unique=True)},
            ValueError,
            "unique_with is for a field without unique=True; this one is unique by "
            "itself. Leave unique_with out.",
        ),
        (
            {"deduplicate": safefield.numbered},
            ValueError,
            "deduplicate is for a field with unique=True, or for unique_with; this one "
            "may hold a value twice. Leave deduplicate out.",
        ),
    ],
    ids=["string", "number", "unique", "neither"],
)
@pytest.mark.parametrize("kind", [AddFieldWithBackfill, AlterFieldWithBackfill])
def test_arguments_that_are_refused(
    kind: type[Any], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments = {"field": models.SlugField(), "populate": populate, **options}

    with pytest.raises(error) as caught:
        kind("Movie", "slug", **arguments)

    assert str(caught.value) == f"{kind.__name__}('Movie', 'slug'): {text}"


@pytest.mark.parametrize("kind", [AddFieldWithBackfill, AlterFieldWithBackfill])
def test_it_is_written(kind: type[Any]) -> None:
    """Fails if the argument is lost on the way into a file."""
    operation = kind(
        "Movie", "slug", models.SlugField(), populate, unique_with=["studio", "country"]
    )

    text, _ = OperationWriter(operation, indentation=0).serialize()

    assert "unique_with=('studio', 'country')," in text


@pytest.mark.parametrize("name", ["director", "movie", "slug", "id_"])
def test_names_that_are_no_fields(history: History, name: str) -> None:
    """Also on an empty table. Fails if a reverse relation passes for a field."""
    before = history.describe("Movie")

    error = get_error(history, add_slug(unique_with=("studio", name)))

    assert str(error) == (
        f"films.Movie.slug: unique_with names {name}, and each name in it must be "
        f"another field of films.Movie that has a column in its table. Correct "
        f"unique_with, then run migrate again. Nothing was changed."
    )
    assert history.describe("Movie") == before


# Rows that collide


@POPULATES
def test_collisions_are_told_within_the_group(history: History, source: Any) -> None:
    """Fails if other groups, or rows in none, are taken for the same."""
    create(history, ("a", 1), ("a", 2), ("a", None), ("a", 1), ("b", 1), ("a", None))

    error = get_error(history, add_slug(source))

    name = "populate()" if source is populate else str(source)
    kept = (
        "The other rows keep their values, and these are NULL again."
        if is_kept(history)
        else "Nothing was changed."
    )
    assert str(error) == (
        f"films.Movie.slug has values that its constraints would refuse:\n"
        f"  1 row: an earlier row has the same value, and the field is unique together "
        f"with studio (pk 4: 'a')\n"
        f"{kept} Make {name} give each row of the same studio its own value, or add "
        f"deduplicate=safefield.numbered to the operation, then run migrate again."
    )
    assert [row.pk for row in error.rows] == [4]

    history.apply(add_slug(source, deduplicate=safefield.numbered))

    assert slugs(history) == ["a", "a", "a", "a-2", "b", "a"]
    history.apply(CONSTRAINT)


def test_what_is_let_through_without_it(history: History) -> None:
    """The later constraint is a witness: it refuses what was not looked for."""
    create(history, ("a", 1), ("a", 2), ("a", 1))
    history.apply(add_slug(unique_with=()))

    with pytest.raises(IntegrityError):
        history.apply(CONSTRAINT)


@POPULATES
def test_numbers_are_those_of_the_group(history: History, source: Any) -> None:
    """Fails if an answer counts as taken that another group has."""
    create(
        history,
        *[("a", 1), ("a-2", 1), ("a", 2), ("a", 2), ("a", 1), ("a-3", 2), ("a", 2)],
    )

    history.apply(add_slug(source, deduplicate=safefield.numbered))

    assert slugs(history) == ["a", "a-2", "a", "a-2", "a-3", "a-3", "a-4"]
    history.apply(CONSTRAINT)


def test_several_fields_and_a_function_of_the_row(history: History) -> None:
    create(history, *[("a", 1)] * 5)
    history.rows("Movie").update(country="fr")
    history.rows("Movie").filter(pk__in=[2, 4]).update(country="it")

    def with_key(movie: Any, value: str, n: int) -> str:
        return f"{value}-{movie.country}-{n}"

    history.apply(add_slug(unique_with=("studio", "country"), deduplicate=with_key))

    assert slugs(history) == ["a", "a", "a-fr-2", "a-it-2", "a-fr-3"]
    history.apply(
        migrations.AddConstraint(
            "Movie",
            models.UniqueConstraint(fields=["country", "slug", "studio"], name="one"),
        )
    )


def test_a_foreign_key_as_the_value(history: History) -> None:
    """As the pair of a membership: which rows have no value is told by the column."""
    create(history, ("a", 1), ("a", 2))
    history.rows("Movie").update(country="fr")
    field = models.ForeignKey("films.Studio", models.CASCADE, related_name="+")

    error = get_error(
        history,
        AddFieldWithBackfill(
            "Movie", "maker", field, lambda movie: 1, unique_with=("country",)
        ),
    )

    assert [(row.pk, row.reason) for row in error.rows] == [
        (
            2,
            "an earlier row has the same value, and the field is unique together with "
            "country",
        )
    ]


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize("country", ["FR", "fr ", "fŕ"])
@pytest.mark.parametrize("deduplicate", [None, safefield.numbered])
def test_equal_groups_are_what_the_database_says(
    history: History, country: str, deduplicate: Any
) -> None:
    """Fails if Python compares: collations differ, and char columns are padded."""
    create(history, *[("a", 1)] * 6, ("a-2", 1), ("a-3", 1), country="fr")
    history.rows("Movie").filter(pk__in=[2, 4, 6, 7]).update(country=country)
    operation = add_slug(unique_with=["country"], deduplicate=deduplicate)
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(DISTINCT country) FROM films_movie")
        (groups,) = cursor.fetchone()

    if deduplicate is None:
        error = get_error(history, operation)
        assert [row.pk for row in error.rows] == (
            [2, 3, 4, 5, 6] if groups == 1 else [3, 4, 5, 6]
        )
        return
    history.apply(operation)

    assert slugs(history) == (
        ["a", "a-4", "a-5", "a-6", "a-7", "a-8", "a-2", "a-3"]
        if groups == 1
        else ["a", "a", "a-2", "a-3", "a-4", "a-4", "a-2", "a-3"]
    )
    history.apply(TOGETHER)


def test_calls_grow_with_the_rows_alone(history: History) -> None:
    """Fails if the numbers of a group are asked for once more by each of its rows."""
    calls: Counter[int] = Counter()

    def counted(movie: Any, value: str, n: int) -> str:
        calls[movie.pk] += 1
        return f"{value}-{n}"

    create(history, *[("a", 1), ("a", 2)] * 500)

    history.apply(add_slug(deduplicate=counted))

    assert slugs(history) == [
        *["a", "a"],
        *[f"a-{n}" for n in range(2, 501) for _ in range(2)],
    ]
    assert calls.total() <= 3 * 1_000


def test_many_groups_are_asked_about_together(history: History) -> None:
    """Fails if each group asks the database a question of its own."""
    history.rows("Studio").bulk_create(
        history.model("Studio")(pk=pk) for pk in range(3, 301)
    )
    create(history, *[("a", pk) for pk in range(1, 301)] * 2)
    questions = []

    def watch(execute: Any, sql: str, *args: Any) -> Any:
        if " IN (" in sql and "slug" in sql and sql.startswith("SELECT"):
            questions.append(sql)
        return execute(sql, *args)

    with history.connection.execute_wrapper(watch):
        history.apply(add_slug(deduplicate=safefield.numbered))

    assert slugs(history) == ["a"] * 300 + ["a-2"] * 300
    assert len(questions) < 10
    history.apply(CONSTRAINT)


def test_no_free_answer(history: History) -> None:
    create(history, ("a", 1), ("a", 2), ("a", 1))

    error = get_error(history, add_slug(deduplicate=lambda movie, value, n: value))

    assert str(error).partition(":\n")[0] == (
        "films.Movie.slug is to be unique together with studio, and some rows could "
        "not be given a value of their own"
    )
    assert [row.pk for row in error.rows] == [3]


# A field that is there


@pytest.fixture
def altered(history: History) -> History:
    history.apply(migrations.AddField("Movie", "slug", models.SlugField(null=True)))
    create(history, *[("a", 1), ("a", 1), ("b", 1), ("a", 2)])
    history.rows("Movie").filter(pk=2).update(slug="a")
    return history


def alter_slug(**options: Any) -> AlterFieldWithBackfill:
    return AlterFieldWithBackfill(
        "Movie",
        "slug",
        models.SlugField(),
        populate,
        unique_with=("studio",),
        **options,
    )


def test_a_value_that_was_there_is_kept(altered: History) -> None:
    error = get_error(altered, alter_slug())

    assert [row.pk for row in error.rows] == [1]
    altered.apply(alter_slug(deduplicate=safefield.numbered))
    assert slugs(altered) == ["a-2", "a", "b", "a"]
    altered.apply(CONSTRAINT)


def test_values_that_were_there_and_collide(altered: History) -> None:
    """As when a constraint is to come over two fields that are both there."""
    altered.rows("Movie").update(slug="x")

    error = get_error(altered, alter_slug())

    assert [(row.pk, row.reason) for row in error.rows] == [
        (
            pk,
            "an earlier row has the same value, and the field is unique together with "
            "studio, and this value was there before",
        )
        for pk in (2, 3)
    ]
    altered.apply(alter_slug(deduplicate=safefield.numbered))
    assert slugs(altered) == ["x", "x-2", "x-3", "x"]
    altered.apply(CONSTRAINT)


def test_the_constraint_is_there_already(altered: History) -> None:
    """The database refuses the value row by row, and deduplicate gives another."""
    altered.apply(CONSTRAINT)

    altered.apply(alter_slug(deduplicate=safefield.numbered))

    assert slugs(altered) == ["a-2", "a", "b", "a"]


# What comes meanwhile, and what is done again


@on_servers
@pytest.mark.parametrize("deduplicate", [None, safefield.numbered])
def test_a_row_that_comes_behind_the_fill(alias: str, deduplicate: Any) -> None:
    """Fails if nobody looks once more: no index of this operation refuses it."""
    history = make(History(alias))
    create(history, ("a", 1), ("b", 1), ("c", 2))
    inserted = []

    def insert(execute: Any, sql: str, *args: Any) -> Any:
        # The last look for such rows, and whoever inserts is kept away from then on.
        if not inserted and ("NOT VALID" in sql or "MODIFY" in sql):
            inserted.append(sql)
            other.execute(
                "INSERT INTO films_movie (id, title, studio_id) VALUES (9, 'a', 1)"
            )
        return execute(sql, *args)

    watch = history.connection.execute_wrapper(insert)
    with Session(history.connection) as other, watch:
        if deduplicate is None:
            error = get_error(history, add_slug())
            assert [row.pk for row in error.rows] == [9]
        else:
            history.apply(add_slug(deduplicate=deduplicate))

    assert inserted
    if deduplicate is None:
        # It is empty again, for a populate that is better, and takes inserts.
        with history.connection.cursor() as cursor:
            cursor.execute("SELECT slug FROM films_movie WHERE id = 9")
            assert cursor.fetchone() == (None,)
        history.apply(add_slug(lambda movie: f"{movie.title}-{movie.pk}"))
        assert slugs(history) == ["a", "b", "c", "a-9"]
    else:
        assert slugs(history) == ["a", "b", "c", "a-2"]
    history.apply(CONSTRAINT)
    assert not history.model("Movie")._meta.get_field("slug").null


def test_it_is_undone(history: History) -> None:
    create(history, ("a", 1), ("a", 1))
    before = history.describe("Movie")

    history.apply(add_slug(deduplicate=safefield.numbered))
    history.unapply()

    assert history.describe("Movie") == before


def test_the_definition_is_djangos(history: History) -> None:
    """Fails if the operation makes the column unique, alone or with the others."""
    create(history, ("a", 1), ("a", 2))
    history.apply(add_slug())
    ours = history.describe("Movie")
    history.unapply()

    history.apply(migrations.AddField("Movie", "slug", models.SlugField(default="")))
    history.apply(migrations.AlterField("Movie", "slug", models.SlugField()))

    assert ours == history.describe("Movie")


# The rehearsal


@POPULATES
@pytest.mark.parametrize("names", [("studio",), ("studio", "country")])
def test_a_rehearsal_says_the_same(
    alias: str, source: Any, names: tuple[str, ...]
) -> None:
    history = make(History(alias))
    create(history, ("a", 1), ("a", 2), ("a", None), ("a", 1), country="fr")
    operation = add_slug(source, unique_with=names)

    rehearsed = rehearse(history, operation)

    error = get_error(history, operation)
    assert without_ending(rehearsed.error) == without_ending(error)
    assert rehearsed.error is not None
    assert rehearsed.error.rows == error.rows
    better = add_slug(source, unique_with=names, deduplicate=safefield.numbered)
    rehearsed = rehearse(history, better)
    assert rehearsed.error is None
    assert (rehearsed.renumbered, rehearsed.renumbered_samples) == (
        1,
        [(4, "a", "a-2")],
    )


def test_a_rehearsal_with_a_group_that_the_database_makes(alias: str) -> None:
    """Fails if the temporary table lacks the column, as it does others of its kind."""
    history = make(History(alias))
    create(history, ("a", 1), ("A", 2), ("b", 1))
    first = models.GeneratedField(
        expression=Lower("title"),
        output_field=models.CharField(max_length=40),
        db_persist=True,
    )
    history.apply(migrations.AddField("Movie", "first", first))
    operation = add_slug(lambda movie: "x", unique_with=("first",))

    rehearsed = rehearse(history, operation)

    error = get_error(history, operation)
    assert without_ending(rehearsed.error) == without_ending(error)
    assert [row.pk for row in error.rows] == [2]


def test_a_rehearsal_of_some_rows_says_so(alias: str) -> None:
    history = make(History(alias))
    create(history, ("a", 1), ("b", 1), ("a", 1))

    rehearsed = rehearse(history, add_slug(), limit=2)

    assert rehearsed.error is None
    assert rehearsed.notes == [
        "Duplicates were looked for among the rehearsed rows only."
    ]


# What makemigrations writes


YEAR = {"id": pk(), "title": text(), "year": models.IntegerField(null=True)}


def find_written(
    after: dict[str, Any], options: dict[str, Any], **questions: Any
) -> list[tuple[str, tuple[str, ...]]]:
    """Return the backfills that a change is written with: field and unique_with."""
    before = model("Movie", **YEAR)
    changed = model("Movie", **YEAR, **after, options=options)
    return [
        (operation.name, operation.unique_with)
        for migration in detect([before], [changed])["films"]
        for operation in get_backfills(migration)
    ]


def constraint(*fields: str, **options: Any) -> models.UniqueConstraint:
    options.setdefault("name", f"one_{'_'.join(fields)}")
    return models.UniqueConstraint(fields=fields, **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"unique_together": {("year", "slug")}}, ("year",)),
        ({"constraints": [constraint("slug", "title", "year")]}, ("title", "year")),
        (
            # That of the fewest fields may imply the others.
            {
                "unique_together": {("year", "slug"), ("title", "slug", "year")},
                "constraints": [constraint("title", "slug")],
            },
            ("year",),
        ),
        ({"constraints": [constraint("year", "title")]}, ()),
        ({"constraints": [constraint("slug")]}, ()),
        ({"constraints": [constraint("slug", "year", condition=Q(year=1))]}, ()),
        (
            {"constraints": [models.UniqueConstraint(Lower("slug"), name="a")]},
            (),
        ),
    ],
    ids=["together", "plain", "several", "others", "alone", "condition", "expression"],
)
def test_makemigrations_names_the_other_fields(
    options: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert find_written({"slug": text()}, options) == [("slug", expected)]
    unique = text(unique=True)
    assert find_written({"slug": unique}, options) == [("slug", ())]


def test_two_new_fields_of_one_constraint() -> None:
    """Fails if the first names the second, which is not there by then."""
    options = {"constraints": [constraint("slug", "code")]}

    found = find_written({"slug": text(), "code": text()}, options)

    assert sorted(groups for _, groups in found) == [(), (found[0][0],)]
    assert found[1][1] == (found[0][0],)


def test_a_new_field_without_backfill_is_there_by_then() -> None:
    options = {"constraints": [constraint("slug", "code")]}

    found = find_written({"slug": text(), "code": text(null=True)}, options)

    assert found == [("slug", ("code",))]


MODELS = """\
from django.db.models import Q
from django.db.models.functions import Lower


class Movie(models.Model):
    title = models.CharField(max_length=50)
    year = models.IntegerField()
"""

SLUG = """\
    slug = models.SlugField()

    class Meta:
        unique_together = [("year", "slug")]
        constraints = [
            models.UniqueConstraint(fields=["slug"], condition=Q(year=1), name="one"),
            models.UniqueConstraint(Lower("slug"), "year", name="two"),
            models.UniqueConstraint(fields=["title", "slug"], name="three"),
            models.UniqueConstraint(
                fields=["slug", "year"], nulls_distinct=False, name="four"
            ),
            models.UniqueConstraint(fields=["title", "year"], name="not_of_slug"),
        ]
        indexes = [
            models.Index(fields=["-slug"], name="five"),
            models.Index(fields=["year"], name="not_of_slug_2"),
        ]
"""

REPORT = """\
Next: write populate_movie_slug() in films/migrations/0002_movie_slug.py, then run \
migrate.
Duplicates in constraint one are not looked for, because it has a condition: rows that \
break it stop the migration that adds it.
Duplicates in constraint two are not looked for, because it has expressions: rows that \
break it stop the migration that adds it.
Duplicates in constraint three are not looked for, because it has other fields than \
unique_with: rows that break it stop the migration that adds it.
Duplicates in constraint four are not looked for, because it takes NULL for equal to \
NULL: rows that break it stop the migration that adds it.
"""

LOCKS = """\
On PostgreSQL others wait while it builds constraint four, constraint one, constraint \
three, constraint two, index five, unique_together (year, slug), which takes long for \
a large table. In place of AddIndex, AddIndexConcurrently of \
django.contrib.postgres.operations lets them go on, in a migration with atomic = False.
"""


CREATE = """\
from films.models import Movie
Movie.objects.bulk_create(Movie(title=f"{n}", year=n // 2) for n in range(4))
"""
READ = """\
from films.models import Movie
print(*Movie.objects.order_by("pk").values_list("slug"))
"""


def test_what_makemigrations_says_of_the_keys(alias: str, tmp_path: Path) -> None:
    """To a filled table: a constraint may not find what was let through."""
    database = get_connection_settings(connections[alias])
    site = Site(tmp_path, database=database, has_black=True)
    site.write_models(MODELS)
    site.manage("makemigrations")
    site.manage("migrate")
    site.manage("shell", "-c", CREATE)
    site.write_models(MODELS + SLUG)

    out = site.manage("makemigrations").out

    is_postgresql = connections[alias].vendor == "postgresql"
    assert out.partition("Next: ")[2] == (REPORT + LOCKS * is_postgresql).removeprefix(
        "Next: "
    )
    name = "films/migrations/0002_movie_slug.py"
    written = site.read(name)
    assert '            unique_with=("year",),\n' in written
    written = written.replace("raise NotImplementedError(", 'return "a"  # (')
    site.write(name, written)
    assert "together with year (pk 2, 4; for example " in site.manage("migrate").err
    argument = "            deduplicate=safefield.numbered,\n            unique_with"
    site.write(name, written.replace("            unique_with", argument))
    assert site.manage("migrate").code == 0
    assert site.manage("shell", "-c", READ).out.split("\n")[-2] == (
        "('a',) ('a-2',) ('a',) ('a-2',)"
    )
