"""Changes about which Django asks nothing, and the rows that would stop them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, models
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations import CreateModel
from django.db.migrations.questioner import MigrationQuestioner
from django.db.models.functions import Lower

import safefield
from safefield import BackfillError
from safefield.authoring.migration_file import get_backfills
from safefield.authoring.stubs import Stub
from safefield.operations import AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History
from tests.support.site import Site
from tests.support.states import detect, model, pk, state, text

pytestmark = pytest.mark.thorough_on("mariadb", "mysql")

UUID = uuid.UUID(int=7)


@dataclass(frozen=True)
class Change:
    """
    A change of one model.

    Args:
        before (dict): Its fields beside `id` and `title`.
        after (dict): The same fields afterwards.
        options (dict): Of its Meta afterwards.
        rows (list[dict]): What is in the table.
        has_function (bool): Whether the developer is to write a function.
    """

    before: dict[str, models.Field[Any, Any]]
    after: dict[str, models.Field[Any, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(
        default_factory=lambda: [{"title": "a"}, {"title": "b"}, {"title": "c"}]
    )
    has_function: bool = False

    def get_models(self) -> tuple[Any, Any]:
        return tuple(
            model("Movie", id=pk(), title=text(), **fields, options=options)
            for fields, options in ((self.before, {}), (self.after, self.options))
        )


def key(**options: Any) -> models.Field[Any, Any]:
    return models.UUIDField(default=uuid.uuid4, **options)


def unique(*fields: Any, **options: Any) -> dict[str, Any]:
    names = {} if fields else {"fields": ["title", "extra"]}
    return {
        "constraints": [
            models.UniqueConstraint(*fields, name="one", **{**names, **options})
        ]
    }


def expect_rows(*values: Any) -> list[dict[str, Any]]:
    return [{"title": "a", "extra": value} for value in values]


SAME_TITLES: list[dict[str, Any]] = [{"title": "a"}] * 3

#: Each fails if its case is taken out of find_addition() or find_alteration().
CHANGES = {
    "unique blank text": Change(
        {}, {"extra": text(unique=True, blank=True)}, has_function=True
    ),
    "blank text, unique by a constraint": Change(
        {},
        {"extra": text(blank=True)},
        unique(fields=["extra"]),
        has_function=True,
    ),
    "blank text, unique together with nothing": Change(
        {},
        {"extra": text(blank=True)},
        {"unique_together": {("extra",)}},
        has_function=True,
    ),
    "default is None": Change({}, {"extra": text(default=None)}, has_function=True),
    "number whose default is None": Change(
        {}, {"extra": models.IntegerField(default=None)}, has_function=True
    ),
    "default is None, for a column that was nullable": Change(
        {"extra": text(null=True)},
        {"extra": text(default=None)},
        rows=expect_rows(None, None, "x"),
        has_function=True,
    ),
    "callable default in a constraint": Change(
        {}, {"extra": key()}, unique(), SAME_TITLES
    ),
    "nullable, callable default in a constraint": Change(
        {}, {"extra": key(null=True)}, unique(), SAME_TITLES
    ),
    "callable default, unique together": Change(
        {}, {"extra": key()}, {"unique_together": {("title", "extra")}}, SAME_TITLES
    ),
    "null removed, unique, callable default": Change(
        {"extra": models.UUIDField(null=True)},
        {"extra": key(unique=True)},
        rows=expect_rows(None, None, UUID),
    ),
    "null removed, unique before, callable default": Change(
        {"extra": models.UUIDField(null=True, unique=True)},
        {"extra": key(unique=True)},
        rows=expect_rows(None, None, UUID),
    ),
    "null removed, callable default in a constraint": Change(
        {"extra": models.UUIDField(null=True)},
        {"extra": key()},
        unique(),
        rows=expect_rows(None, None, UUID),
    ),
}


def find_plain(change: Change) -> list[Migration]:
    """Return what Django alone writes; it asks nothing."""
    before, after = change.get_models()
    graph = MigrationGraph()
    graph.add_node(("films", "0001_initial"), None)

    class Quiet(MigrationQuestioner):
        def ask_not_null_addition(self, *names: str) -> None:
            raise AssertionError(f"Django asked about {names}.")

        ask_not_null_alteration = ask_not_null_addition
        ask_unique_callable_default_addition = ask_not_null_addition

    return (
        MigrationAutodetector(state(before), state(after), Quiet())
        .changes(graph)
        .get("films", [])
    )


def start(change: Change, alias: str) -> History:
    """Return a history with the model as it was, and rows."""
    history = History(alias)
    before, _ = change.get_models()
    history.apply(CreateModel("Movie", list(before.fields.items())))
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(movie(**row) for row in change.rows)
    return history


def number_of(movie: Any) -> str:
    return str(movie.pk)


def write_functions(migrations: list[Migration], change: Change) -> None:
    """Write each function that is to be written."""
    for migration in migrations:
        for operation in get_backfills(migration):
            assert isinstance(operation.populate, Stub) is change.has_function
            if change.has_function:
                operation.populate = number_of


def apply(history: History, migrations: list[Migration]) -> None:
    for migration in migrations:
        history.apply(*migration.operations, atomic=migration.atomic)


# The witness: if Django learns of a case, its row in CHANGES can go.
@pytest.mark.parametrize("name", CHANGES)
def test_django_alone_fails_or_fills_rows_alike(name: str, alias: str) -> None:
    change = CHANGES[name]
    history = start(change, alias)

    try:
        apply(history, find_plain(change))
    except DatabaseError:
        return
    values = history.rows("Movie").values_list("extra", flat=True)
    # MySQL and MariaDB write the empty text, or 0, for the NULL of default=None.
    assert connections[alias].vendor == "mysql"
    assert len(set(values)) < 3


@pytest.mark.parametrize("two_phase", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("name", CHANGES)
def test_each_row_gets_its_value(name: str, two_phase: bool, alias: str) -> None:
    change = CHANGES[name]
    history = start(change, alias)
    before = history.describe("Movie")
    migrations = detect(*([m] for m in change.get_models()), two_phase=two_phase)[
        "films"
    ]
    write_functions(migrations, change)

    apply(history, migrations)

    values = list(history.rows("Movie").values_list("extra", flat=True))
    assert None not in values
    assert "" not in values
    assert len(set(values)) == 3
    for value, row in zip(values, change.rows, strict=True):
        assert row.get("extra") in (None, value)
    made = without_names(history.describe("Movie"), "movie")
    _, after = change.get_models()
    options = dict(after.options)
    if "constraints" in options:
        names = {"name": "twin"}
        options["constraints"] = [
            type(constraint)(**{**constraint.deconstruct()[2], **names})
            for constraint in options["constraints"]
        ]
    history.apply(CreateModel("Twin", list(after.fields.items()), options))
    assert made == without_names(history.describe("Twin"), "twin")
    for _ in [*migrations, "Twin"]:
        history.unapply()
    assert history.describe("Movie") == before


#: A field that becomes unique, and a value of each of three rows.
BECOME_UNIQUE: dict[str, tuple[Any, Any, list[Any]]] = {
    "text": (text(), text(unique=True), ["a", "b", "c"]),
    "blank text": (text(blank=True), text(blank=True, unique=True), ["", "b", "c"]),
    "null": (text(null=True), text(null=True, unique=True), [None, None, "c"]),
    "null that comes with it": (text(), text(null=True, unique=True), ["a", "b", "c"]),
    "another type": (models.IntegerField(), text(unique=True), [1, 2, 3]),
    "indexed": (text(db_index=True), text(unique=True), ["a", "b", "c"]),
}


# Fails if a row's value changes, or if the column is not as AlterField makes it.
@pytest.mark.parametrize("name", BECOME_UNIQUE)
def test_field_that_becomes_unique_keeps_its_values(name: str, alias: str) -> None:
    old, new, values = BECOME_UNIQUE[name]
    change = Change({"extra": old}, {"extra": new}, rows=expect_rows(*values))
    described = []
    for is_plain in (True, False):
        history = start(change, alias)
        before = history.describe("Movie")
        migrations = (
            find_plain(change)
            if is_plain
            else detect(*([m] for m in change.get_models()))["films"]
        )
        apply(history, migrations)
        rows = list(history.rows("Movie").values_list("extra", flat=True))
        described.append((rows, history.describe("Movie")))
        history.unapply()
        assert history.describe("Movie") == before
        history.unapply()
    assert [type(operation) for operation in migrations[0].operations] == [
        AlterFieldWithBackfill
    ]
    assert described[0] == described[1]


def test_rows_that_share_a_value_are_named(alias: str) -> None:
    change = Change(
        {"extra": text()}, {"extra": text(unique=True)}, rows=expect_rows(*"aab")
    )
    history = start(change, alias)
    before = history.describe("Movie")
    migrations = detect(*([m] for m in change.get_models()))["films"]
    with pytest.raises(DatabaseError):
        apply(history, find_plain(change))
    assert history.describe("Movie") == before

    with pytest.raises(BackfillError) as caught:
        apply(history, migrations)

    assert [row.pk for row in caught.value.rows] == [2]
    assert history.describe("Movie") == before
    migrations[0].operations[0].deduplicate = safefield.numbered
    apply(history, migrations)
    values = history.rows("Movie").values_list("extra", flat=True)
    assert list(values) == ["a", "a-2", "b"]


#: What stays with Django: a backfill would be refused where AlterField works, or
#: fill what may be empty.
LEFT_ALONE = {
    "blank text": Change({}, {"extra": text(blank=True)}),
    "blank text among rows that are not blank": Change(
        {},
        {"extra": text(blank=True)},
        unique(fields=["extra"], condition=~models.Q(extra="")),
    ),
    "blank text within a title": Change({}, {"extra": text(blank=True)}, unique()),
    "nullable, unique": Change({}, {"extra": text(null=True, unique=True)}),
    "unique, with a constant": Change({}, {"extra": text(unique=True, default="x")}),
    "default is None, the database has one": Change(
        {}, {"extra": text(default=None, db_default="x")}
    ),
    "callable default": Change({}, {"extra": key()}),
    "nullable with a default becomes unique": Change(
        {"extra": models.UUIDField(null=True, default=uuid.uuid4)},
        {"extra": key(null=True, unique=True)},
    ),
    "the database has a default": Change(
        {"extra": text(null=True)}, {"extra": text(unique=True, db_default="x")}
    ),
    "unique as before": Change(
        {"extra": text(unique=True)}, {"extra": text(unique=True, db_comment="x")}
    ),
    "no longer unique": Change({"extra": text(unique=True)}, {"extra": text()}),
    "callable default, not unique": Change(
        {"extra": models.UUIDField(null=True)}, {"extra": key()}
    ),
}


@pytest.mark.parametrize("two_phase", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_stays_with_django(name: str, two_phase: bool) -> None:
    change = LEFT_ALONE[name]

    changes = detect(*([m] for m in change.get_models()), two_phase=two_phase)

    (migration,) = changes["films"]
    (plain,) = find_plain(change)
    assert migration.atomic is True
    assert [operation.deconstruct()[:2] for operation in migration.operations] == [
        operation.deconstruct()[:2] for operation in plain.operations
    ]


# Fails if only `fields` is read, or if a field of a new model counts.
@pytest.mark.parametrize(
    "constraint",
    [
        models.UniqueConstraint(Lower("extra"), name="one"),
        models.UniqueConstraint("title", Lower("extra"), name="one"),
        models.UniqueConstraint(
            fields=["extra"], condition=models.Q(title="x"), name="one"
        ),
    ],
    ids=["expression", "expressions", "condition"],
)
def test_callable_default_in_any_unique_constraint(constraint: Any) -> None:
    before, after = Change(
        {}, {"extra": key()}, {"constraints": [constraint]}
    ).get_models()
    other = model("Studio", id=pk(), **{"extra": key()}, options=after.options)

    changes = detect([before], [after, other])

    assert [
        [type(operation).__name__ for operation in migration.operations]
        for migration in changes["films"]
    ] == [
        ["CreateModel"],
        ["AddFieldWithBackfill"],
        ["AddConstraint", "AddConstraint"],
    ]


# In a project.

BEFORE = """\
class Movie(models.Model):
    title = models.CharField(max_length=200)
    code = models.CharField(max_length=50)
    key = models.UUIDField(null=True)


class Series(models.Model):
    title = models.CharField(max_length=200)


class HistoricalMovie(models.Model):
    title = models.CharField(max_length=200)
    code = models.CharField(max_length=50)
"""
AFTER = """\
import uuid


class Slugged(models.Model):
    slug = models.SlugField(unique=True, blank=True)

    class Meta:
        abstract = True


class Movie(Slugged):
    title = models.CharField(max_length=200)
    code = models.CharField(max_length=50, unique=True)
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    country = models.CharField(max_length=2, default=None)
    token = models.UUIDField(default=uuid.uuid4)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token"], name="one_token")]


class Series(Slugged):
    title = models.CharField(max_length=200)


class HistoricalMovie(models.Model):
    title = models.CharField(max_length=200)
    slug = models.SlugField(blank=True)
    code = models.CharField(max_length=50, db_index=True)
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, has_black=True)
    site.write_models(BEFORE)
    assert site.manage("makemigrations").code == 0
    site.write_models(AFTER)
    return site


def frame(
    dependency: str,
    operations: str,
    *,
    imports: str = "import safefield.operations\n",
    function: str = "",
    atomic: str = "\n    atomic = False\n",
) -> str:
    """Return the text of a file."""
    return f"""\
{imports}from django.db import migrations, models
{function}

class Migration(migrations.Migration):
{atomic}
    dependencies = [
        ("films", "{dependency}"),
    ]

    operations = [
{operations}    ]
"""


def stub(name: str, noun: str, field_name: str, source: str) -> str:
    return f'''

def {name}({noun}):
    """
    Return the {field_name} of one existing {noun}.

    Fields to build it from: {source}.
    """
    raise NotImplementedError("Write {name}() before running migrate.")
'''


def operation(name: str, arguments: str, *, kind: str = "Add") -> str:
    model_name, field_name = name.split(".")
    return f"""\
        safefield.operations.{kind}FieldWithBackfill(
            model_name="{model_name}",
            name="{field_name}",
{arguments}        ),
"""


PLAIN = """\
        migrations.AddField(
            model_name="historicalmovie",
            name="slug",
            field=models.SlugField(blank=True),
        ),
        migrations.AlterField(
            model_name="historicalmovie",
            name="code",
            field=models.CharField(db_index=True, max_length=50),
        ),
"""
CONSTRAINT = """\
        migrations.AddConstraint(
            model_name="movie",
            constraint=models.UniqueConstraint(fields=("token",), name="one_token"),
        ),
"""
WITH_UUID = "import uuid\n\nimport safefield.operations\n"
FIRST = "0002_historicalmovie_slug_alter_historicalmovie_code"
FILES = {
    f"{FIRST}.py": frame("0001_initial", PLAIN, imports="", atomic=""),
    "0003_movie_country.py": frame(
        FIRST,
        operation(
            "movie.country",
            "            field=models.CharField(default=None, max_length=2),\n"
            "            populate=populate_movie_country,\n",
        ),
        function=stub(
            "populate_movie_country", "movie", "country", "id, title, code, key"
        ),
    ),
    "0004_movie_slug.py": frame(
        "0003_movie_country",
        operation(
            "movie.slug",
            "            field=models.SlugField(blank=True, unique=True),\n"
            "            populate=populate_movie_slug,\n",
        ),
        function=stub(
            "populate_movie_slug", "movie", "slug", "id, title, code, key, country"
        ),
    ),
    "0005_movie_token.py": frame(
        "0004_movie_slug",
        operation(
            "movie.token", "            field=models.UUIDField(default=uuid.uuid4),\n"
        ),
        imports=WITH_UUID,
    ),
    "0006_series_slug.py": frame(
        "0005_movie_token",
        operation(
            "series.slug",
            "            field=models.SlugField(blank=True, unique=True),\n"
            "            populate=populate_series_slug,\n",
        ),
        function=stub("populate_series_slug", "series", "slug", "id, title"),
    ),
    "0007_alter_movie_code.py": frame(
        "0006_series_slug",
        operation(
            "movie.code",
            "            field=models.CharField(max_length=50, unique=True),\n",
            kind="Alter",
        ),
    ),
    "0008_alter_movie_key.py": frame(
        "0007_alter_movie_code",
        operation(
            "movie.key",
            "            field=models.UUIDField(default=uuid.uuid4, unique=True),\n",
            kind="Alter",
        ),
        imports=WITH_UUID,
    ),
    "0009_movie_one_token.py": frame(
        "0008_alter_movie_key", CONSTRAINT, imports="", atomic=""
    ),
}
REPORT = """\
Migrations for 'films':
  films/migrations/0002_historicalmovie_slug_alter_historicalmovie_code.py
    + Add field slug to historicalmovie
    ~ Alter field code on historicalmovie
  films/migrations/0003_movie_country.py
    + Add field country to movie, backfilled by populate_movie_country
  films/migrations/0004_movie_slug.py
    + Add field slug to movie, backfilled by populate_movie_slug
  films/migrations/0005_movie_token.py
    + Add field token to movie, backfilled by its default
  films/migrations/0006_series_slug.py
    + Add field slug to series, backfilled by populate_series_slug
  films/migrations/0007_alter_movie_code.py
    ~ Alter field code on movie
  films/migrations/0008_alter_movie_key.py
    ~ Alter field key on movie, backfilled by its default
  films/migrations/0009_movie_one_token.py
    + Create constraint one_token on model movie
"""
NEXT = """\
Next: write populate_movie_country() in films/migrations/0003_movie_country.py, then \
run migrate.
Next: write populate_movie_slug() in films/migrations/0004_movie_slug.py, then run \
migrate.
Next: write populate_series_slug() in films/migrations/0006_series_slug.py, then run \
migrate.
If rows share a code, migrate stops and names them. Then add \
deduplicate=safefield.numbered to the operation in \
films/migrations/0007_alter_movie_code.py.
"""


# Fails if a case is written into the file of another, or the history's field is taken
# for the model's.
def test_several_at_once(site: Site) -> None:
    dry = site.manage("makemigrations", "--dry-run")
    check = site.manage("makemigrations", "--check")
    before = site.list_migrations()

    result = site.manage("makemigrations", "--no-header", "--noinput")

    assert dry == (REPORT, "", 0)
    assert check == (REPORT, "", 1)
    assert before == ["0001_initial.py"]
    assert result == (REPORT + NEXT, "", 0)
    files = site.read_migrations()
    del files["0001_initial.py"]
    assert files == FILES
    assert site.manage("makemigrations", "--check").code == 0


def second_function(name: str, home: str) -> str:
    return f"""
try:
    {name} = importlib.import_module(
        ".{home}", __package__
    ).{name}
except ModuleNotFoundError:  # {home} is squashed.
    {name} = None
"""


SECOND_FILES = {
    "0009_alter_movie_country.py": frame(
        "0008_alter_movie_key",
        operation(
            "movie.country",
            "            field=models.CharField(default=None, max_length=2),\n"
            "            populate=populate_movie_country,\n",
            kind="Alter",
        ),
        imports="import importlib\n\nimport safefield.operations\n",
        function=second_function("populate_movie_country", "0003_movie_country"),
    ),
    "0010_alter_movie_slug.py": frame(
        "0009_alter_movie_country",
        operation(
            "movie.slug",
            "            field=models.SlugField(blank=True, unique=True),\n"
            "            populate=populate_movie_slug,\n",
            kind="Alter",
        ),
        imports="import importlib\n\nimport safefield.operations\n",
        function=second_function("populate_movie_slug", "0004_movie_slug"),
    ),
    "0011_alter_movie_token.py": frame(
        "0010_alter_movie_slug",
        operation(
            "movie.token",
            "            field=models.UUIDField(default=uuid.uuid4),\n",
            kind="Alter",
        ),
        imports=WITH_UUID,
    ),
    "0012_alter_series_slug.py": frame(
        "0011_alter_movie_token",
        operation(
            "series.slug",
            "            field=models.SlugField(blank=True, unique=True),\n"
            "            populate=populate_series_slug,\n",
            kind="Alter",
        ),
        imports="import importlib\n\nimport safefield.operations\n",
        function=second_function("populate_series_slug", "0006_series_slug"),
    ),
    "0013_movie_one_token.py": frame(
        "0012_alter_series_slug", CONSTRAINT, imports="", atomic=""
    ),
}


# Fails if a field of the first phase is required already.
def test_several_in_two_phases(site: Site) -> None:
    result = site.manage("makemigrations", "--no-header", "--noinput", "--two-phase")

    assert result.code == 0
    assert result.out.partition("Next:")[2] == (
        """\
 write populate_movie_country() in films/migrations/0003_movie_country.py.
Next: write populate_movie_slug() in films/migrations/0004_movie_slug.py.
Next: write populate_series_slug() in films/migrations/0006_series_slug.py.
If rows share a code, migrate stops and names them. Then add \
deduplicate=safefield.numbered to the operation in \
films/migrations/0007_alter_movie_code.py.
historicalmovie.slug is required, and only the new code has a value for it: the old \
code cannot insert rows after step 1. Give it a db_default.
Then deploy in this order:
  1. manage.py migrate films 0006_series_slug
  2. Let the new code replace the old code everywhere.
  3. manage.py migrate
"""
    )
    files = site.read_migrations()
    del files["0001_initial.py"]
    first = {
        name: text.replace("max_length=2)", "max_length=2, null=True)")
        .replace("default=uuid.uuid4)", "default=uuid.uuid4, null=True)")
        .replace("unique=True)", "null=True, unique=True)")
        for name, text in FILES.items()
        if "0003" <= name < "0007"
    }
    first[f"{FIRST}.py"] = FILES[f"{FIRST}.py"]
    rest = {name: FILES[name] for name in FILES if "0007" <= name < "0009"}
    assert files == {**first, **rest, **SECOND_FILES}
    assert site.manage("makemigrations", "--check").code == 0


# Fails if the switch does not reach a case.
def test_one_off_default_leaves_all_to_django(site: Site) -> None:
    plain = Site(site.path, installed_apps=["films"])
    plain.write_models(AFTER)
    expected = plain.manage("makemigrations", "-v3", "--dry-run", "--no-header")

    again = Site(site.path)
    again.write_models(AFTER)
    result = again.manage(
        "makemigrations", "-v3", "--dry-run", "--no-header", "--one-off-default"
    )

    assert "Add field token to movie\n" in expected.out
    assert result == expected


UPDATED = frame(
    "0001_initial",
    """\
        migrations.AddField(
            model_name="series",
            name="note",
            field=models.TextField(null=True),
        ),
        safefield.operations.AlterFieldWithBackfill(
            model_name="movie",
            name="code",
            field=models.CharField(max_length=50, unique=True),
        ),
""",
    atomic="",
)


def test_update(tmp_path: Path) -> None:
    site = Site(tmp_path, has_black=True)
    site.write_models(BEFORE)
    site.manage("makemigrations")
    note = "    title = models.CharField(max_length=200)\n\n\nclass Historical"
    with_note = BEFORE.replace(
        note, note.replace("\n\n\n", "\n    note = models.TextField(null=True)\n\n\n")
    )
    site.write_models(with_note)
    site.manage("makemigrations")
    site.write_models(
        with_note.replace("max_length=50)", "max_length=50, unique=True)", 1)
    )

    result = site.manage("makemigrations", "--update", "--no-header")

    name = "films/migrations/0002_series_note_alter_movie_code.py"
    assert result == (
        f"""\
Migrations for 'films':
  {name}
    + Add field note to series
    ~ Alter field code on movie
Deleted films/migrations/0002_series_note.py
If rows share a code, migrate stops and names them. Then add \
deduplicate=safefield.numbered to the operation in {name}.
""",
        "",
        0,
    )
    assert site.read(name) == UPDATED


# Fails if CreateModel does not take the alteration in: there are no rows then.
def test_update_of_the_first_migration(tmp_path: Path) -> None:
    site = Site(tmp_path, has_black=True)
    site.write_models(BEFORE)
    site.manage("makemigrations")
    site.write_models(BEFORE.replace("max_length=50)", "max_length=50, unique=True)"))

    result = site.manage("makemigrations", "--update", "--no-header")

    assert result.code == 0
    assert "If rows share" not in result.out
    (text,) = site.read_migrations().values()
    assert "safefield" not in text
    assert text.count('("code", models.CharField(max_length=50, unique=True))') == 2
