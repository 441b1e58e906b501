"""Only the columns that a function looks at are read, and no value is another one."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.core import serializers
from django.core.management.color import no_style
from django.db import connections, migrations, models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Upper
from django.db.models.signals import post_init
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

pytestmark = pytest.mark.thorough_on("mariadb", "mysql")

#: More than the first batch has, in which all columns are read, and the next ones.
ROWS = 120

#: A row far behind these.
LATE = 100

STUDIO = migrations.CreateModel(
    "Studio",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20)),
        ("notes", models.TextField()),
        ("parent", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
    ],
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("body", models.TextField()),
        ("tags", models.JSONField()),
        ("year", models.IntegerField(choices=[(1, "one"), (2, "two")])),
        ("rating", models.DecimalField(max_digits=4, decimal_places=2)),
        ("seen", models.DateTimeField(auto_now=True)),
        ("studio", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
    ],
)
COLUMNS = ["id", "title", "body", "tags", "year", "rating", "seen", "studio_id"]


def populate_table(history: History) -> None:
    studio = history.model("Studio")
    QuerySet(studio, using=history.connection.alias).bulk_create(
        studio(
            id=number,
            name=f"Studio {number}",
            notes=f"Notes {number}",
            parent_id=number - 1 or None,
        )
        for number in range(1, 6)
    )
    movie = history.model("Movie")
    QuerySet(movie, using=history.connection.alias).bulk_create(
        movie(
            id=number,
            title=f"Film {number}",
            body=f"Body {number}",
            tags=[number, {"of": number % 3}],
            year=number % 2 + 1,
            rating=Decimal(number) / 100,
            studio_id=number % 6 or None,
        )
        for number in range(1, ROWS + 1)
    )
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    history.rows("Movie").update(seen=when)


@pytest.fixture
def history(alias: str) -> History:
    """Films of studios, a few columns each."""
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    populate_table(history)
    return history


def compute_all(history: History, populate: Callable[[Any], Any]) -> dict[Any, Any]:
    """Return what `populate` gives for rows as Django reads them, by key."""
    found: dict[Any, Any] = {}
    with transaction.atomic(using=history.connection.alias):
        for row in history.rows("Movie"):
            key = row.pk
            found[key] = populate(row)
        transaction.set_rollback(True, using=history.connection.alias)
    return found


def fill(
    history: History, populate: Callable[[Any], Any], **options: Any
) -> dict[Any, Any]:
    """Return what the rows have when they are filled with `populate`, by key."""
    field = models.TextField(null=True)
    history.apply(AddFieldWithBackfill("Movie", "slug", field, populate, **options))
    return dict(history.rows("Movie").values_list("pk", "slug"))


@contextmanager
def record_reads(history: History) -> Iterator[list[list[str]]]:
    """Yield the columns of each SELECT of films, by their names, as they come."""
    found: list[list[str]] = []
    with CaptureQueriesContext(history.connection) as queries:
        yield found
    for query in queries.captured_queries:
        sql = query["sql"].replace("`", '"')
        if sql.startswith("SELECT ") and ' FROM "films_movie"' in sql:
            columns = sql.removeprefix("SELECT ").partition(" FROM ")[0]
            names = [
                column.partition(" AS ")[0].rpartition('"."')[2][:-1]
                for column in columns.split(", ")
            ]
            # Nor what is looked at of the values that were written.
            if all(name.isidentifier() for name in names) and (
                names not in (["id"], ["id", "slug"])
            ):
                found.append(names)


def test_reads_what_the_function_looks_at_and_the_keys(history: History) -> None:
    def populate(row: Any) -> str:
        return f"{row.title} {row.year}"

    expected = compute_all(history, populate)

    with record_reads(history) as reads:
        found = fill(history, populate)

    assert found == expected
    # The first rows, to try it; the first batch; the others.
    assert reads[:2] == [COLUMNS, COLUMNS]
    assert len(reads) > 3
    assert all(names == ["id", "title", "year", "studio_id"] for names in reads[2:])


def test_reads_the_keys_for_a_function_that_looks_at_nothing(history: History) -> None:
    with record_reads(history) as reads:
        found = fill(history, lambda row: "the same")

    assert set(found.values()) == {"the same"}
    assert all(names == ["id", "studio_id"] for names in reads[2:])


def test_a_column_that_is_wanted_late_is_loaded_once_and_then_read(
    history: History,
) -> None:
    def populate(row: Any) -> str:
        return str(row.body if row.id >= LATE else row.title)

    expected = compute_all(history, populate)

    with record_reads(history) as reads:
        found = fill(history, populate)

    assert found == expected
    narrow, wide = ["id", "title", "studio_id"], ["id", "title", "body", "studio_id"]
    late = reads.index(["body"])
    assert all(names == narrow for names in reads[2:late])
    assert reads[late + 1 :]
    assert all(names == wide for names in reads[late + 1 :])


def test_columns_that_are_wanted_late_cost_one_query_each(history: History) -> None:
    def populate(row: Any) -> str:
        names = COLUMNS[: 1 + row.id // 15]
        return " ".join(str(getattr(row, name)) for name in names)

    expected = compute_all(history, populate)

    with record_reads(history) as reads:
        found = fill(history, populate)

    assert found == expected
    assert [names for names in reads if len(names) == 1] == [
        [name] for name in COLUMNS[1:-1]
    ]


def dump(row: Any) -> str:
    """Return all that is in the __dict__ of a row, in its order."""
    values = [(name, value) for name, value in vars(row).items() if name != "_state"]
    return f"{next(iter(vars(row)))} {values!r}"


def save(row: Any) -> str:
    row.title = f"{row.title}!"
    row.save()
    others = QuerySet(type(row), using=row._state.db)
    saved = others.get(pk=row.pk)
    # auto_now makes it another one.
    assert saved.seen.year > 2025 and saved.seen.month != 1
    return f"{saved.title} {saved.body} {saved.tags}"


def refresh(row: Any) -> str:
    row.title = "another"
    row.refresh_from_db()
    return dump(row)


def clone(row: Any) -> str:
    if row.title == "a clone":
        return dump(row)
    row.pk = None
    row._state.adding = True
    row.title = "a clone"
    row.save()
    saved = QuerySet(type(row), using=row._state.db).get(pk=row.pk)
    return f"{saved.title} {saved.body} {saved.tags}"


def alter(row: Any) -> str:
    row.body = f"{row.title} altered"
    row.title = "altered"
    row.id = 1
    return f"{row.body} {row.title} {row.tags} {row.year}"


def alter_and_dump(row: Any) -> str:
    row.body = "altered"
    row.own = 5
    return dump(row)


WHOLE: dict[str, Callable[[Any], str]] = {
    "vars": dump,
    "__dict__": lambda row: repr(list(row.__dict__)),
    "dir": lambda row: repr([name for name in dir(row) if name in COLUMNS]),
    "getattr": lambda row: " ".join(str(getattr(row, name)) for name in COLUMNS),
    "fields": lambda row: repr(
        [field.value_from_object(row) for field in row._meta.fields]
    ),
    "model_to_dict": lambda row: repr(model_to_dict(row)),
    "serializable_value": lambda row: repr(
        [row.serializable_value(name) for name in COLUMNS]
    ),
    "serialize": lambda row: serializers.serialize("json", [row]),
    "get_deferred_fields": lambda row: repr(row.get_deferred_fields()),
    # What copy() and deepcopy() take.
    "copy": lambda row: repr(
        [item for item in row.__reduce_ex__(4)[2].items() if item[0] != "_state"]
    ),
    "pickle": lambda row: repr(sorted(pickle.dumps(row, 4).split(b"Body")[1:])),
    "clean_fields": lambda row: str(row.clean_fields(["studio"]) or row.body),
    "display": lambda row: str(row.get_year_display()),
    "save": save,
    "refresh": refresh,
    "clone": clone,
    "alter": alter,
    "alter and dump": alter_and_dump,
    "equal": lambda row: f"{row == row} {hash(row)} {row}",
    "hasattr": lambda row: f"{hasattr(row, 'body')} {hasattr(row, 'none')}",
    "set": lambda row: repr(sorted(vars(row).keys() - {"_state"})),
}


ON_EVERY_DATABASE = ("vars", "fields", "model_to_dict", "copy", "save", "refresh")


@pytest.mark.parametrize("begins", [1, LATE])
@pytest.mark.parametrize("name", WHOLE)
def test_who_looks_at_a_row_as_a_whole_finds_it_whole(
    alias: str, name: str, begins: int
) -> None:
    if alias != "default" and name not in ON_EVERY_DATABASE:
        pytest.skip("no database has a part in it")
    history = History(alias)
    history.apply(STUDIO, MOVIE)
    populate_table(history)
    connection = connections[alias]
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(
            no_style(), [history.model("Movie")]
        ):
            cursor.execute(sql)

    def populate(row: Any) -> str:
        if row.id < begins:
            return str(row.title)
        return WHOLE[name](row)

    expected = compute_all(history, populate)

    found = fill(history, populate)

    if name in ("clone",):
        # What was added is filled too.
        found = {key: value for key, value in found.items() if key in expected}
    if name == "pickle":
        assert found.keys() == expected.keys()
    else:
        assert found == expected


@pytest.mark.parametrize(
    "name", ["vars", "getattr", "fields", "model_to_dict", "serialize", "copy"]
)
def test_who_looks_at_rows_as_a_whole_late_loads_each_column_once(
    history: History, name: str
) -> None:
    with record_reads(history) as reads:
        fill(history, lambda row: WHOLE[name](row) if row.id >= LATE else row.title)

    loads = [names for names in reads if not {"id", "title"} <= set(names)]
    columns = [column for names in loads for column in names]
    assert len(columns) == len(set(columns))
    # auto_now is not editable.
    assert {*reads[-1], "seen"} == set(COLUMNS)


def test_joined_rows_have_what_the_function_looks_at(history: History) -> None:
    def populate(row: Any) -> str:
        if row.studio is None:
            return "none"
        parent = row.studio.parent
        return f"{row.studio.name} {parent and parent.name}"

    expected = compute_all(history, populate)

    with CaptureQueriesContext(history.connection) as queries:
        found = fill(history, populate, select_related=["studio__parent"])

    assert found == expected
    reads = [
        query["sql"]
        for query in queries.captured_queries
        if "LEFT OUTER JOIN" in query["sql"] and "films_studio" in query["sql"]
    ]
    assert "notes" in reads[1]
    assert len(reads) > 3
    assert not any("notes" in sql or "body" in sql for sql in reads[2:])


@pytest.mark.parametrize("look", ["notes", "__dict__"])
def test_what_is_wanted_late_of_a_joined_row_is_loaded_once(
    history: History, look: str
) -> None:
    def populate(row: Any) -> str:
        if row.studio is None or row.id < LATE:
            return "none"
        values = vars(row.studio) if look == "__dict__" else {}
        return f"{row.studio.notes} {sorted(values)}"

    expected = compute_all(history, populate)

    with CaptureQueriesContext(history.connection) as queries:
        found = fill(history, populate, select_related=["studio"])

    assert found == expected
    loads = [
        query["sql"]
        for query in queries.captured_queries
        if query["sql"].replace("`", '"').startswith("SELECT ")
        and ' FROM "films_studio"' in query["sql"].replace("`", '"')
    ]
    assert len(loads) == 1


def test_relations_are_followed_as_before(history: History) -> None:
    def populate(row: Any) -> str:
        if row.id < LATE or row.studio is None:
            return "none"
        others = row.studio.movie_set.filter(year=row.year).count()
        return f"{row.studio.name} {others} {row.studio.parent}"

    expected = compute_all(history, populate)

    assert fill(history, populate) == expected


def test_what_is_prefetched_is_found(history: History) -> None:
    def populate(row: Any) -> str:
        if row.studio is None:
            return "none"
        return " ".join(sorted(movie.body for movie in row.studio.movie_set.all()))

    expected = compute_all(history, populate)

    with CaptureQueriesContext(history.connection) as queries:
        found = fill(
            history, populate, prefetch_related=["studio__movie_set"], batch_size=40
        )

    assert found == expected
    # Once for the first rows, and for each batch.
    prefetched = [
        query["sql"]
        for query in queries.captured_queries
        if query["sql"]
        .replace("`", '"')
        .partition(" WHERE ")[0]
        .endswith(' FROM "films_studio"')
    ]
    assert len(prefetched) == 4


def test_rows_of_its_own_are_as_the_function_reads_them(history: History) -> None:
    def populate(row: Any) -> str:
        others = QuerySet(type(row), using=row._state.db)
        other = others.only("title").get(pk=row.pk)
        new = type(row)(title="new")
        return f"{sorted(vars(other))} {sorted(vars(new))} {row.title}"

    expected = compute_all(history, populate)

    assert fill(history, populate) == expected


def test_rows_that_are_kept_can_be_asked_later(history: History) -> None:
    kept: dict[int, Any] = {}

    def populate(row: Any) -> str:
        kept[row.id] = row
        first = kept[1] if row.id < LATE else kept[11]
        return f"{row.title} {first.title} {first.body if row.id > LATE else ''}"

    expected = compute_all(history, populate)
    kept.clear()

    assert fill(history, populate) == expected
    kept_whole = {name: getattr(kept[15], name) for name in COLUMNS}
    assert kept_whole == history.rows("Movie").values(*COLUMNS).get(pk=15)


def test_the_class_is_as_before(history: History) -> None:
    seen = set()

    def populate(row: Any) -> str:
        seen.add(type(row))
        return str(row.title)

    fill(history, populate)

    (kind,) = seen
    assert kind.__getattribute__ is object.__getattribute__
    assert "from_db" not in vars(kind)


def test_a_class_that_does_more_with_its_rows_has_them_whole(history: History) -> None:
    def look(instance: Any, **kwargs: Any) -> None:
        assert set(COLUMNS) <= set(vars(instance))

    def populate(row: Any) -> str:
        return str(row.title)

    movie = history.model("Movie")
    with record_reads(history) as reads:
        post_init.connect(look, sender=movie)
        try:
            fill(history, populate)
        finally:
            post_init.disconnect(look, sender=movie)

    assert all(names == COLUMNS for names in reads)


def test_an_altered_column_needs_no_trial(history: History) -> None:
    history.apply(migrations.AddField("Movie", "slug", models.TextField(null=True)))
    history.rows("Movie").filter(pk__lt=40).update(slug="from before")

    def populate(row: Any) -> str:
        assert row.slug is None
        return str(row.title)

    with record_reads(history) as reads:
        history.apply(
            AlterFieldWithBackfill("Movie", "slug", models.TextField(), populate)
        )

    found = dict(history.rows("Movie").values_list("pk", "slug"))
    assert found == {
        number: "from before" if number < 40 else f"Film {number}"
        for number in range(1, ROWS + 1)
    }
    batches = [names for names in reads if "title" in names]
    narrow = ["id", "title", "studio_id", "slug"]
    # The order is that in which the fields were added.
    assert [*COLUMNS, "slug"] in batches
    assert batches[-1] == narrow


def test_reverse_reads_what_it_looks_at(history: History) -> None:
    def reverse(row: Any) -> dict[str, Any]:
        looks = row.body if row.id >= LATE else ""
        return {"title": f"{row.slug} {looks}"}

    history.apply(
        AddFieldWithBackfill(
            "Movie", "slug", models.TextField(), lambda row: f"Slug {row.id}", reverse
        )
    )

    with record_reads(history) as reads:
        history.unapply()

    assert dict(history.rows("Movie").values_list("pk", "title")) == {
        number: f"Slug {number} {f'Body {number}' if number >= LATE else ''}"
        for number in range(1, ROWS + 1)
    }
    assert ["body"] in reads
    assert ["id", "studio_id", "slug"] in reads


@pytest.mark.parametrize(
    "name", ["vars", "fields", "model_to_dict", "copy", "refresh", "serialize"]
)
def test_reverse_that_looks_at_a_row_as_a_whole_finds_it_whole(
    history: History, name: str
) -> None:
    def look(row: Any) -> str:
        return WHOLE[name](row) if row.id >= LATE else str(row.slug)

    history.apply(
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.TextField(),
            lambda row: f"Slug {row.id}",
            lambda row: {"body": look(row)},
        )
    )
    expected = compute_all(history, look)

    history.unapply()

    assert dict(history.rows("Movie").values_list("pk", "body")) == expected


def test_deduplicate_may_look_at_other_columns(history: History) -> None:
    def number(row: Any, value: str, n: int) -> str:
        return f"{value} {row.body} {n}"

    field = models.CharField(max_length=60, unique=True)
    history.apply(
        AddFieldWithBackfill(
            "Movie", "slug", field, lambda row: str(row.year), deduplicate=number
        )
    )

    found = dict(history.rows("Movie").values_list("pk", "slug"))
    assert found == {
        number: str(number % 2 + 1)
        if number < 3
        else f"{number % 2 + 1} Body {number} 2"
        for number in range(1, ROWS + 1)
    }


def make_key(kind: str) -> list[tuple[str, Any]]:
    if kind == "composite":
        return [
            ("pk", models.CompositePrimaryKey("shelf", "place")),
            ("shelf", models.IntegerField()),
            ("place", models.CharField(max_length=10)),
        ]
    return [
        (
            "key",
            {
                "integer": lambda: models.IntegerField(primary_key=True),
                "text": lambda: models.CharField(max_length=10, primary_key=True),
                "uuid": lambda: models.UUIDField(primary_key=True),
                "decimal": lambda: models.DecimalField(
                    max_digits=6, decimal_places=2, primary_key=True
                ),
                "relation": lambda: models.OneToOneField(
                    "films.Studio", models.CASCADE, primary_key=True
                ),
            }[kind](),
        )
    ]


def make_values(kind: str, number: int) -> dict[str, Any]:
    if kind == "composite":
        return {"shelf": number % 7, "place": f"{number:05}"}
    return {
        {"relation": "key_id"}.get(kind, "key"): {
            "integer": number,
            "text": f"k{number}",
            "uuid": uuid.UUID(int=number),
            "decimal": Decimal(number) / 4,
            "relation": number,
        }[kind]
    }


@pytest.mark.parametrize(
    "kind", ["integer", "text", "uuid", "decimal", "relation", "composite"]
)
def test_keys_of_every_kind(alias: str, kind: str) -> None:
    history = History(alias)
    columns = [
        ("title", models.CharField(max_length=20)),
        ("body", models.TextField()),
        ("tags", models.JSONField()),
    ]
    history.apply(STUDIO, migrations.CreateModel("Movie", [*make_key(kind), *columns]))
    history.rows("Studio").bulk_create(
        history.model("Studio")(id=number, name="", notes="")
        for number in range(1, ROWS + 1)
    )
    movie = history.model("Movie")
    history.rows("Movie").bulk_create(
        movie(
            **make_values(kind, number),
            title=f"Film {number}",
            body=f"Body {number}",
            tags=[number],
        )
        for number in range(1, ROWS + 1)
    )

    def populate(row: Any) -> str:
        # By what is known of a row, whatever its key is.
        if row.title.endswith("9"):
            return f"{row.pk} {row.body}"
        return f"{row.pk} {dump(row) if row.title == 'Film 100' else row.title}"

    expected = compute_all(history, populate)

    assert fill(history, populate) == expected


def test_rows_of_two_tables(alias: str) -> None:
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=20)),
                ("body", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            "Movie",
            [
                (
                    "item_ptr",
                    models.OneToOneField(
                        "films.Item",
                        models.CASCADE,
                        primary_key=True,
                        parent_link=True,
                        auto_created=True,
                    ),
                ),
                ("tags", models.JSONField()),
                ("year", models.IntegerField()),
            ],
            bases=("films.item",),
        ),
    )
    for number in range(1, 61):
        history.rows("Movie").create(
            title=f"Film {number}", body=f"Body {number}", tags=[], year=number
        )

    def populate(row: Any) -> str:
        if row.year < 50:
            return f"{row.year} {row.pk}"
        return f"{row.item_ptr.title} {row.body} {row.id} {row.item_ptr_id}"

    expected = compute_all(history, populate)

    with CaptureQueriesContext(history.connection) as queries:
        found = fill(history, populate)

    assert found == expected
    reads = [q["sql"] for q in queries.captured_queries if "year" in q["sql"]]
    assert any("body" not in sql for sql in reads if "JOIN" in sql)


def test_verbosity_2_says_which_columns_are_read(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    from safefield.progress import begin_command, end_command

    begin_command(2)
    try:
        fill(
            history,
            lambda row: f"{row.studio and row.studio.name}{row.id > 99 and row.body}",
            select_related=["studio"],
        )
    finally:
        end_command()

    said = [
        line.strip()
        for line in capsys.readouterr().err.splitlines()
        if "each row" in line
    ]
    assert said == [
        "Of each row is read: id, studio, studio__id, studio__name, studio__parent",
        "Of each row is read: id, body, studio, studio__id, studio__name, "
        "studio__parent",
    ]


def test_json_of_all_columns_is_the_same_text(history: History) -> None:
    def populate(row: Any) -> str:
        if row.id < LATE:
            return str(row.tags)
        assert row.year and row.body
        values = {k: str(v) for k, v in vars(row).items() if k != "_state"}
        return json.dumps(values)

    expected = compute_all(history, populate)

    assert fill(history, populate) == expected


#: Columns that are more than their value, and what a function makes of them.
SPECIAL: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
    "file": (
        lambda: models.FileField(upload_to="posters"),
        lambda row: f"{row.extra.name} {row.extra.url} {row.extra.instance is row}",
    ),
    "file and all": (
        lambda: models.FileField(upload_to="posters"),
        lambda row: f"{row.extra.name} {dump(row)}",
    ),
    "image": (
        lambda: models.ImageField(upload_to="posters"),
        lambda row: f"{row.extra!r} {bool(row.extra)}",
    ),
    "generated": (
        lambda: models.GeneratedField(
            expression=Upper("title"),
            output_field=models.CharField(max_length=20),
            db_persist=True,
        ),
        lambda row: f"{row.extra} {row.title}",
    ),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_columns_that_are_more_than_their_value(alias: str, kind: str) -> None:
    make_field, look = SPECIAL[kind]
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=20)),
                ("body", models.TextField()),
                ("extra", make_field()),
            ],
        )
    )
    given = {} if kind == "generated" else {"extra": "posters/one.png"}
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=f"Film {number}", body="long", **given)
        for number in range(ROWS)
    )

    def populate(row: Any) -> str:
        return look(row) if row.id >= LATE else str(row.title)

    expected = compute_all(history, populate)

    with record_reads(history) as reads:
        found = fill(history, populate)

    assert found == expected
    assert sum("id" not in names for names in reads) <= 1
    if kind in ("file", "generated"):
        assert reads[-1] == ["id", "title", "extra"]


def test_a_generic_relation_is_followed_by_hand(history: History) -> None:
    history.apply(
        migrations.CreateModel(
            "Kind",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("model", models.CharField(max_length=20)),
            ],
        ),
        migrations.CreateModel(
            "Tag",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("text", models.TextField()),
                ("kind", models.ForeignKey("films.Kind", models.CASCADE)),
                ("object_id", models.PositiveBigIntegerField()),
            ],
        ),
    )
    for number, name in enumerate(["Movie", "Studio"], 1):
        history.rows("Kind").create(id=number, model=name)
    history.rows("Tag").bulk_create(
        history.model("Tag")(text="long", kind_id=1 + n % 2, object_id=1 + n % 5)
        for n in range(ROWS)
    )

    def populate(row: Any, apps: Any) -> str:
        if row.id < LATE:
            return "none"
        model = apps.get_model("films", row.kind.model)
        target = QuerySet(model, using=row._state.db).get(pk=row.object_id)
        return f"{row.kind.model} {getattr(target, 'title', '')} {vars(target)['id']}"

    apps = history.state.apps
    expected = {row.pk: populate(row, apps) for row in history.rows("Tag")}

    with CaptureQueriesContext(history.connection) as queries:
        history.apply(AddFieldWithBackfill("Tag", "slug", models.TextField(), populate))

    assert dict(history.rows("Tag").values_list("pk", "slug")) == expected
    loads = [
        query["sql"]
        for query in queries.captured_queries
        if query["sql"].replace("`", '"').startswith('SELECT "films_tag"."object_id"')
    ]
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("others", "are_left_out"),
    [
        ({"year": models.IntegerField(default=1)}, False),
        ({"code": models.CharField(max_length=501, default="a")}, True),
        ({"body": models.TextField(default="long")}, True),
        ({f"year{n}": models.IntegerField(default=1) for n in range(6)}, False),
        ({f"year{n}": models.IntegerField(default=1) for n in range(7)}, True),
    ],
)
def test_columns_are_left_out_where_it_spares_work(
    alias: str, others: dict[str, Any], are_left_out: bool
) -> None:
    history = History(alias)
    columns = [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=500)),
        *others.items(),
    ]
    history.apply(migrations.CreateModel("Movie", columns))
    history.rows("Movie").bulk_create(
        history.model("Movie")(title=f"Film {number}") for number in range(ROWS)
    )

    with record_reads(history) as reads:
        fill(history, lambda row: row.title)

    assert reads[-1] == ["id", "title", *([] if are_left_out else others)]
