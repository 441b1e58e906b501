from __future__ import annotations

import re
from typing import Any

import black
import pytest
from django.db import models
from django.db.migrations import Migration, RunPython
from django.db.migrations.writer import MigrationWriter

from safefield.arguments import check_callable
from safefield.authoring.migration_file import StubWriter, write_stubs
from safefield.authoring.stubs import Stub
from safefield.operations import AddFieldWithBackfill
from safefield.populate import is_unwritten

pytestmark = pytest.mark.newest

SLUG = Stub("Movie", "slug", ("id", "title", "year", "director"))


def compile_stub(stub: Stub) -> Any:
    namespace: dict[str, Any] = {}
    exec("\n".join(sorted(stub.imports)) + "\n\n" + stub.render(), namespace)
    return namespace[stub.__name__]


def test_function_lists_the_fields_at_hand() -> None:
    assert (
        SLUG.render()
        == '''\
def populate_movie_slug(movie):
    """
    Return the slug of one existing movie.

    Fields to build it from: id, title, year, director.
    """
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")'''
    )


def test_function_for_auto_now_add_is_complete() -> None:
    stub = Stub("Movie", "created", ("id",), returns_now=True)

    assert (
        stub.render()
        == '''\
def populate_movie_created(movie):
    """
    Return the value of `created` for one existing movie.

    Fields to build it from: id.
    """
    return timezone.now()'''
    )
    assert stub.imports == {"from django.utils import timezone"}
    assert not is_unwritten(compile_stub(stub))


def test_function_for_an_existing_field_says_which_rows_it_gets() -> None:
    stub = Stub("Movie", "year", is_null=True)

    assert (
        stub.render()
        == '''\
def populate_movie_year(movie):
    """
    Return the year of one existing movie that has none.
    """
    raise NotImplementedError("Write populate_movie_year() before running migrate.")'''
    )


# Fails if such a name is put where only a noun makes a sentence.
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("title", "the title of"),
        ("release_date", "the release_date of"),
        ("island", "the island of"),
        ("region", "the region of"),
        ("created", "the value of `created` for"),
        ("sold_at", "the value of `sold_at` for"),
        ("updated_on", "the value of `updated_on` for"),
        ("is_free", "the value of `is_free` for"),
        ("has_sound", "the value of `has_sound` for"),
    ],
)
def test_sentence_suits_the_name(name: str, sentence: str) -> None:
    (line,) = re.findall("    Return .*", Stub("Movie", name).render())

    assert line == f"    Return {sentence} one existing movie."


def test_long_list_of_fields_is_wrapped() -> None:
    stub = Stub("Movie", "slug", tuple(f"column_{number}" for number in range(1, 12)))

    assert (
        stub.render()
        == '''\
def populate_movie_slug(movie):
    """
    Return the slug of one existing movie.

    Fields to build it from: column_1, column_2, column_3, column_4, column_5,
    column_6, column_7, column_8, column_9, column_10, column_11.
    """
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")'''
    )


def test_long_names_are_split_as_black_does() -> None:
    stub = Stub("M" + "o" * 40, "s" + "l" * 40, ("id",))

    assert (
        stub.render()
        == '''\
def populate_moooooooooooooooooooooooooooooooooooooooo_sllllllllllllllllllllllllllllllllllllllll(
    moooooooooooooooooooooooooooooooooooooooo,
):
    """
    Return the sllllllllllllllllllllllllllllllllllllllll of one existing
    moooooooooooooooooooooooooooooooooooooooo.

    Fields to build it from: id.
    """
    raise NotImplementedError(
        "Write populate_moooooooooooooooooooooooooooooooooooooooo_sllllllllllllllllllllllllllllllllllllllll() before running migrate."
    )'''  # noqa: E501
    )


@pytest.mark.parametrize(
    ("model_name", "field_name", "signature"),
    [
        ("Movie", "slug", "populate_movie_slug(movie)"),
        ("FilmReview", "slug", "populate_film_review_slug(film_review)"),
        ("HTTPServer", "slug", "populate_http_server_slug(http_server)"),
        ("Film2D", "slug", "populate_film2_d_slug(film2_d)"),
        ("Class", "slug", "populate_class_slug(class_)"),
        ("None", "slug", "populate_none_slug(none)"),
        ("Timezone", "slug", "populate_timezone_slug(timezone_)"),
        ("Settings", "slug", "populate_settings_slug(settings_)"),
        ("_Hidden", "slug", "populate__hidden_slug(hidden)"),
        ("_", "slug", "populate___slug(row)"),
        ("Städte", "länge", "populate_städte_länge(städte)"),
        ("Movie", "the-slug", "populate_movie_the_slug(movie)"),
        ("Movie", "class", "populate_movie_class(movie)"),
    ],
)
def test_names_are_identifiers(
    model_name: str, field_name: str, signature: str
) -> None:
    stub = Stub(model_name, field_name)

    assert stub.render().splitlines()[0] == f"def {signature}:"
    assert is_unwritten(compile_stub(stub))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
@pytest.mark.parametrize("length", [1, 10, 30, 31, 32, 33, 34, 60, 120])
@pytest.mark.parametrize("returns_now", [False, True])
def test_black_changes_nothing(count: int, length: int, returns_now: bool) -> None:
    stub = Stub(
        "Movie",
        "s" * length,
        tuple(f"a_field_{number}" for number in range(count)),
        returns_now=returns_now,
    )

    text = stub.render() + "\n"

    assert black.format_str(text, mode=black.Mode()) == text


def test_stub_stands_in_for_a_function_until_it_is_written() -> None:
    check_callable("AddFieldWithBackfill", "populate", SLUG)

    with pytest.raises(
        NotImplementedError,
        match=r"^Write populate_movie_slug\(\) before running migrate\.$",
    ):
        SLUG(None)


# The file.


def make_migration(*stubs: Stub | None, **attributes: Any) -> Migration:
    migration = Migration("0002_slug", "auth")
    migration.operations = [
        AddFieldWithBackfill("user", "slug", models.SlugField(default="x"), stub)
        for stub in stubs
    ]
    for name, value in attributes.items():
        setattr(migration, name, value)
    return migration


def write(migration: Migration) -> str:
    with write_stubs():
        text = StubWriter(migration, include_header=False).as_string()
    return black.format_str(text, mode=black.Mode())


def test_file_has_the_function_and_the_class() -> None:
    migration = make_migration(
        SLUG, atomic=False, dependencies=[("auth", "0001_initial")]
    )

    assert (
        write(migration)
        == '''\
import safefield.operations
from django.db import migrations, models


def populate_movie_slug(movie):
    """
    Return the slug of one existing movie.

    Fields to build it from: id, title, year, director.
    """
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("auth", "0001_initial"),
    ]

    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="user",
            name="slug",
            field=models.SlugField(default="x"),
            populate=populate_movie_slug,
        ),
    ]
'''
    )


def test_functions_of_one_name_are_numbered() -> None:
    migration = make_migration(
        Stub("Movie", "a_slug"), Stub("MovieA", "slug"), Stub("Movie", "a_slug")
    )

    text = write(migration)

    names = [line for line in text.splitlines() if line.startswith("def ")]
    assert names == [
        "def populate_movie_a_slug(movie):",
        "def populate_movie_a_slug_2(movie_a):",
        "def populate_movie_a_slug_3(movie):",
    ]
    assert [operation.populate.__name__ for operation in migration.operations] == [
        "populate_movie_a_slug",
        "populate_movie_a_slug_2",
        "populate_movie_a_slug_3",
    ]


def test_migration_without_backfill_is_written_by_django() -> None:
    migration = Migration("0002_slug", "auth")
    migration.operations = [RunPython(RunPython.noop)]

    expected = MigrationWriter(migration, include_header=False).as_string()

    assert write(migration) == black.format_str(expected, mode=black.Mode())


def test_writer_and_serializers_are_given_back() -> None:
    from django.core.management.commands import makemigrations

    with pytest.raises(RuntimeError), write_stubs():
        assert makemigrations.MigrationWriter is not MigrationWriter
        assert MigrationWriter.serialize(SLUG) == ("populate_movie_slug", set())
        raise RuntimeError

    assert makemigrations.MigrationWriter is MigrationWriter
    with pytest.raises(ValueError, match="^Cannot serialize: Stub"):
        MigrationWriter.serialize(SLUG)


def test_spy_on_as_string_sees_the_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    # As django-linear-migrations does while makemigrations runs.
    seen = []
    original = MigrationWriter.as_string

    def spy(self: MigrationWriter) -> str:
        seen.append(self.migration.name)
        return original(self)

    monkeypatch.setattr(MigrationWriter, "as_string", spy)

    text = write(make_migration(SLUG))

    assert seen == ["0002_slug"]
    assert "def populate_movie_slug(movie):" in text
