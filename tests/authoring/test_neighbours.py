"""Django's own operations on the new field, in its migration and in a later one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Lower

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

pytestmark = pytest.mark.thorough_on("mariadb", "mysql")

ID = ("id", models.BigAutoField(primary_key=True))
TITLE = ("title", models.CharField(max_length=100))
STUDIO = migrations.CreateModel("Studio", [ID, TITLE])
MOVIE = migrations.CreateModel("Movie", [ID, TITLE])


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


@pytest.fixture(params=[False, True], ids=["later-migration", "same-migration"])
def together(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def slug_of(movie: Any) -> str:
    return f"film-{movie.title}"


def slug(**options: Any) -> Any:
    return models.SlugField(max_length=80, **options)


def studio(**options: Any) -> Any:
    return models.ForeignKey("films.Studio", models.CASCADE, **options)


def start(history: History) -> None:
    history.apply(STUDIO, MOVIE)
    for name in ("Studio", "Movie"):
        model = history.model(name)
        model.objects.using(history.connection.alias).bulk_create(
            model(title=title) for title in "abc"
        )


#: Name, the field and its populate, and what Django does to it afterwards; then
#: the fields and options of a table that was made like that in one go.
FOLLOWED: dict[str, tuple[Any, Any, Sequence[Operation], list[Any], dict[str, Any]]] = {
    "AddIndex": (
        slug(),
        slug_of,
        [migrations.AddIndex("Movie", models.Index(fields=["slug"], name="by_slug"))],
        [("slug", slug())],
        {"indexes": [models.Index(fields=["slug"], name="twin_by_slug")]},
    ),
    "AddConstraint": (
        slug(),
        slug_of,
        [
            migrations.AddConstraint(
                "Movie",
                models.UniqueConstraint(fields=["slug", "title"], name="one_slug"),
            )
        ],
        [("slug", slug())],
        {
            "constraints": [
                models.UniqueConstraint(fields=["slug", "title"], name="twin_one")
            ]
        },
    ),
    "unique_together": (
        slug(),
        slug_of,
        [migrations.AlterUniqueTogether("Movie", {("slug", "title")})],
        [("slug", slug())],
        {"unique_together": {("slug", "title")}},
    ),
    "AlterField to another length": (
        slug(unique=True),
        slug_of,
        [migrations.AlterField("Movie", "slug", models.SlugField(unique=True))],
        [("slug", models.SlugField(unique=True))],
        {},
    ),
    "AlterField to not unique": (
        slug(unique=True),
        slug_of,
        [migrations.AlterField("Movie", "slug", slug())],
        [("slug", slug())],
        {},
    ),
    "AlterField to unique": (
        slug(),
        slug_of,
        [migrations.AlterField("Movie", "slug", slug(unique=True))],
        [("slug", slug(unique=True))],
        {},
    ),
    "AlterField to nullable": (
        slug(unique=True),
        slug_of,
        [migrations.AlterField("Movie", "slug", slug(unique=True, null=True))],
        [("slug", slug(unique=True, null=True))],
        {},
    ),
    "AlterField to text": (
        slug(unique=True),
        slug_of,
        [migrations.AlterField("Movie", "slug", models.TextField())],
        [("slug", models.TextField())],
        {},
    ),
    "RenameField": (
        slug(unique=True),
        slug_of,
        [migrations.RenameField("Movie", "slug", "handle")],
        [("handle", slug(unique=True))],
        {},
    ),
    "RenameField and AlterField": (
        slug(unique=True),
        slug_of,
        [
            migrations.RenameField("Movie", "slug", "handle"),
            migrations.AlterField("Movie", "handle", slug()),
        ],
        [("handle", slug())],
        {},
    ),
    "RenameModel and back": (
        slug(unique=True),
        slug_of,
        [
            migrations.RenameModel("Movie", "Film"),
            migrations.RenameModel("Film", "Movie"),
        ],
        [("slug", slug(unique=True))],
        {},
    ),
    "AlterModelTable and back": (
        slug(unique=True),
        slug_of,
        [
            migrations.AlterModelTable("Movie", "other_table"),
            migrations.AlterModelTable("Movie", None),
        ],
        [("slug", slug(unique=True))],
        {},
    ),
    "RemoveField": (
        slug(unique=True),
        slug_of,
        [migrations.RemoveField("Movie", "slug")],
        [],
        {},
    ),
    "RemoveField and AddField": (
        slug(unique=True),
        slug_of,
        [
            migrations.RemoveField("Movie", "slug"),
            migrations.AddField("Movie", "slug", slug(null=True, unique=True)),
        ],
        [("slug", slug(null=True, unique=True))],
        {},
    ),
    "foreign key to one-to-one": (
        studio(),
        lambda movie: movie.pk,
        [
            migrations.AlterField(
                "Movie", "studio", models.OneToOneField("films.Studio", models.CASCADE)
            )
        ],
        [("studio", models.OneToOneField("films.Studio", models.CASCADE))],
        {},
    ),
    "foreign key without its index": (
        studio(),
        lambda movie: movie.pk,
        [migrations.AlterField("Movie", "studio", studio(null=True, db_index=False))],
        [("studio", studio(null=True, db_index=False))],
        {},
    ),
    "foreign key renamed": (
        studio(),
        lambda movie: movie.pk,
        [migrations.RenameField("Movie", "studio", "maker")],
        [("maker", studio())],
        {},
    ),
    "foreign key removed": (
        studio(),
        lambda movie: movie.pk,
        [migrations.RemoveField("Movie", "studio")],
        [],
        {},
    ),
    "AlterFieldWithBackfill": (
        slug(null=True),
        slug_of,
        [AlterFieldWithBackfill("Movie", "slug", slug(unique=True), slug_of)],
        [("slug", slug(unique=True))],
        {},
    ),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed_by(history: History, together: bool, name: str) -> None:
    field, populate, others, fields, options = FOLLOWED[name]
    start(history)
    before = history.describe("Movie")
    rows = list(history.rows("Movie").values_list())
    kind = "studio" if field.remote_field else "slug"
    backfill = AddFieldWithBackfill("Movie", kind, field.clone(), populate)

    if together:
        history.apply(backfill, *others)
    else:
        history.apply(backfill)
        history.apply(*others)
    history.apply(migrations.CreateModel("Twin", [ID, TITLE, *fields], options=options))

    assert without_names(history.describe("Movie"), "movie") == without_names(
        history.describe("Twin"), "twin"
    )

    history.unapply()
    if name.startswith(("RemoveField", "foreign key removed")):
        # Django cannot bring a required column back either: it has no values.
        return
    history.unapply()
    if not together:
        history.unapply()

    assert history.describe("Movie") == before
    assert list(history.rows("Movie").values_list()) == rows


def test_two_backfills_in_one_migration(history: History) -> None:
    """The second reads what the first has written."""
    start(history)
    before = history.describe("Movie")

    history.apply(
        AddFieldWithBackfill("Movie", "slug", slug(unique=True), slug_of),
        AddFieldWithBackfill("Movie", "studio", studio(), lambda movie: movie.pk),
        AddFieldWithBackfill(
            "Movie",
            "path",
            models.CharField(max_length=200, db_index=True),
            lambda movie: f"{movie.studio.title}/{movie.slug}",
            select_related=["studio"],
        ),
    )

    assert list(history.rows("Movie").values_list("path", flat=True)) == [
        *("a/film-a", "b/film-b", "c/film-c")
    ]
    history.unapply()
    assert history.describe("Movie") == before


@pytest.mark.parametrize("back", [False, True], ids=["forwards", "and-back"])
def test_inside_separate_database_and_state(history: History, back: bool) -> None:
    start(history)
    before = history.describe("Movie")
    operation = AddFieldWithBackfill("Movie", "slug", slug(unique=True), slug_of)

    history.apply(
        migrations.SeparateDatabaseAndState(
            database_operations=[operation],
            state_operations=[migrations.AddField("Movie", "slug", slug(unique=True))],
        )
    )

    assert list(history.rows("Movie").values_list("slug", flat=True)) == [
        *("film-a", "film-b", "film-c")
    ]
    if back:
        history.unapply()
        assert history.describe("Movie") == before


def test_as_state_operation_only(history: History) -> None:
    """The column is there already: only the state is to learn of it."""
    start(history)
    history.apply(
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AddField("Movie", "slug", slug(null=True))]
        )
    )
    before = history.describe("Movie")

    history.apply(
        migrations.SeparateDatabaseAndState(
            state_operations=[
                AddFieldWithBackfill("Movie", "slug", slug(null=True), slug_of)
            ]
        )
    )

    assert history.describe("Movie") == before
    assert list(history.rows("Movie").values_list("slug", flat=True)) == [None] * 3


#: What Django asks the catalogue, and nobody else, while sqlmigrate runs.
CATALOGUE = re.compile(
    r"PRAGMA (table_|index_|foreign_key)|SHOW |"
    r"SELECT\b.*\bFROM\s+(pg_|information_schema\.|sqlite_master|pragma_)",
    re.DOTALL | re.IGNORECASE,
)


@pytest.mark.parametrize("populate", [slug_of, Lower("title")], ids=["row", "query"])
def test_sqlmigrate_touches_no_row(history: History, populate: Any) -> None:
    start(history)
    backfill = AddFieldWithBackfill(
        "Movie", "slug", slug(unique=True), populate, lambda movie: {"title": "-"}
    )
    seen = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with history.connection.execute_wrapper(watch):
        history.collect(backfill, migrations.RenameField("Movie", "slug", "handle"))
    history.apply(backfill)
    before = history.describe("Movie")
    with (
        history.connection.execute_wrapper(watch),
        history.connection.schema_editor(collect_sql=True, atomic=False) as editor,
    ):
        history.make(backfill).unapply(
            history.states[-2].clone(), editor, collect_sql=True
        )

    # Besides what the schema editor does to its own connection.
    own = {"BEGIN", *(f"PRAGMA foreign_keys{end}" for end in ("", " = OFF", " = ON"))}
    assert [sql for sql in seen if sql not in own and not CATALOGUE.match(sql)] == []
    assert any("DROP COLUMN" in sql or "new__" in sql for sql in editor.collected_sql)
    assert history.describe("Movie") == before
