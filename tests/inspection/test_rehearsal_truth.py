"""What a rehearsal calls good, migrate does; what it cannot know, it says."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.db import DatabaseError, migrations, models
from django.db.models import F, Q
from django.db.models.functions import Lower

import safefield
from safefield import BackfillError
from safefield.exceptions import SafefieldError
from safefield.inspection.entries import find_changes, find_entries
from safefield.inspection.rehearsal import Stage
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import NoParents, check, create, rehearse

PARENT = migrations.CreateModel(
    "Parent", [("id", models.BigAutoField(primary_key=True))]
)
LINK = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=50)),
        ("year", models.IntegerField(default=0)),
        ("parent", models.ForeignKey("films.Parent", models.CASCADE)),
        ("slug", models.CharField(max_length=50, null=True)),
    ],
)


@pytest.fixture
def history(alias: str) -> History:
    return History(alias)


def title_of(movie: Any) -> Any:
    return movie.title


def create_links(history: History, *titles: str) -> None:
    """Make rows of one parent, of which the first has a slug."""
    history.apply(PARENT, LINK)
    parent = history.model("Parent").objects.using(history.connection.alias).create()
    history.rows("Movie").bulk_create(
        history.model("Movie")(
            title=title, parent_id=parent.pk, slug=None if number else title
        )
        for number, title in enumerate(titles)
    )


CONSTRAINTS: dict[str, Any] = {
    "together": migrations.AlterUniqueTogether("Movie", {("parent", "slug")}),
    "constraint": migrations.AddConstraint(
        "Movie", models.UniqueConstraint(fields=["parent", "slug"], name="one")
    ),
    "condition": migrations.AddConstraint(
        "Movie",
        models.UniqueConstraint(
            fields=["slug"], condition=Q(year__gte=0), name="one_of_year"
        ),
    ),
    "expression": migrations.AddConstraint(
        "Movie", models.UniqueConstraint(Lower("slug"), "parent", name="one_of_lower")
    ),
    "check": migrations.AddConstraint(
        "Movie",
        models.CheckConstraint(condition=~Q(slug=F("title")), name="not_the_title"),
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint_that_is_there(history: History, name: str) -> None:
    # Fails if the temporary table is made without the constraints of the real one.
    titles = ["a", "b", "c"] if name == "check" else ["a", "b", "b", "a", "c"]
    create_links(history, *titles)
    if name == "check":
        history.rows("Movie").update(slug=None)
    history.apply(CONSTRAINTS[name])
    features = history.connection.features
    is_there = {
        "condition": features.supports_partial_indexes,
        "expression": features.supports_expression_indexes,
    }.get(name, True)

    rehearsal = check(
        history,
        AlterFieldWithBackfill(
            "Movie", "slug", models.CharField(max_length=50), title_of
        ),
    )

    assert (rehearsal.error is not None) is is_there


def test_constraint_that_django_does_not_know(history: History) -> None:
    # Fails if the constraints come from the models and not from the catalogue.
    create_links(history, "a", "b", "b")
    history.execute("CREATE UNIQUE INDEX by_hand ON films_movie (slug, year)")

    rehearsal = check(
        history,
        AlterFieldWithBackfill(
            "Movie", "slug", models.CharField(max_length=50), title_of
        ),
    )

    assert str(rehearsal.error) == (
        "films.Movie.slug could not be filled in some rows:\n"
        "  1 row: the database refused it: a value is there twice (UNIQUE) "
        "(pk 3)\n"
        "Nothing was changed. Fix title_of(), then run migrate again."
    )


ADD_ODD = {
    "sqlite": 'ALTER TABLE films_movie ADD COLUMN "a%b ""c" integer NOT NULL DEFAULT 1',
    "postgresql": (
        'ALTER TABLE films_movie ADD COLUMN "a%b ""c" integer NOT NULL DEFAULT 1'
    ),
    "mysql": "ALTER TABLE films_movie ADD COLUMN `a%b ``c` integer NOT NULL DEFAULT 1",
}
#: Statements by vendor, and titles of which the last one breaks what they make.
HAND_MADE: dict[str, tuple[dict[str, list[str]], list[str]]] = {
    "check": (
        {
            "sqlite": [
                "ALTER TABLE films_movie ADD COLUMN extra integer "
                "CHECK (length(slug) < 3 AND ')' <> '(')"
            ],
            "postgresql": [
                "ALTER TABLE films_movie ADD CHECK (length(slug) < 3 AND year = 0)"
            ],
            "mysql": [
                "ALTER TABLE films_movie ADD CHECK (char_length(slug) < 3 AND year = 0)"
            ],
        },
        ["x", "A", "AAAA"],
    ),
    "column of an odd name": (
        {
            "sqlite": [
                ADD_ODD["sqlite"],
                'CREATE UNIQUE INDEX e ON films_movie (slug, "a%b ""c")',
            ],
            "postgresql": [
                ADD_ODD["postgresql"],
                'CREATE UNIQUE INDEX e ON films_movie (slug, "a%b ""c")',
            ],
            "mysql": [
                ADD_ODD["mysql"],
                "CREATE UNIQUE INDEX e ON films_movie (slug, `a%b ``c`)",
            ],
        },
        ["x", "A", "A"],
    ),
    "generated": (
        {
            "sqlite": [
                "ALTER TABLE films_movie ADD COLUMN g varchar(50) "
                "GENERATED ALWAYS AS (lower(slug)) VIRTUAL",
                "CREATE UNIQUE INDEX e ON films_movie (g)",
            ],
            "postgresql": [
                "ALTER TABLE films_movie ADD COLUMN g text "
                "GENERATED ALWAYS AS (lower(slug)) STORED UNIQUE"
            ],
            "mysql": [
                "ALTER TABLE films_movie ADD COLUMN g varchar(50) "
                "GENERATED ALWAYS AS (concat(slug, year)) STORED UNIQUE"
            ],
        },
        ["x", "A", "A"],
    ),
    "part of the text": (
        {
            "sqlite": ["CREATE UNIQUE INDEX e ON films_movie (substr(slug, 1, 2))"],
            "postgresql": ["CREATE UNIQUE INDEX e ON films_movie (left(slug, 2))"],
            "mysql": ["CREATE UNIQUE INDEX e ON films_movie (slug(2))"],
        },
        ["x", "AAb", "AAc"],
    ),
    "collation": (
        {
            "sqlite": ["CREATE UNIQUE INDEX e ON films_movie (slug COLLATE NOCASE)"],
            "postgresql": ["CREATE UNIQUE INDEX e ON films_movie (lower(slug))"],
            # What the model says of it, it gets back.
            "mysql": [
                "ALTER TABLE films_movie MODIFY slug varchar(50) "
                "COLLATE utf8mb4_bin NULL",
                "CREATE UNIQUE INDEX e ON films_movie (slug)",
            ],
        },
        ["x", "A", "a"],
    ),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_what_somebody_made_by_hand(history: History, name: str) -> None:
    # Fails if the temporary table has less than the real one asks of the column.
    statements, titles = HAND_MADE[name]
    create_links(history, *titles)
    for statement in statements[history.connection.vendor]:
        history.execute(statement)

    rehearsal = check(
        history,
        AlterFieldWithBackfill(
            "Movie", "slug", models.CharField(max_length=50), title_of
        ),
    )

    assert rehearsal.error is not None


@pytest.mark.parametrize("table", ["batch", "safefield_rehearsal", "safefield_values"])
def test_table_of_any_name(history: History, table: str) -> None:
    # Fails if the temporary table hides the one that it stands for.
    create(history, "a", "b", "a")
    history.apply(migrations.AlterModelTable("Movie", table))

    check(
        history,
        AddFieldWithBackfill(
            "Movie",
            "slug",
            models.SlugField(unique=True),
            title_of,
            deduplicate=safefield.numbered,
        ),
    )


def long_text(movie: Any) -> str:
    """Return a text that cannot be compressed much, of 6,400 characters for "long"."""
    if movie.title != "long":
        return str(movie.title)
    return "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(100))


@pytest.mark.parametrize("option", ["unique", "db_index"])
def test_text_too_long_for_an_index(postgresql_alias: str, option: str) -> None:
    # Fails if an index is met by migrate alone.
    history = History(postgresql_alias)
    create(history, "a", "long", "b")

    rehearsal = check(
        history,
        AddFieldWithBackfill(
            "Movie", "url", models.TextField(**{option: True}), long_text
        ),
    )

    assert rehearsal.error is not None
    assert [row.pk for row in rehearsal.error.rows] == [2]


@pytest.mark.parametrize(
    "options",
    [{"max_length": 17_000}, {"max_length": 20, "db_collation": "no_such"}],
    ids=["length", "collation"],
)
def test_definition_that_is_refused(mysql_alias: str, options: Any) -> None:
    # Fails if a definition is met by migrate alone.
    history = History(mysql_alias)
    create(history, "a", "b")
    operation = AddFieldWithBackfill(
        "Movie", "label", models.CharField(**options), title_of
    )

    rehearsal = rehearse(history, operation)

    assert rehearsal.error is not None
    with pytest.raises((BackfillError, DatabaseError)) as caught:
        history.apply(operation)
    if isinstance(caught.value, BackfillError):
        assert str(caught.value) == str(rehearsal.error)


def test_key_too_long(mysql_alias: str) -> None:
    # Fails on MySQL if the final definition is not tried on a table without rows.
    history = History(mysql_alias)
    create(history, "a", "b")
    operation = AddFieldWithBackfill(
        "Movie", "url", models.CharField(max_length=1000, db_index=True), title_of
    )

    rehearsal = rehearse(history, operation)

    if history.connection.mysql_is_mariadb:
        # It shortens the key.
        assert rehearsal.error is None
        history.apply(operation)
        return
    assert "Specified key was too long; max key length is 3072 bytes" in str(
        rehearsal.error
    )
    with pytest.raises((BackfillError, DatabaseError)):
        history.apply(operation)


@pytest.mark.parametrize("is_there", [False, True], ids=["added", "altered"])
def test_character_set(mysql_alias: str, is_there: bool) -> None:
    # Fails if the temporary column has the character set of the database.
    history = History(mysql_alias)
    create(history, "a", "b")
    history.execute("ALTER TABLE films_movie CONVERT TO CHARACTER SET latin1")
    field = models.CharField(max_length=20)
    make: Any = AddFieldWithBackfill
    if is_there:
        old = models.CharField(max_length=20, null=True)
        history.apply(migrations.AddField("Movie", "label", old))
        make = AlterFieldWithBackfill

    rehearsal = check(history, make("Movie", "label", field, lambda _: "\u2192"))

    assert str(rehearsal.error) == (
        "films.Movie.label could not be filled in some rows:\n"
        "  2 rows: the database refused it: a value is not of the column's type "
        "(pk 1, 2)\n"
        "Nothing was changed. Fix <lambda>(), then run migrate again."
    )


TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER shout AFTER UPDATE ON films_movie BEGIN SELECT 1; END",
        "CREATE TRIGGER born AFTER INSERT ON films_movie BEGIN SELECT 1; END",
    ],
    "postgresql": [
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER shout BEFORE UPDATE ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION shout()",
        "CREATE TRIGGER born BEFORE INSERT ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION shout()",
        "CREATE RULE again AS ON UPDATE TO films_movie DO ALSO NOTHING",
    ],
    "mysql": [
        "CREATE TRIGGER shout BEFORE UPDATE ON films_movie FOR EACH ROW SET @x = 1",
        "CREATE TRIGGER born BEFORE INSERT ON films_movie FOR EACH ROW SET @x = 1",
    ],
}


def test_triggers(history: History) -> None:
    # Fails if the rehearsal does not look for what UPDATE sets off.
    create(history, "a")
    vendor = history.connection.vendor
    for statement in TRIGGERS[vendor]:
        history.execute(statement)
    operation = AddFieldWithBackfill(
        "Movie", "label", models.CharField(max_length=20), title_of
    )

    rehearsal = rehearse(history, operation)

    names = "again, shout" if vendor == "postgresql" else "shout"
    are = "2 triggers are" if vendor == "postgresql" else "1 trigger is"
    assert rehearsal.notes == [
        f"{are} not rehearsed, which table films_movie has for UPDATE: {names}."
    ]


def test_another_column_of_that_name(history: History) -> None:
    # Fails if the rehearsal does not look at the type of a column that is there.
    create(history, "a")
    history.execute("ALTER TABLE films_movie ADD COLUMN label integer NULL")
    operation = AddFieldWithBackfill(
        "Movie", "label", models.CharField(max_length=20), title_of
    )

    rehearsal = rehearse(history, operation)

    assert str(rehearsal.error).startswith(
        "films.Movie.label cannot be added: table films_movie already has a column "
        "label of type int"
    )
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)
    assert str(caught.value) == str(rehearsal.error)


def test_rows_without_a_value_come_first(history: History) -> None:
    # Fails if the first rows are taken, whether or not they have a value.
    create(history, *[f"Film {number}" for number in range(60)])
    old = models.CharField(max_length=20, null=True)
    history.apply(migrations.AddField("Movie", "label", old))
    history.rows("Movie").filter(pk__lte=50).update(label="there")
    asked = []

    def populate(movie: Any) -> str:
        asked.append(movie.pk)
        return str(movie.title)

    rehearsal = rehearse(
        history,
        AlterFieldWithBackfill(
            "Movie", "label", models.CharField(max_length=20), populate
        ),
        limit=8,
    )

    assert asked == [51, 52, 53, 54, 55, 56, 57, 58]
    assert (rehearsal.filled, rehearsal.rehearsed, rehearsal.rows) == (0, 8, 60)


NARROWER: dict[str, Any] = {
    "text": (models.TextField(null=True), models.CharField(max_length=5), "abcdefgh"),
    "float": (models.FloatField(null=True), models.IntegerField(), 1.5),
}


@pytest.mark.parametrize("name", NARROWER)
def test_values_that_the_new_type_would_change(history: History, name: str) -> None:
    # Fails if the rehearsal does not compare the values that are there.
    old, new, value = NARROWER[name]
    create(history, "a", "b")
    history.apply(migrations.AddField("Movie", "label", old))
    history.rows("Movie").filter(pk=1).update(label=value)

    rehearsal = check(
        history, AlterFieldWithBackfill("Movie", "label", new, lambda movie: 1)
    )

    assert rehearsal.error is not None
    assert [row.pk for row in rehearsal.error.rows] == [1]


@pytest.mark.parametrize("there", [None, 5, -5])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "altered"])
def test_check_of_the_type(history: History, is_new: bool, there: int | None) -> None:
    # Fails if the temporary column lacks the check that Django gives such a type.
    create(history, "a", "b", "c")
    operation: Any = AddFieldWithBackfill
    if not is_new:
        operation = AlterFieldWithBackfill
        old = models.IntegerField(null=True)
        history.apply(migrations.AddField("Movie", "rank", old))
        history.rows("Movie").filter(pk=3).update(rank=there)

    rehearsal = check(
        history,
        operation("Movie", "rank", models.PositiveIntegerField(), F("year") - 1901),
    )

    assert rehearsal.error is not None
    is_narrower = not is_new and there == -5
    assert [row.pk for row in rehearsal.error.rows] == [3 if is_narrower else 1]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW titles AS SELECT id, title FROM films_movie",
        "CREATE TRIGGER shout BEFORE UPDATE OF title ON films_movie FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
    ids=["view", "trigger"],
)
def test_what_forbids_a_new_type(postgresql_alias: str, statement: str) -> None:
    # Fails if what depends on the column is met by migrate alone.
    history = History(postgresql_alias)
    create(history, "a", "b")
    history.execute(statement)

    rehearsal = check(
        history,
        AlterFieldWithBackfill("Movie", "title", models.CharField(max_length=300)),
    )

    assert "cannot alter type of a column used" in str(rehearsal.error)
    # The same type is not in anybody's way.
    same = AlterFieldWithBackfill(
        "Movie", "title", models.CharField(max_length=200, unique=True)
    )
    assert check(history, same).error is None


def test_row_security(postgresql_alias: str) -> None:
    # Fails if the rehearsal is content with the rows that it sees.
    history = History(postgresql_alias)
    create(history, "a", "b")
    for statement in [
        "CREATE ROLE safefield_rehearser NOLOGIN",
        "GRANT ALL ON SCHEMA public TO safefield_rehearser",
        "ALTER TABLE films_movie OWNER TO safefield_rehearser",
        "ALTER TABLE films_movie ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE films_movie FORCE ROW LEVEL SECURITY",
        "CREATE POLICY one ON films_movie USING (id = 1)",
        "SET ROLE safefield_rehearser",
    ]:
        history.execute(statement)
    operation = AddFieldWithBackfill(
        "Movie", "label", models.CharField(max_length=20), title_of
    )
    try:
        rehearsal = rehearse(history, operation)

        assert rehearsal.error is not None
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert str(caught.value) == str(rehearsal.error)
    finally:
        history.connection.close()
        history.execute("DROP OWNED BY safefield_rehearser")
        history.execute("DROP ROLE safefield_rehearser")


def test_a_key_that_goes_before(history: History) -> None:
    """
    Fails if it is rehearsed with the link of a child, which migrate drops before.

    In the state the child has a link nevertheless, because it has a parent.
    """
    link = models.OneToOneField(
        "films.Place", models.CASCADE, parent_link=True, primary_key=True
    )
    history.apply(
        migrations.CreateModel(
            "Place",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
            ],
        ),
        migrations.CreateModel(
            "Restaurant",
            [("place_ptr", link), ("cuisine", models.CharField(max_length=80))],
            bases=("films.place",),
        ),
    )
    history.rows("Restaurant").create(name="n", cuisine="thai")

    migration = history.make(
        migrations.RemoveField("restaurant", "place_ptr"),
        AddFieldWithBackfill("place", "food", models.CharField(max_length=80), food_of),
    )
    (entry,) = find_entries(migration, history.state.clone())
    removal, _ = find_changes(migration, history.state.clone())
    parents: Any = NoParents()

    with pytest.raises(SafefieldError) as caught:
        Stage(history.connection, parents, entry, None, [removal])

    assert str(caught.value) == (
        "films.Place.food cannot be rehearsed: films.0002_test runs before it and "
        "takes away a key: Remove field place_ptr from restaurant. If food_of() reads "
        "rows by it, move that operation after the backfill. If not, apply it first."
    )


def food_of(place: Any) -> Any:
    return place.restaurant.cuisine
