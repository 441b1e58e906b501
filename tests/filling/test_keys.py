"""Indexes that others made on the column are kept, and never taken for Django's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, migrations, models, transaction

import safefield
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]

#: Indexes by hand on the column `code`, a text of 40 characters.
BY_HAND = {
    "postgresql": {
        "hash": "CREATE INDEX by_hand ON films_movie USING hash (code)",
        "brin": "CREATE INDEX by_hand ON films_movie USING brin (code)",
        "gin": (
            "CREATE INDEX by_hand ON films_movie "
            "USING gin (to_tsvector('simple', code))"
        ),
        "gist": (
            "CREATE INDEX by_hand ON films_movie "
            "USING gist (to_tsvector('simple', code))"
        ),
        "partial": "CREATE INDEX by_hand ON films_movie (code) WHERE id > 2",
        "expression": "CREATE INDEX by_hand ON films_movie (lower(code))",
        "descending": "CREATE INDEX by_hand ON films_movie (code DESC)",
        "include": "CREATE INDEX by_hand ON films_movie (code) INCLUDE (title)",
        "operators": "CREATE INDEX by_hand ON films_movie (code text_pattern_ops)",
        "collation": 'CREATE INDEX by_hand ON films_movie (code COLLATE "POSIX")',
        "plain": "CREATE INDEX by_hand ON films_movie (code)",
    },
    "mysql": {
        "fulltext": "CREATE FULLTEXT INDEX by_hand ON films_movie (code)",
        "prefix": "CREATE INDEX by_hand ON films_movie (code(5))",
        "descending": "CREATE INDEX by_hand ON films_movie (code DESC)",
        "plain": "CREATE INDEX by_hand ON films_movie (code)",
    },
    "sqlite": {
        "partial": "CREATE INDEX by_hand ON films_movie (code) WHERE id > 2",
        "expression": "CREATE INDEX by_hand ON films_movie (lower(code))",
        "descending": "CREATE INDEX by_hand ON films_movie (code DESC)",
        "collation": "CREATE INDEX by_hand ON films_movie (code COLLATE NOCASE)",
        "plain": "CREATE INDEX by_hand ON films_movie (code)",
    },
}
UNIQUE_BY_HAND = {
    "postgresql": {
        "partial": "CREATE UNIQUE INDEX by_hand ON films_movie (code) WHERE id > 3",
        "expression": "CREATE UNIQUE INDEX by_hand ON films_movie (lower(code), id)",
        "deferred": (
            "ALTER TABLE films_movie ADD CONSTRAINT by_hand UNIQUE (code, id) "
            "DEFERRABLE INITIALLY DEFERRED"
        ),
    },
    "mysql": {"longer": "CREATE UNIQUE INDEX by_hand ON films_movie (code(5), id)"},
    "sqlite": {
        "partial": "CREATE UNIQUE INDEX by_hand ON films_movie (code) WHERE id > 3",
        "expression": "CREATE UNIQUE INDEX by_hand ON films_movie (lower(code), id)",
    },
}
VENDORS = {
    "default": "sqlite",
    "postgresql": "postgresql",
    "mariadb": "mysql",
    "mysql": "mysql",
}

CODE = models.CharField(max_length=40, null=True)
INDEXED = models.CharField(max_length=40, null=True, db_index=True)


def make_cases(by_hand: dict[str, dict[str, str]]) -> list[Any]:
    return [
        pytest.param(alias, atomic, sql, id=f"{vendor}-{name}-{atomic}")
        for alias, vendor in VENDORS.items()
        for name, sql in by_hand[vendor].items()
        for atomic in (False, True)
    ]


def create(history: History, field: Any, codes: str = "abcd") -> None:
    history.apply(migrations.CreateModel("Movie", [*FIELDS, ("code", field.clone())]))
    history.rows("Movie").bulk_create(
        history.model("Movie")(id=n, title=f"Film {n}", code=code.strip() or None)
        for n, code in enumerate(codes, 1)
    )


def read_keys(history: History) -> list[dict[str, Any]]:
    found = history.describe("Movie")
    return [*found["indexes"], *found["uniques"]]


def get_difference(many: list[Any], few: list[Any]) -> list[Any]:
    rest = list(many)
    for item in few:
        rest.remove(item)
    return rest


def alter(field: Any, **options: Any) -> AlterFieldWithBackfill:
    return AlterFieldWithBackfill("Movie", "code", field, get_title, **options)


def get_title(movie: Any) -> str:
    return str(movie.title)


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize(
    ("alias", "atomic", "sql"), make_cases(BY_HAND), indirect=["alias"]
)
def test_index_by_hand_is_kept_where_an_index_gives_way(
    alias: str, atomic: bool, sql: str
) -> None:
    """Fails if every index on the column alone is dropped with db_index=True."""
    history = History(alias, atomic=atomic)
    create(history, INDEXED)
    before = read_keys(history)
    history.execute(sql)
    (by_hand,) = get_difference(read_keys(history), before)

    history.apply(alter(models.CharField(max_length=40, unique=True)))

    assert by_hand in read_keys(history)
    # And Django's own has given way.
    twin = [("code", models.CharField(max_length=40, unique=True))]
    history.apply(migrations.CreateModel("Twin", [*FIELDS, *twin]))
    found = without_names(history.describe("Twin"), "twin")
    assert (
        without_names(get_difference(read_keys(history), [by_hand]), "movie")
        == found["indexes"] + found["uniques"]
    )
    history.unapply()
    history.unapply()
    assert by_hand in read_keys(history)


@pytest.mark.thorough_on("mysql")
@pytest.mark.parametrize(
    ("alias", "atomic", "sql"), make_cases(BY_HAND), indirect=["alias"]
)
def test_index_by_hand_is_not_taken_for_the_index(
    alias: str, atomic: bool, sql: str
) -> None:
    """Fails if any index on the column alone counts as that of db_index=True."""
    history = History(alias, atomic=atomic)
    create(history, CODE)
    history.execute(sql)
    (by_hand,) = read_keys(history)

    history.apply(alter(models.CharField(max_length=40, db_index=True)))

    twin = [("code", models.CharField(max_length=40, db_index=True))]
    history.apply(migrations.CreateModel("Twin", [*FIELDS, *twin]))
    found = without_names(history.describe("Twin"), "twin")
    assert (
        without_names(get_difference(read_keys(history), [by_hand]), "movie")
        == found["indexes"]
    )
    history.unapply()
    history.unapply()
    assert read_keys(history) == [by_hand]


@pytest.mark.parametrize(
    ("alias", "atomic", "sql"), make_cases(UNIQUE_BY_HAND), indirect=["alias"]
)
def test_unique_by_hand_is_not_taken_for_unique(
    alias: str, atomic: bool, sql: str
) -> None:
    """Fails if any unique index with the column counts: rows are not renumbered."""
    history = History(alias, atomic=atomic)
    create(history, CODE, "aaa ")
    history.execute(sql)
    (by_hand,) = read_keys(history)

    history.apply(
        alter(
            models.CharField(max_length=40, unique=True),
            deduplicate=safefield.numbered,
        )
    )

    codes = list(history.rows("Movie").values_list("code", flat=True))
    assert codes == ["a", "a-2", "a-3", "Film 4"]
    assert by_hand in read_keys(history)
    with pytest.raises(IntegrityError), transaction.atomic(using=alias):
        history.rows("Movie").filter(id=2).update(code="a")
    history.unapply()
    assert read_keys(history) == [by_hand]


@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
@pytest.mark.parametrize("atomic", [False, True])
def test_deferrable_unique_constraint_by_hand(alias: str, atomic: bool) -> None:
    """Fails if a constraint that is checked at COMMIT counts as Django's."""
    history = History(alias, atomic=atomic)
    create(history, CODE, "abc ")
    history.execute(
        "ALTER TABLE films_movie ADD CONSTRAINT by_hand UNIQUE (code) "
        "DEFERRABLE INITIALLY DEFERRED",
    )

    history.apply(alter(models.CharField(max_length=40, unique=True)))

    uniques = history.describe("Movie")["uniques"]
    assert sorted(key["deferrable"] for key in uniques) == [False, True]


@pytest.mark.parametrize("atomic", [False, True])
def test_indexes_of_other_columns_are_kept(alias: str, atomic: bool) -> None:
    """Fails on SQLite if a remake makes only the indexes that the model knows."""
    history = History(alias, atomic=atomic)
    create(history, CODE)
    history.execute("CREATE INDEX by_hand ON films_movie (title, id)")
    before = history.describe("Movie")

    history.apply(
        AddFieldWithBackfill(
            "Movie", "slug", models.SlugField(unique=True), lambda movie: movie.code
        )
    )

    assert before["indexes"][0] in history.describe("Movie")["indexes"]
    if history.connection.vendor != "mysql":
        # There it loses the column, and goes on as an index of the other one.
        history.execute("CREATE INDEX with_slug ON films_movie (slug, title)")
    history.unapply()
    assert history.describe("Movie") == before


@pytest.mark.parametrize("atomic", [False, True])
def test_meta_constraint_is_not_the_fields_own(alias: str, atomic: bool) -> None:
    """Fails if a constraint in Meta on this column alone counts as unique=True."""
    history = History(alias, atomic=atomic)
    create(history, CODE)
    constraint = models.UniqueConstraint(fields=["code"], name="code_once")
    index = models.Index(fields=["code"], name="code_sorted")
    history.apply(
        migrations.AddConstraint("Movie", constraint),
        migrations.AddIndex("Movie", index),
    )
    before = read_keys(history)

    history.apply(alter(models.CharField(max_length=40, unique=True)))

    uniques = [key["columns"] for key in history.describe("Movie")["uniques"]]
    # SQLite has one index for both.
    assert uniques == [["code"]] * (1 if alias == "default" else 2)
    history.apply(migrations.RemoveConstraint("Movie", "code_once"))
    history.apply(migrations.RemoveIndex("Movie", "code_sorted"))
    uniques = [key["columns"] for key in history.describe("Movie")["uniques"]]
    assert uniques == [["code"]]
    history.unapply()
    history.unapply()
    history.unapply()
    assert read_keys(history) == before


@pytest.mark.parametrize("has_own", [False, True], ids=["alone", "beside"])
@pytest.mark.parametrize("atomic", [False, True])
def test_foreign_key_by_hand_to_another_table(
    alias: str, atomic: bool, has_own: bool
) -> None:
    """Fails if any foreign key on the column counts as the field's own."""
    if alias == "default":
        pytest.skip("SQLite has no ALTER TABLE that adds a foreign key")
    history = History(alias, atomic=atomic)
    studio = [("id", models.BigAutoField(primary_key=True))]
    history.apply(
        migrations.CreateModel("Studio", studio),
        migrations.CreateModel("Company", studio),
        migrations.CreateModel(
            "Movie",
            [
                *FIELDS,
                (
                    "studio",
                    models.ForeignKey(
                        "films.Studio",
                        models.CASCADE,
                        null=True,
                        db_constraint=has_own,
                        db_index=False,
                    ),
                ),
            ],
        ),
    )
    for name in ("Studio", "Company"):
        history.model(name).objects.using(alias).create(id=1)
    history.model("Movie").objects.using(alias).create(id=1, title="a")
    history.execute(
        "ALTER TABLE films_movie ADD CONSTRAINT by_hand FOREIGN KEY (studio_id) "
        "REFERENCES films_company (id)",
    )

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            lambda movie: 1,
        )
    )

    targets = [key["target"] for key in history.describe("Movie")["foreign_keys"]]
    assert sorted(targets) == ["films_company", "films_studio"]
    if has_own:
        history.unapply()
        targets = [key["target"] for key in history.describe("Movie")["foreign_keys"]]
        assert sorted(targets) == ["films_company", "films_studio"]


@pytest.mark.parametrize("atomic", [False, True])
def test_keys_of_a_table_that_was_renamed(alias: str, atomic: bool) -> None:
    """Fails on PostgreSQL if keys are looked for by the name they would get today."""
    history = History(alias, atomic=atomic)
    history.apply(
        migrations.CreateModel(
            "Studio", [("id", models.BigAutoField(primary_key=True))]
        ),
        migrations.CreateModel(
            "Film",
            [
                *FIELDS,
                ("code", models.IntegerField(null=True, db_index=True)),
                (
                    "studio",
                    models.ForeignKey("films.Studio", models.CASCADE, null=True),
                ),
            ],
        ),
    )
    history.apply(migrations.RenameModel("Film", "Movie"))
    history.model("Studio").objects.using(alias).create(id=1)
    history.model("Movie").objects.using(alias).create(id=1, title="a")
    before = history.describe("Movie")

    history.apply(
        AlterFieldWithBackfill(
            "Movie", "code", models.IntegerField(db_index=True), lambda movie: 7
        ),
        AlterFieldWithBackfill(
            "Movie",
            "studio",
            models.ForeignKey("films.Studio", models.CASCADE),
            lambda movie: 1,
        ),
    )

    found = history.describe("Movie")
    assert found["indexes"] == before["indexes"]
    assert found["foreign_keys"] == before["foreign_keys"]


def test_constraint_over_more_columns_is_another_one(alias: str) -> None:
    """Fails if it counts as the field's own, which is not built then."""
    history = History(alias)
    note = models.CharField(max_length=40, null=True)
    history.apply(
        migrations.CreateModel(
            "Movie", [*FIELDS, ("note", note)], {"unique_together": {("note", "title")}}
        )
    )
    history.rows("Movie").bulk_create([history.model("Movie")(title="a")])

    history.apply(
        AlterFieldWithBackfill(
            "Movie",
            "note",
            models.CharField(max_length=40, unique=True),
            lambda movie: movie.title,
        )
    )

    with pytest.raises(IntegrityError), transaction.atomic(using=alias):
        history.rows("Movie").create(title="b", note="a")
