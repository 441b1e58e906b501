"""What else is in the database: triggers, views, partitions, schemas, references."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, migrations, models
from django.db.models import QuerySet

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History

ID = ("id", models.BigAutoField(primary_key=True))
TITLE = ("title", models.CharField(max_length=100))
MOVIE = migrations.CreateModel("Movie", [ID, TITLE])


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def postgresql(postgresql_alias: str, request: pytest.FixtureRequest) -> History:
    return History(postgresql_alias, atomic=request.param)


@pytest.fixture
def sqlite(sqlite_alias: str) -> History:
    return History(sqlite_alias)


@pytest.fixture
def mariadb(mysql_alias: str) -> History:
    return History(mysql_alias)


def add_slug(model_name: str = "Movie", **options: Any) -> AddFieldWithBackfill:
    return AddFieldWithBackfill(
        model_name,
        "slug",
        options.pop("field", models.SlugField(unique=True)),
        options.pop("populate", slug_of),
        batch_size=2,
        **options,
    )


def slug_of(movie: Any) -> str:
    return f"film-{movie.title}"


def create_movies(history: History, *titles: str) -> None:
    for title in titles or "abcde":
        history.model("Movie").objects.using(history.connection.alias).create(
            title=title
        )


def select(history: History, sql: str) -> list[Any]:
    with history.connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def slugs(history: History) -> list[str]:
    return list(history.rows("Movie").values_list("slug", flat=True))


# Triggers

SQLITE_TRIGGERS = [
    "CREATE TABLE audit (what text)",
    "CREATE TRIGGER films_insert AFTER INSERT ON films_movie "
    "BEGIN INSERT INTO audit VALUES ('insert ' || NEW.title); END",
    "CREATE TRIGGER films_title AFTER UPDATE OF title ON films_movie "
    "WHEN NEW.title <> OLD.title "
    "BEGIN INSERT INTO audit VALUES ('update ' || NEW.title || ' 100 %s'); END",
    'CREATE TRIGGER "films ""odd""" BEFORE DELETE ON "films_movie" '
    "BEGIN INSERT INTO audit VALUES ('delete ' || OLD.title); END",
]


def test_sqlite_keeps_triggers(sqlite: History) -> None:
    sqlite.apply(MOVIE)
    with sqlite.connection.cursor() as cursor:
        for statement in SQLITE_TRIGGERS:
            cursor.execute(statement, None)
    create_movies(sqlite)
    before = sqlite.describe("Movie")

    sqlite.apply(add_slug())

    assert sqlite.describe("Movie")["triggers"] == before["triggers"]
    assert len(before["triggers"]) == 3
    sqlite.rows("Movie").filter(title="a").update(title="z")
    sqlite.rows("Movie").filter(title="b").delete()
    assert [what for (what,) in select(sqlite, "SELECT what FROM audit")] == [
        *(f"insert {title}" for title in "abcde"),
        "update z 100 %s",
        "delete b",
    ]

    sqlite.unapply()

    assert sqlite.describe("Movie") == before


def test_sqlite_trigger_on_a_column_that_goes_away(sqlite: History) -> None:
    sqlite.apply(MOVIE)
    create_movies(sqlite)
    sqlite.apply(add_slug())
    sqlite.execute(
        "CREATE TABLE audit (what text)",
        "CREATE TRIGGER films_slug AFTER UPDATE OF title ON films_movie "
        "BEGIN INSERT INTO audit VALUES (NEW.slug); END",
    )
    before = sqlite.describe("Movie"), slugs(sqlite)

    with pytest.raises(BackfillError) as caught:
        sqlite.unapply()

    assert str(caught.value) == (
        "films.Movie.slug cannot be changed: trigger that UPDATE of table films_movie "
        "fires would no longer work (no such column: NEW.slug). Fix or drop it, then "
        "run migrate again. Nothing was changed."
    )
    assert (sqlite.describe("Movie"), slugs(sqlite)) == before


#: Triggers elsewhere that need the column, what each is on, and what works until then.
SQLITE_ELSEWHERE = {
    "insert": (
        "CREATE TRIGGER copied AFTER INSERT ON films_review "
        "BEGIN UPDATE films_movie SET slug = 'x' WHERE id = NEW.movie_id; END",
        "films_review",
        "INSERT INTO films_review (movie_id) VALUES (1)",
        "no such column: slug",
    ),
    "update": (
        "CREATE TRIGGER copied AFTER UPDATE OF movie_id ON films_review "
        "WHEN (SELECT slug FROM films_movie LIMIT 1) <> '' BEGIN SELECT 1; END",
        "films_review",
        "UPDATE films_review SET movie_id = 2",
        "no such column: slug",
    ),
    "delete": (
        "CREATE TRIGGER copied BEFORE DELETE ON films_review "
        "BEGIN INSERT INTO films_movie (id, title, slug) VALUES (90, 'x', 'x'); END",
        "films_review",
        "DELETE FROM films_review",
        "table films_movie has no column named slug",
    ),
    "temporary": (
        "CREATE TEMPORARY TRIGGER copied AFTER INSERT ON main.films_review "
        "BEGIN UPDATE films_movie SET slug = 'x' WHERE id = NEW.movie_id; END",
        "films_review",
        "INSERT INTO films_review (movie_id) VALUES (1)",
        "no such column: slug",
    ),
    "view": (
        "CREATE TRIGGER copied INSTEAD OF INSERT ON films_titles "
        "BEGIN INSERT INTO films_movie (title, slug) VALUES (NEW.title, 'x'); END",
        "films_titles",
        "INSERT INTO films_titles (title) VALUES ('x')",
        "table films_movie has no column named slug",
    ),
}


def create_review(sqlite: History) -> None:
    sqlite.apply(
        MOVIE,
        migrations.CreateModel("Review", [ID, ("movie_id", models.IntegerField())]),
    )
    create_movies(sqlite)
    sqlite.model("Review").objects.create(movie_id=1)
    sqlite.execute("CREATE VIEW films_titles AS SELECT title FROM films_movie")


def master(sqlite: History) -> list[Any]:
    return select(
        sqlite,
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL UNION ALL "
        "SELECT sql FROM sqlite_temp_master ORDER BY 1",
    )


@pytest.mark.parametrize("name", SQLITE_ELSEWHERE)
@pytest.mark.parametrize("by_remake", [False, True])
def test_sqlite_trigger_elsewhere_that_needs_the_column(
    sqlite: History, name: str, by_remake: bool
) -> None:
    """Fails if only the triggers of the table itself are looked at."""
    trigger, table, statement, flaw = SQLITE_ELSEWHERE[name]
    create_review(sqlite)
    sqlite.apply(add_slug())
    # With others that go on working, on the same table and on the other one, and one
    # that has never worked.
    sqlite.execute(
        "CREATE TABLE audit (what text)",
        "CREATE TRIGGER films_a AFTER INSERT ON films_review "
        "BEGIN INSERT INTO audit VALUES ('a'); END",
        "CREATE TRIGGER films_b AFTER UPDATE ON films_movie "
        "BEGIN INSERT INTO audit VALUES (NEW.title); END",
        "CREATE TRIGGER films_c AFTER INSERT ON audit WHEN NEW.what = 'never' "
        "BEGIN DELETE FROM films_review; END",
        "CREATE TABLE other (id integer)",
        "CREATE TRIGGER films_d AFTER INSERT ON other "
        "BEGIN INSERT INTO nowhere VALUES (1); END",
        trigger,
    )
    if by_remake:
        sqlite.execute("CREATE INDEX films_e ON films_movie (slug)")
    before = master(sqlite), slugs(sqlite)

    with pytest.raises(BackfillError) as caught:
        sqlite.unapply()

    # By way of another trigger, an INSERT there deletes.
    event = "UPDATE" if name == "update" else "INSERT"
    assert str(caught.value) == (
        f"films.Movie.slug cannot be changed: trigger that {event} of table {table} "
        f"fires would no longer work ({flaw}). Fix or drop it, then run migrate again. "
        f"Nothing was changed."
    )
    assert (master(sqlite), slugs(sqlite)) == before
    sqlite.execute(statement, "DROP TRIGGER copied")
    sqlite.unapply()
    sqlite.execute(
        "INSERT INTO films_review (movie_id) VALUES (1)",
        "UPDATE films_review SET movie_id = 2",
        "DELETE FROM films_review",
    )
    assert select(sqlite, "PRAGMA legacy_alter_table") == [(0,)]


def test_sqlite_trigger_elsewhere_that_takes_no_new_column(sqlite: History) -> None:
    """Fails if only the way back is looked at."""
    create_review(sqlite)
    sqlite.execute(
        "CREATE TRIGGER made AFTER INSERT ON films_review "
        "BEGIN INSERT INTO films_movie VALUES (NEW.id + 90, 'x'); END",
    )
    before = master(sqlite)

    with pytest.raises(BackfillError) as caught:
        sqlite.apply(add_slug())

    assert str(caught.value) == (
        "films.Movie.slug cannot be changed: trigger that INSERT of table films_review "
        "fires would no longer work (table films_movie has 3 columns but 2 values were "
        "supplied). Fix or drop it, then run migrate again. Nothing was changed."
    )
    assert master(sqlite) == before
    sqlite.execute("INSERT INTO films_review (movie_id) VALUES (1)")


def test_sqlite_trigger_behind_a_trigger(sqlite: History) -> None:
    """Fails if the trigger is looked for on the table whose rows are written alone."""
    create_review(sqlite)
    sqlite.apply(add_slug())
    sqlite.execute(
        "CREATE TRIGGER first AFTER INSERT ON films_review "
        "BEGIN UPDATE films_movie SET title = 'x'; END",
        "CREATE TRIGGER second AFTER UPDATE ON films_movie "
        "BEGIN DELETE FROM films_movie WHERE slug = 'y'; END",
    )

    with pytest.raises(BackfillError) as caught:
        sqlite.unapply()

    assert str(caught.value) == (
        "films.Movie.slug cannot be changed: trigger that INSERT of table films_review "
        "fires would no longer work (no such column: slug). Fix or drop it, then run "
        "migrate again. Nothing was changed."
    )


@pytest.mark.parametrize("is_altered", [False, True])
def test_sqlite_key_of_another_table_to_the_column(
    sqlite: History, is_altered: bool
) -> None:
    """Fails if only Django looks at the keys, when all is committed."""
    create_review(sqlite)
    if is_altered:
        slug = models.SlugField(null=True)
        sqlite.apply(migrations.AddField("Movie", "slug", slug))
        sqlite.apply(
            AlterFieldWithBackfill(
                "Movie",
                "slug",
                models.SlugField(unique=True),
                lambda movie: f"film-{movie.title}",
            )
        )
    else:
        sqlite.apply(add_slug())
    sqlite.execute(
        "CREATE TABLE other (slug text REFERENCES films_movie (slug))",
        "INSERT INTO other SELECT slug FROM films_movie",
    )
    before = master(sqlite), slugs(sqlite)

    with pytest.raises(BackfillError) as caught:
        sqlite.unapply()

    assert str(caught.value) == (
        "films.Movie.slug cannot be changed: foreign key of table other would no "
        'longer work (foreign key mismatch - "other" referencing "films_movie"). Fix '
        "or drop it, then run migrate again. Nothing was changed."
    )
    assert (master(sqlite), slugs(sqlite)) == before
    sqlite.execute("INSERT INTO other VALUES ('film-a')", "DROP TABLE other")
    sqlite.unapply()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX films_e ON films_movie (title) WHERE slug <> ''",
        "CREATE INDEX films_e ON films_movie (lower(slug))",
        "ALTER TABLE films_movie ADD COLUMN shout text AS (upper(slug))",
        "ALTER TABLE films_movie ADD COLUMN more text CHECK (slug <> more)",
    ],
    ids=["partial", "expression", "generated", "check"],
)
@pytest.mark.parametrize("by_remake", [False, True])
def test_sqlite_table_that_needs_the_column(
    sqlite: History, statement: str, by_remake: bool
) -> None:
    """Fails if the error of the driver comes through."""
    create_review(sqlite)
    sqlite.apply(add_slug())
    sqlite.execute(statement)
    if by_remake:
        sqlite.execute("CREATE INDEX films_f ON films_movie (slug)")
    before = master(sqlite), slugs(sqlite)

    with pytest.raises(BackfillError) as caught:
        sqlite.unapply()

    assert str(caught.value) == (
        "films.Movie.slug cannot be removed: table films_movie needs the column (no "
        "such column: slug). Drop the index, the check or the generated column that "
        "names it, then run migrate again. Nothing was changed."
    )
    assert (master(sqlite), slugs(sqlite)) == before


def test_sqlite_trigger_on_another_table(sqlite: History) -> None:
    sequel = models.ForeignKey("self", models.CASCADE, null=True)
    sqlite.apply(
        migrations.CreateModel("Movie", [ID, TITLE, ("sequel_of", sequel)]),
        migrations.CreateModel(
            "Review", [ID, ("movie", models.ForeignKey("films.Movie", models.CASCADE))]
        ),
    )
    create_movies(sqlite)
    sqlite.execute(
        "CREATE TRIGGER reviewed AFTER INSERT ON films_review BEGIN "
        "UPDATE films_movie SET title = title || '!' WHERE id = NEW.movie_id; END",
    )
    before = sqlite.describe("Movie"), sqlite.describe("Review")

    sqlite.apply(add_slug())

    review = sqlite.model("Review").objects.create(movie_id=3)
    assert review.movie.title == "c!"
    assert sqlite.describe("Review") == before[1]
    assert sqlite.describe("Movie")["foreign_keys"] == before[0]["foreign_keys"]
    sqlite.unapply()
    assert (sqlite.describe("Movie"), sqlite.describe("Review")) == before


def test_triggers_stay(history: History) -> None:
    """A trigger that writes to the row, as one that notes the time does."""
    history.apply(
        migrations.CreateModel(
            "Movie", [ID, TITLE, ("version", models.IntegerField(default=0))]
        )
    )
    vendor = history.connection.vendor
    if vendor == "postgresql":
        statements = [
            "CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.version := NEW.version + 1; RETURN NEW; END $$",
            "CREATE TRIGGER films_version BEFORE UPDATE ON films_movie "
            "FOR EACH ROW EXECUTE FUNCTION count_version()",
        ]
    elif vendor == "mysql":
        statements = [
            "CREATE TRIGGER films_version BEFORE UPDATE ON films_movie "
            "FOR EACH ROW SET NEW.version = NEW.version + 1"
        ]
    else:
        pytest.skip("SQLite has tests of its own")
    create_movies(history)
    history.execute(*statements)
    before = history.describe("Movie")

    history.apply(add_slug())

    assert slugs(history) == [f"film-{title}" for title in "abcde"]
    assert history.describe("Movie")["triggers"] == before["triggers"]
    assert set(history.rows("Movie").values_list("version", flat=True)) == {1}
    history.unapply()
    assert history.describe("Movie") == before


def test_postgresql_deferred_constraint_trigger(postgresql: History) -> None:
    postgresql.apply(MOVIE)
    create_movies(postgresql)
    postgresql.execute(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER films_look AFTER INSERT OR UPDATE ON films_movie "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()",
    )
    before = postgresql.describe("Movie")

    postgresql.apply(add_slug(reverse=lambda movie: {"title": movie.slug}))
    assert slugs(postgresql) == [f"film-{title}" for title in "abcde"]
    postgresql.unapply()

    assert postgresql.describe("Movie") == before


# Views


WHAT_VIEW = {
    "postgresql": (
        "films.Movie.slug cannot be removed: view films_slugs needs the column. "
        "Drop it, then run migrate again. Nothing was changed."
    ),
    "sqlite": (
        "films.Movie.slug cannot be changed: view films_slugs would no longer work "
        "(no such column: slug). Fix or drop it, then run migrate again. "
        "Nothing was changed."
    ),
}


def test_view_that_needs_the_column_on_the_way_back(history: History) -> None:
    history.apply(MOVIE)
    create_movies(history)
    history.apply(add_slug())
    history.execute("CREATE VIEW films_slugs AS SELECT slug FROM films_movie")
    before = history.describe("Movie"), slugs(history)

    if history.connection.vendor == "mysql":
        # Its views are only names until they are read; DROP COLUMN passes.
        history.unapply()
        return
    with pytest.raises(BackfillError) as caught:
        history.unapply()

    assert str(caught.value) == WHAT_VIEW[history.connection.vendor]
    assert (history.describe("Movie"), slugs(history)) == before
    history.execute("DROP VIEW films_slugs")
    history.unapply()


def test_view_on_other_columns_stays(history: History) -> None:
    history.apply(MOVIE)
    create_movies(history)
    history.execute("CREATE VIEW films_titles AS SELECT id, title FROM films_movie")

    history.apply(add_slug(reverse=lambda movie: {"title": movie.slug}))
    assert select(history, "SELECT title FROM films_titles ORDER BY id") == [
        (title,) for title in "abcde"
    ]
    history.unapply()

    assert select(history, "SELECT title FROM films_titles ORDER BY id") == [
        (f"film-{title}",) for title in "abcde"
    ]


# Partitions


def create_partitions(history: History) -> None:
    history.execute(
        "CREATE TABLE films_movie (id bigint NOT NULL, year int NOT NULL, "
        "title varchar(100) NOT NULL, PRIMARY KEY (id, year)) "
        "PARTITION BY RANGE (year)",
        "CREATE TABLE films_old PARTITION OF films_movie FOR VALUES FROM (0) TO (1950)",
        "CREATE TABLE films_new PARTITION OF films_movie "
        "FOR VALUES FROM (1950) TO (2100)",
    )
    history.apply(
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    "Movie",
                    [
                        ("pk", models.CompositePrimaryKey("id", "year")),
                        ("id", models.BigIntegerField()),
                        ("year", models.IntegerField()),
                        TITLE,
                    ],
                )
            ]
        )
    )
    for number in range(5):
        history.model("Movie").objects.using(history.connection.alias).create(
            id=number, year=1930 + 10 * number, title=str(number)
        )


def test_postgresql_partitions(postgresql: History) -> None:
    create_partitions(postgresql)
    before = postgresql.describe("Movie")

    postgresql.apply(add_slug(field=models.SlugField(db_comment="Its slug")))

    assert slugs(postgresql) == [f"film-{n}" for n in range(5)]
    assert postgresql.describe("Movie")["columns"]["slug"]["null"] is False
    assert len(postgresql.describe("Movie")["indexes"]) == 2
    assert all(index["valid"] for index in postgresql.describe("Movie")["indexes"])

    postgresql.unapply()

    assert postgresql.describe("Movie") == before


def test_postgresql_partitions_with_a_foreign_key(postgresql: History) -> None:
    postgresql.apply(migrations.CreateModel("Studio", [ID]))
    studios = postgresql.model("Studio").objects.using("postgresql")
    studios.bulk_create([postgresql.model("Studio")() for _ in range(5)])
    create_partitions(postgresql)
    before = postgresql.describe("Movie")

    postgresql.apply(
        AddFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            lambda movie: movie.id + 1,
        )
    )

    found = postgresql.describe("Movie")
    assert [key["validated"] for key in found["foreign_keys"]] == [True]
    assert found["columns"]["studio_id"]["null"] is False
    postgresql.unapply()
    assert postgresql.describe("Movie") == before


@pytest.mark.parametrize("is_empty", [False, True])
def test_postgresql_partitions_cannot_be_unique(
    postgresql: History, is_empty: bool
) -> None:
    create_partitions(postgresql)
    if is_empty:
        postgresql.execute("DELETE FROM films_movie")
    before = postgresql.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        postgresql.apply(add_slug())

    assert str(caught.value) == (
        "films.Movie.slug cannot be unique: table films_movie is partitioned by "
        "RANGE (year), and PostgreSQL has no unique constraint without the columns "
        "of that key. Leave unique out of the field, and put a UniqueConstraint "
        "over slug and those columns into the model. Nothing was changed."
    )
    assert postgresql.describe("Movie") == before


PARTITIONED = {
    "cannot be unique: table films_movie has partitions, and the database has no "
    "unique index there without the columns by which it is partitioned. Leave unique "
    "out of the field, and put a UniqueConstraint over slug and those columns into "
    "the model. Nothing was changed.": models.SlugField(unique=True),
    "cannot be a foreign key: table films_movie has partitions, and the database has "
    "no foreign keys there. Add db_constraint=False to the field. Nothing was "
    "changed.": models.ForeignKey("self", models.CASCADE),
}


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize("message", PARTITIONED, ids=["unique", "foreign key"])
def test_mariadb_partitions(mariadb: History, message: str, is_empty: bool) -> None:
    """Fails if the server is left to refuse it when all rows are filled."""
    mariadb.apply(MOVIE)
    if not is_empty:
        create_movies(mariadb)
    if not mariadb.connection.mysql_is_mariadb:
        # Where the server keeps tables together, one with partitions cannot be.
        mariadb.execute("ALTER TABLE films_movie TABLESPACE innodb_file_per_table")
    mariadb.execute("ALTER TABLE films_movie PARTITION BY HASH (id) PARTITIONS 2")
    before = mariadb.describe("Movie")

    with pytest.raises(BackfillError) as caught:
        mariadb.apply(
            add_slug(field=PARTITIONED[message], populate=lambda movie: movie.pk)
        )

    assert str(caught.value) == f"films.Movie.slug {message}"
    assert mariadb.describe("Movie") == before
    field = models.SlugField(db_index=True)
    mariadb.apply(add_slug(field=field))
    assert slugs(mariadb) == [] if is_empty else [f"film-{title}" for title in "abcde"]


# Schemas and names


def test_postgresql_table_in_another_schema(postgresql: History) -> None:
    postgresql.execute('CREATE SCHEMA "Other"')
    postgresql.apply(
        migrations.CreateModel("Studio", [ID, TITLE]),
        migrations.CreateModel(
            "Movie", [ID, TITLE], options={"db_table": '"Other"."Movie"'}
        ),
    )
    create_movies(postgresql)
    studios = postgresql.model("Studio").objects.using("postgresql")
    studios.bulk_create([postgresql.model("Studio")(title=t) for t in "abcde"])
    before = postgresql.describe("Movie")
    studio = models.ForeignKey("films.Studio", models.CASCADE)

    postgresql.apply(add_slug())
    postgresql.apply(
        AddFieldWithBackfill("Movie", "studio", studio, lambda movie: movie.pk)
    )

    assert slugs(postgresql) == [f"film-{title}" for title in "abcde"]
    found = postgresql.describe("Movie")
    assert [column["null"] for column in found["columns"].values()] == [False] * 4
    assert [unique["columns"] for unique in found["uniques"]] == [["slug"]]
    assert [key["columns"] for key in found["foreign_keys"]] == [["studio_id"]]
    assert found["checks"] == []
    postgresql.unapply()
    postgresql.unapply()
    assert postgresql.describe("Movie") == before


def test_postgresql_invalid_index_in_another_schema(postgresql_alias: str) -> None:
    """What CREATE INDEX CONCURRENTLY leaves behind is not on the search path."""
    history = History(postgresql_alias)
    history.execute("CREATE SCHEMA other")
    history.apply(
        migrations.CreateModel(
            "Movie", [ID, TITLE], options={"db_table": '"other"."movie"'}
        )
    )
    create_movies(history)
    history.apply(add_slug())
    (name,) = select(
        history,
        "SELECT conname FROM pg_constraint "
        "WHERE conrelid = 'other.movie'::regclass AND contype = 'u'",
    )[0]
    history.execute(
        f'ALTER TABLE other.movie DROP CONSTRAINT "{name}"',
        "ALTER TABLE other.movie ALTER slug DROP NOT NULL",
        f'CREATE UNIQUE INDEX "{name}" ON other.movie (slug)',
        "UPDATE pg_index SET indisvalid = false "
        f"WHERE indexrelid = 'other.\"{name}\"'::regclass",
    )
    operation = history.migrations.pop().operations[0]
    history.states.pop()

    history.apply(operation)

    assert [unique["valid"] for unique in history.describe("Movie")["uniques"]] == [
        True
    ]


def test_postgresql_table_of_that_name_in_another_schema(postgresql: History) -> None:
    postgresql.execute(
        "CREATE SCHEMA other",
        "CREATE TABLE other.films_movie (id bigint, slug integer NOT NULL UNIQUE)",
    )
    postgresql.apply(MOVIE)
    create_movies(postgresql)

    postgresql.apply(add_slug())

    assert slugs(postgresql) == [f"film-{title}" for title in "abcde"]
    assert postgresql.describe("Movie")["columns"]["slug"]["null"] is False


# Tables that point to this one


def test_references_from_other_tables(history: History) -> None:
    history.apply(
        MOVIE,
        migrations.CreateModel(
            "Review", [ID, ("movie", models.ForeignKey("films.Movie", models.CASCADE))]
        ),
        migrations.AddField(
            "Movie", "cast", models.ManyToManyField("films.Movie", related_name="+")
        ),
    )
    create_movies(history)
    alias = history.connection.alias
    movie = history.model("Movie").objects.using(alias).get(title="c")
    history.model("Review").objects.using(alias).create(movie=movie)
    movie.cast.add(movie)
    before = history.describe("Movie"), history.describe("Review")

    history.apply(add_slug())
    assert history.rows("Review").get().movie.slug == "film-c"
    assert history.model("Movie").objects.using(alias).get(cast__title="c").pk == 3
    assert history.describe("Review") == before[1]
    history.unapply()

    assert (history.describe("Movie"), history.describe("Review")) == before
    assert history.rows("Review").get().movie_id == movie.pk


def test_populate_reads_a_model_of_another_app(history: History) -> None:
    def populate(movie: Any, apps: Any) -> str:
        studios = QuerySet(apps.get_model("films", "Studio"), using=movie._state.db)
        return f"{studios.get(pk=movie.pk).title}-{movie.title}"

    history.apply(MOVIE, migrations.CreateModel("Studio", [ID, TITLE]))
    create_movies(history)
    model = history.model("Studio")
    QuerySet(model, using=history.connection.alias).bulk_create(
        [model(title=f"studio-{n}") for n in range(1, 6)]
    )

    history.apply(add_slug(populate=populate))

    assert slugs(history) == [f"studio-{n + 1}-{t}" for n, t in enumerate("abcde")]


@pytest.mark.parametrize(
    ("table", "reference"),
    [
        ("", "films_studio (id)"),
        ("WITHOUT ROWID", "films_studio (id)"),
        ("WITHOUT ROWID", "films_studio"),
        ("WITHOUT ROWID", "films_gone (id)"),
    ],
)
def test_sqlite_rows_without_a_number(
    sqlite: History, table: str, reference: str
) -> None:
    """Fails if a row is named by its number, which not every table has."""
    history = sqlite
    fields = [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=9)),
    ]
    create = migrations.CreateModel("Movie", fields)
    history.apply(migrations.SeparateDatabaseAndState(state_operations=[create]))
    with history.connection.constraint_checks_disabled():
        for statement in [
            "CREATE TABLE films_studio (id integer PRIMARY KEY)",
            "CREATE TABLE films_movie (id integer PRIMARY KEY, title text, "
            f"studio integer REFERENCES {reference} DEFERRABLE INITIALLY "
            f"DEFERRED) {table}",
            "INSERT INTO films_studio VALUES (1)",
            "INSERT INTO films_movie VALUES (7, 'a', 1), (8, 'b', 99), (9, 'c', NULL)",
        ]:
            history.execute(statement)

    with pytest.raises(DatabaseError) as caught:
        history.apply(add_slug())

    # Django's schema editor looks at all keys as well when it ends.
    error = caught.value.__context__
    while not isinstance(error, BackfillError):
        assert error is not None
        error = error.__context__
    parent = reference.partition(" ")[0]
    keys = [7, 8] if parent == "films_gone" else [8]
    assert [row.pk for row in error.rows] == keys
    assert {row.reason for row in error.rows} == {
        f"there is no row in {parent} with the key in studio"
    }
