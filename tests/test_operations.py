"""What an operation is to Django: text, state, arguments, refusals, the optimizer."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter, OperationWriter
from django.db.models.functions import Lower

import safefield
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill

pytestmark = [pytest.mark.core, pytest.mark.edges]

OPERATIONS = [AddFieldWithBackfill, AlterFieldWithBackfill]


def populate_slug(movie: Any) -> str:
    return str(movie.title)


def populate_studio(movie: Any, apps: Any) -> Any:
    return apps.get_model("films", "Studio").objects.first()


class Row:
    """A class is called like a function."""

    def __init__(self, movie: Any) -> None:
        self.movie = movie


def reverse_slug(movie: Any) -> dict[str, Any]:
    return {"title": movie.slug}


def number_slug(movie: Any, value: str, n: int) -> str:
    return f"{value}-{n}"


def slug() -> Any:
    return models.SlugField(unique=True, max_length=80)


def add_slug(**options: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill("Movie", "slug", slug(), populate_slug, **options)


# Text


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (
            add_slug(),
            "+ Add field slug to Movie, backfilled by populate_slug",
        ),
        (
            AddFieldWithBackfill(
                "movie", "key", models.UUIDField(default=uuid.uuid4, unique=True)
            ),
            "+ Add field key to movie, backfilled by its default",
        ),
        (
            AddFieldWithBackfill("Movie", "slug", slug(), Lower("title")),
            "+ Add field slug to Movie, backfilled by Lower(F(title))",
        ),
        (
            AddFieldWithBackfill(
                "Movie", "slug", slug(), partial(populate_studio, apps=None)
            ),
            "+ Add field slug to Movie, backfilled by populate_studio",
        ),
        (
            AlterFieldWithBackfill("Movie", "slug", slug(), populate_slug),
            "~ Alter field slug on Movie, backfilled by populate_slug",
        ),
    ],
    ids=["function", "default", "expression", "partial", "alter"],
)
def test_describe(operation: Operation, text: str) -> None:
    assert operation.formatted_description() == text
    assert operation.describe() == text[2:]


def test_name_of_the_migration() -> None:
    assert add_slug().migration_name_fragment == "movie_slug"
    assert (
        AlterFieldWithBackfill("Movie", "slug", slug()).migration_name_fragment
        == "alter_movie_slug"
    )


def test_plan_takes_it_for_neither_code_nor_sql() -> None:
    """`migrate --plan` shows the docstring of `code` and the text of `sql`."""
    assert not hasattr(add_slug(), "code")
    assert not hasattr(add_slug(), "sql")
    assert add_slug().reduces_to_sql is True
    assert add_slug().atomic is False
    assert add_slug().reversible is True
    assert add_slug().elidable is False


# State


def movie_state() -> ProjectState:
    state = ProjectState()
    migrations.CreateModel(
        "Movie",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("title", models.CharField(max_length=100, null=True)),
        ],
    ).state_forwards("films", state)
    return state


def test_state_has_the_final_field() -> None:
    state = movie_state()

    add_slug().state_forwards("films", state)

    field = state.models["films", "movie"].fields["slug"]
    assert field.deconstruct()[1:] == slug().deconstruct()[1:]
    assert state.apps.get_model("films", "Movie")._meta.get_field("slug").unique


def test_state_of_an_altered_field() -> None:
    state = movie_state()

    AlterFieldWithBackfill(
        "Movie", "title", models.CharField(max_length=100), populate_slug
    ).state_forwards("films", state)

    assert state.models["films", "movie"].fields["title"].null is False


def test_state_keeps_the_default() -> None:
    """The field is written exactly as in models.py."""
    state = movie_state()

    AddFieldWithBackfill(
        "Movie", "key", models.UUIDField(default=uuid.uuid4)
    ).state_forwards("films", state)

    assert state.models["films", "movie"].fields["key"].default is uuid.uuid4


# deconstruct()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"populate": populate_slug},
        {"populate": populate_studio},
        {"populate": Lower("title")},
        {"populate": models.F("title")},
        {"populate": Row},
        {
            "populate": populate_slug,
            "reverse": reverse_slug,
            "deduplicate": number_slug,
            "select_related": ("studio", "studio__country"),
            "prefetch_related": ("cast",),
            "batch_size": 500,
            "allow_blank": True,
            "elidable": True,
        },
        {"populate": partial(populate_studio, apps=None)},
        {"batch_size": 1, "prefetch_related": ["cast"]},
    ],
    ids=[
        *["default", "function", "function of two", "expression", "F", "class"],
        *["all", "partial", "some"],
    ],
)
def test_round_trip(operation: type[Any], options: dict[str, Any]) -> None:
    """What is written into a migration file makes an equal operation."""
    field = models.UUIDField(default=uuid.uuid4, unique=True)
    before = operation("Movie", "key", field, **options)

    text, imports = OperationWriter(before, indentation=0).serialize()
    namespace: dict[str, Any] = {}
    exec("\n".join(sorted(imports)), namespace)
    after = eval(text.strip().rstrip(","), namespace)

    assert type(after) is operation
    assert "import safefield.operations" in imports
    name, args, kwargs = after.deconstruct()
    assert (name, args) == (operation.__name__, [])
    assert set(kwargs) == {"model_name", "name", "field", *options}
    assert repr(kwargs["field"].deconstruct()) == repr(field.deconstruct())
    for argument in options:
        found, wanted = getattr(after, argument), getattr(before, argument)
        if isinstance(wanted, partial):
            found, wanted = found.func, wanted.func
        assert found == wanted


def test_numbered_in_a_migration_file() -> None:
    """Fails if the path of its module gets into migration files, for good."""
    operation = add_slug(deduplicate=safefield.numbered)

    text, imports = OperationWriter(operation, indentation=0).serialize()

    assert "    deduplicate=safefield.numbered,\n" in text
    assert "import safefield" in imports
    assert "import safefield.numbering" not in imports


def test_text_in_a_migration_file() -> None:
    migration = migrations.Migration("0002_movie_slug", "films")
    migration.operations = [
        add_slug(
            reverse=reverse_slug,
            deduplicate=number_slug,
            select_related=["studio"],
            batch_size=500,
            allow_blank=True,
        )
    ]

    text = MigrationWriter(migration, include_header=False).as_string()

    assert (
        """\
    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name='Movie',
            name='slug',
            field=models.SlugField(max_length=80, unique=True),
            populate=tests.test_operations.populate_slug,
            reverse=tests.test_operations.reverse_slug,
            deduplicate=tests.test_operations.number_slug,
            select_related=('studio',),
            batch_size=500,
            allow_blank=True,
        ),
    ]
"""
        in text
    )


# Arguments


def no_arguments() -> str:
    return ""


def three_arguments(movie: Any, apps: Any, other: Any) -> str:
    return ""


async def populate_later(movie: Any) -> str:
    return ""


def populate_each(movie: Any) -> Any:
    yield ""


async def populate_each_later(movie: Any) -> Any:
    yield ""


async def number_later(movie: Any, value: str, n: int) -> str:
    return ""


def number_each(movie: Any, value: str, n: int) -> Any:
    yield ""


class Later:
    async def __call__(self, movie: Any, *others: Any) -> str:
        return ""

    async def answer(self, movie: Any, *others: Any) -> str:
        return ""


AWAITED = (
    "is a coroutine function, and nothing would await what it returns. Write it with "
    "def, without async; asgiref's async_to_sync() makes one of it."
)
YIELDED = "is a generator function. Return one value for the row, and yield none."


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("argument", "function", "name", "text"),
    [
        *(
            (argument, *case)
            for argument in ("populate", "reverse")
            for case in (
                (populate_later, "populate_later", AWAITED),
                (populate_each, "populate_each", YIELDED),
                (populate_each_later, "populate_each_later", AWAITED),
                (partial(populate_later), "populate_later", AWAITED),
                (partial(partial(populate_each)), "populate_each", YIELDED),
                (sync_to_async(populate_slug), "populate_slug", AWAITED),
            )
        ),
        *(
            (argument, *case)
            for argument in ("populate", "reverse", "deduplicate")
            for case in (
                (Later(), "Later", AWAITED),
                (Later().answer, "answer", AWAITED),
            )
        ),
        ("deduplicate", number_later, "number_later", AWAITED),
        ("deduplicate", number_each, "number_each", YIELDED),
    ],
)
def test_what_answers_later(
    operation: type[Any], argument: str, function: Any, name: str, text: str
) -> None:
    """Fails if a function is taken whose answer nobody awaits or iterates."""
    with pytest.raises(TypeError) as caught:
        operation(
            "Movie", "slug", slug(), **{"populate": populate_slug, argument: function}
        )

    assert str(caught.value) == (
        f"{operation.__name__}('Movie', 'slug'): {argument}={name}() {text}"
    )


def test_what_waits_itself_is_taken() -> None:
    """Fails if everything that has to do with async is refused."""
    waiting = async_to_sync(populate_later)

    assert AddFieldWithBackfill("Movie", "slug", slug(), waiting).populate is waiting


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"populate": "title"},
            TypeError,
            "populate must be a function of one row, not 'title'.",
        ),
        (
            {"populate": no_arguments},
            TypeError,
            "populate=no_arguments() must take one argument (row) or two (row, "
            "apps); its signature is () -> 'str'.",
        ),
        (
            {"populate": three_arguments},
            TypeError,
            "populate=three_arguments() must take one argument (row) or two (row, "
            "apps); its signature is (movie: 'Any', apps: 'Any', other: 'Any') -> "
            "'str'.",
        ),
        (
            {"reverse": "title"},
            TypeError,
            "reverse must be a function of one row, not 'title'.",
        ),
        (
            {"reverse": Lower("title")},
            TypeError,
            "reverse must be a function of one row, not Lower(F(title)).",
        ),
        (
            {"deduplicate": "numbered"},
            TypeError,
            "deduplicate must be a function of row, value and n, not 'numbered'.",
        ),
        (
            {"deduplicate": populate_slug},
            TypeError,
            "deduplicate=populate_slug() must take three arguments (row, value, n); "
            "its signature is (movie: 'Any') -> 'str'.",
        ),
        (
            {"select_related": "studio"},
            TypeError,
            "select_related must be a list or tuple of names, not the string 'studio'.",
        ),
        (
            {"prefetch_related": "cast"},
            TypeError,
            "prefetch_related must be a list or tuple of names, not the string 'cast'.",
        ),
        (
            {"batch_size": 0},
            ValueError,
            "batch_size must be a whole number of rows, at least 1, not 0.",
        ),
        (
            {"batch_size": "many"},
            TypeError,
            "batch_size must be a whole number of rows, at least 1, not 'many'.",
        ),
        (
            {"batch_size": 1.5},
            TypeError,
            "batch_size must be a whole number of rows, at least 1, not 1.5.",
        ),
        (
            {"batch_size": True},
            TypeError,
            "batch_size must be a whole number of rows, at least 1, not True.",
        ),
        (
            {"allow_blank": 1},
            TypeError,
            "allow_blank must be True or False, not 1.",
        ),
        (
            {"elidable": None},
            TypeError,
            "elidable must be True or False, not None.",
        ),
    ],
)
def test_bad_argument(
    operation: type[Any], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        operation("Movie", "slug", slug(), **{"populate": populate_slug, **options})

    assert str(caught.value) == f"{operation.__name__}('Movie', 'slug'): {text}"


@pytest.mark.parametrize("name", ["select_related", "prefetch_related"])
def test_names_must_be_text(name: str) -> None:
    with pytest.raises(TypeError) as caught:
        add_slug(**{name: [1]})

    assert str(caught.value) == (
        f"AddFieldWithBackfill('Movie', 'slug'): {name} must be a list or tuple of "
        "names, not [1]."
    )


# Fields that are refused

REFUSALS = {
    "not a field": (
        "SlugField",
        "field must be a model field, not 'SlugField'.",
    ),
    "field class": (
        models.SlugField,
        "field must be a model field, not <class "
        "'django.db.models.fields.SlugField'>. Give an instance: SlugField(...).",
    ),
    "primary key": (
        models.UUIDField(primary_key=True),
        "a primary key cannot be backfilled. Add a unique field with this "
        "operation, then make it the primary key with migrations.AlterField.",
    ),
    "auto field": (
        models.BigAutoField(primary_key=True),
        "a primary key cannot be backfilled. Add a unique field with this "
        "operation, then make it the primary key with migrations.AlterField.",
    ),
    "composite primary key": (
        models.CompositePrimaryKey("tenant", "id"),
        "a primary key cannot be backfilled. Add a unique field with this "
        "operation, then make it the primary key with migrations.AlterField.",
    ),
    "parent link": (
        models.OneToOneField("films.Work", models.CASCADE, parent_link=True),
        "a parent link is the key of a row in another table. Create that row and "
        "the link in a migration of your own.",
    ),
    "many-to-many": (
        models.ManyToManyField("films.Movie"),
        "ManyToManyField has no column to fill. Use migrations.AddField, then "
        "migrations.RunPython to add the related rows.",
    ),
    "generated": (
        models.GeneratedField(
            expression=Lower("title"),
            output_field=models.CharField(max_length=100),
            db_persist=True,
        ),
        "GeneratedField is computed by the database. Use migrations.AddField.",
    ),
    "generic relation": (
        GenericRelation("films.Tag"),
        "GenericRelation has no column to fill. Use migrations.AddField.",
    ),
    "generic foreign key": (
        GenericForeignKey(),
        "GenericForeignKey has no column to fill. Use this operation for its two "
        "fields, the content type and the key.",
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", REFUSALS)
def test_refused_field(operation: type[Any], case: str) -> None:
    field, sentence = REFUSALS[case]

    with pytest.raises((TypeError, ValueError)) as caught:
        operation("Movie", "extra", field, populate_slug)

    assert str(caught.value) == f"{operation.__name__}('Movie', 'extra'): {sentence}"


def test_missing_populate() -> None:
    with pytest.raises(ValueError) as caught:
        AddFieldWithBackfill("Movie", "slug", slug())

    assert str(caught.value) == (
        "AddFieldWithBackfill('Movie', 'slug'): populate is missing, and the field "
        "has no default to be called once a row. Give populate=, a function of one "
        "row."
    )


# The optimizer


def names(operations: list[Any]) -> list[str]:
    return [
        f"{type(operation).__name__} {getattr(operation, 'name', '')}".strip()
        for operation in operations
    ]


def optimize(*operations: Operation) -> list[str]:
    return names(MigrationOptimizer().optimize(list(operations), "films"))


def no_op(apps: Any, schema_editor: Any) -> None:
    pass


CREATE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=100)),
    ],
)
OTHER_TITLE = models.CharField(max_length=200)


def test_create_model_absorbs_it() -> None:
    create = MigrationOptimizer().optimize([CREATE, add_slug()], "films")

    assert names(create) == ["CreateModel Movie"]
    assert [name for name, _ in create[0].fields] == ["id", "title", "slug"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "neighbour",
    [
        migrations.AddField("Movie", "slug", models.SlugField(null=True)),
        migrations.AlterField("Movie", "slug", models.SlugField()),
        migrations.AlterField("Movie", "title", OTHER_TITLE),
        migrations.RenameField("Movie", "slug", "handle"),
        migrations.RenameField("Movie", "title", "name"),
        migrations.RemoveField("Movie", "title"),
        migrations.AddField("Movie", "other", models.IntegerField(null=True)),
        migrations.RenameModel("Movie", "Film"),
        migrations.AlterModelOptions("Movie", {"ordering": ["slug"]}),
        migrations.CreateModel("Studio", CREATE.fields),
        migrations.DeleteModel("Studio"),
        migrations.RemoveField("Studio", "slug"),
        migrations.RunPython(no_op),
        migrations.RunSQL("SELECT 1"),
    ],
    ids=lambda neighbour: type(neighbour).__name__,
)
def test_nothing_moves_across_it(operation: type[Any], neighbour: Operation) -> None:
    """Populate may read any field of any model: it has to stay where it is."""
    backfill = operation("Movie", "slug", slug(), populate_slug)

    assert optimize(backfill, neighbour) == names([backfill, neighbour])
    assert optimize(neighbour, backfill) == names([neighbour, backfill])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("later", "left"),
    [
        (migrations.DeleteModel("Movie"), ["DeleteModel Movie"]),
        (migrations.RunPython(no_op, elidable=True), ["{} slug"]),
        (migrations.RunSQL("SELECT 1", elidable=True), ["{} slug"]),
    ],
    ids=["DeleteModel", "elidable RunPython", "elidable RunSQL"],
)
def test_what_it_is_reduced_with(
    operation: type[Any], later: Operation, left: list[str]
) -> None:
    backfill = operation("Movie", "slug", slug(), populate_slug)

    assert optimize(backfill, later) == [
        line.format(operation.__name__) for line in left
    ]


def test_added_and_removed() -> None:
    assert optimize(add_slug(), migrations.RemoveField("Movie", "slug")) == []


def test_altered_and_removed() -> None:
    """Removing a field that was only altered has still to remove it."""
    operation = AlterFieldWithBackfill("Movie", "slug", slug(), populate_slug)

    assert optimize(operation, migrations.RemoveField("Movie", "slug")) == [
        "RemoveField slug"
    ]


def test_elidable_before_it() -> None:
    assert optimize(migrations.RunPython(no_op, elidable=True), add_slug()) == [
        "AddFieldWithBackfill slug"
    ]


def test_a_field_is_not_moved_across_the_one_that_reads_it() -> None:
    """Were this a plain AddField, `title` would be altered or gone before it."""
    operations = [
        migrations.AddField("Movie", "year", models.IntegerField(null=True)),
        migrations.RunPython(no_op),
        add_slug(),
        migrations.AlterField("Movie", "year", models.BigIntegerField(null=True)),
        migrations.RemoveField("Movie", "title"),
        migrations.RenameField("Movie", "slug", "handle"),
    ]

    assert optimize(*operations) == names(operations)


def test_create_model_takes_what_follows() -> None:
    """A squash from zero has no rows to fill: everything goes into CreateModel."""
    assert optimize(
        CREATE,
        add_slug(),
        migrations.AlterField("Movie", "slug", models.SlugField()),
        migrations.RenameField("Movie", "slug", "handle"),
        migrations.RemoveField("Movie", "title"),
    ) == ["CreateModel Movie"]
    assert optimize(CREATE, add_slug(), migrations.DeleteModel("Movie")) == []
    assert optimize(
        CREATE,
        AlterFieldWithBackfill("Movie", "title", OTHER_TITLE, populate_slug),
    ) == ["CreateModel Movie"]


def related(operation: Any, **options: Any) -> list[Operation]:
    """Return a history in which a model refers to the one that is backfilled."""
    studio = migrations.CreateModel("Studio", CREATE.fields)
    key = models.ForeignKey("films.Studio", models.CASCADE)
    movie = migrations.CreateModel("Movie", [*CREATE.fields, ("studio", key)])
    return [
        studio,
        movie,
        operation("Studio", "country", models.CharField(max_length=2), **options),
        operation("Movie", "slug", slug(), **options),
    ]


def describe_squash(operations: list[Operation]) -> list[Any]:
    """Return what is left of the operations, with names and fields."""
    return [
        (
            type(operation).__name__,
            {
                name: field.deconstruct()[1:] if hasattr(field, "deconstruct") else ""
                for name, field in getattr(operation, "fields", [])
            },
        )
        for operation in MigrationOptimizer().optimize(operations, "films")
    ]


# Fails if an elidable one stays a barrier; the witness is Django's AddField.
def test_elidable_is_squashed_as_djangos_own() -> None:
    options = {"populate": populate_slug}

    assert len(describe_squash(related(AddFieldWithBackfill, **options))) == 4
    elidable = describe_squash(related(AddFieldWithBackfill, **options, elidable=True))
    assert elidable == describe_squash(related(migrations.AddField))
    assert [name for name, _ in elidable] == ["CreateModel", "CreateModel"]


# Fails if the field goes with the operation, as that of an elidable RunPython does.
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("is_first", [False, True])
def test_elidable_without_its_model_stays(operation: type[Any], is_first: bool) -> None:
    backfill = operation("Movie", "slug", slug(), populate_slug, elidable=True)
    run = migrations.RunPython(no_op)
    operations = [backfill, run] if is_first else [run, backfill]

    assert optimize(*operations) == names(operations)


def test_elidable_phases_become_one() -> None:
    nullable = models.SlugField(max_length=80, null=True)
    first = AddFieldWithBackfill(
        "Movie", "slug", nullable, populate_slug, elidable=True
    )
    second = AlterFieldWithBackfill(
        "Movie", "slug", slug(), populate_slug, elidable=True
    )

    (left,) = MigrationOptimizer().optimize([first, second], "films")
    assert left.name == "slug"  # type: ignore[attr-defined]
    assert left.field.null is False  # type: ignore[attr-defined]
    assert optimize(CREATE, first, second) == ["CreateModel Movie"]


def test_elidable_is_written() -> None:
    text, _ = OperationWriter(add_slug(elidable=True), indentation=0).serialize()

    assert "    elidable=True,\n" in text
    assert "elidable" not in OperationWriter(add_slug(), indentation=0).serialize()[0]


def test_copy_keeps_the_class() -> None:
    """Django 5.2 rebuilds a plain AddField in AddField.reduce()."""
    (left,) = MigrationOptimizer().optimize(
        [add_slug(reverse=reverse_slug), migrations.RunPython(no_op, elidable=True)],
        "films",
    )

    assert isinstance(left, AddFieldWithBackfill)
    assert left.populate is populate_slug
    assert left.reverse is reverse_slug
