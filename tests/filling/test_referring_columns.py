"""A field that foreign keys of other tables refer to: their columns follow its type."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, migrations, models, transaction

from safefield import BackfillError
from safefield.operations import AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse

TABLES = ("Label", "Studio", "Movie", "Poster")


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    return History(alias, atomic=request.param)


def code(length: int = 50, **options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, unique=True, **options)


def create(history: History, old: Any, keys: list[Any]) -> None:
    """Make a table, one whose key refers to it, and one that refers to that key."""
    history.apply(
        migrations.CreateModel(
            "Label", [("id", models.BigAutoField(primary_key=True))]
        ),
        migrations.CreateModel(
            "Studio",
            [("id", models.BigAutoField(primary_key=True)), ("code", old)],
        ),
        migrations.AddField(
            "Studio",
            "parent",
            models.ForeignKey(
                "films.Studio", models.CASCADE, null=True, to_field="code"
            ),
        ),
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "studio",
                    models.OneToOneField(
                        "films.Studio",
                        models.CASCADE,
                        to_field="code",
                        db_comment="whose it is",
                    ),
                ),
                ("label", models.ForeignKey("films.Label", models.CASCADE, null=True)),
            ],
        ),
        migrations.CreateModel(
            "Poster",
            [
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "movie",
                    models.ForeignKey(
                        "films.Movie", models.CASCADE, null=True, to_field="studio"
                    ),
                ),
            ],
        ),
    )
    history.rows("Label").create(pk=1)
    for pk, key in enumerate(keys, start=1):
        history.rows("Studio").create(pk=pk, code=key)
    history.rows("Studio").filter(pk=2).update(parent_id=keys[0])
    history.rows("Movie").create(pk=1, studio_id=keys[0], label_id=1)
    history.rows("Poster").create(pk=1, movie_id=keys[0])


def describe(history: History) -> list[Any]:
    return [history.describe(name) for name in TABLES]


CASES: dict[str, tuple[Any, Any, list[Any], Any]] = {
    "wider": (code(null=True), code(80), ["a", None], "b"),
    "wider, still NULL": (code(null=True), code(80, null=True), ["a", None], "b"),
    "wider, required before": (code(), code(80), ["a", "b"], "c"),
    "text": (
        models.IntegerField(unique=True, null=True),
        code(),
        [7, None],
        "8",
    ),
    "greater": (
        models.IntegerField(unique=True, null=True),
        models.BigIntegerField(unique=True),
        [1, None],
        2,
    ),
    "same": (code(null=True), code(), ["a", None], "b"),
}


@pytest.mark.parametrize("name", CASES)
def test_ends_as_django_makes_it(history: History, name: str) -> None:
    """Fails if a referring column, or its constraint, is not as after AlterField."""
    old, new, keys, value = CASES[name]
    if name == "text" and history.connection.vendor == "postgresql":
        pytest.skip("an integer in a key cannot become a text there")
    create(history, old, keys)

    history.apply(AlterFieldWithBackfill("Studio", "code", new, lambda studio: value))

    found = describe(history)
    stored = [list(history.rows(table).values()) for table in TABLES]
    with pytest.raises(IntegrityError):
        orphan(history)
    history.unapply()
    back = describe(history)
    history.apply(*map(migrations.DeleteModel, ["Poster", "Movie", "Studio", "Label"]))
    twin = History(history.connection.alias, atomic=history.atomic)
    create(twin, old, keys)
    assert back == describe(twin)
    twin.rows("Studio").filter(code=None).update(code=value)
    twin.apply(migrations.AlterField("Studio", "code", new))
    assert found == describe(twin)
    assert stored == [list(twin.rows(table).values()) for table in TABLES]


def orphan(history: History) -> None:
    """Refer to a row that is not there."""
    with transaction.atomic(history.connection.alias):
        history.rows("Movie").create(studio_id=99)
        history.connection.check_constraints()


def widen(length: int = 80) -> AlterFieldWithBackfill:
    return AlterFieldWithBackfill("Studio", "code", code(length), lambda studio: "b")


def list_keys(history: History) -> list[tuple[str, str, str]]:
    """Return name, DELETE rule and UPDATE rule of each foreign key on MariaDB."""
    with history.connection.cursor() as cursor:
        cursor.execute(
            "SELECT CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE "
            "FROM information_schema.REFERENTIAL_CONSTRAINTS "
            "WHERE CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1"
        )
        return list(cursor.fetchall())


def test_keys_keep_name_and_rules(mysql_alias: str) -> None:
    """Fails if a key is made as Django would make it, and not as it was."""
    history = History(mysql_alias)
    create(history, code(null=True), ["a", None])
    (name,) = [key for key, *_ in list_keys(history) if "studio_id" in key][:1]
    history.execute(f"ALTER TABLE films_movie DROP FOREIGN KEY {name}")
    history.execute(
        f"ALTER TABLE films_movie ADD CONSTRAINT {name} FOREIGN KEY (studio_id) "
        f"REFERENCES films_studio (code) ON DELETE CASCADE ON UPDATE CASCADE",
    )
    before = list_keys(history)

    history.apply(widen())

    assert list_keys(history) == before
    with history.connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.foreign_key_checks")
        assert cursor.fetchone() == (1,)


def test_key_that_a_killed_run_has_lost(mysql_alias: str) -> None:
    """Fails if only the keys that are there are made again."""
    history = History(mysql_alias)
    create(history, code(null=True), ["a", None])
    before = list_keys(history)
    for name, *_ in before:
        table = "films_" + name.split("_")[1]
        if "label" not in name:
            history.execute(f"ALTER TABLE {table} DROP FOREIGN KEY {name}")

    history.apply(widen())

    assert list_keys(history) == before


def test_key_that_no_model_has(mysql_alias: str) -> None:
    """Fails if the keys are dropped before it is known that all can be."""
    history = History(mysql_alias)
    create(history, code(null=True), ["a", None])
    history.execute(
        "CREATE TABLE stranger (code varchar(50), CONSTRAINT theirs "
        "FOREIGN KEY (code) REFERENCES films_studio (code))",
    )
    before = describe(history), list_keys(history)

    with pytest.raises(BackfillError) as caught:
        history.apply(widen())

    assert str(caught.value) == (
        "films.Studio.code cannot be altered: foreign keys that no model has refer to "
        "column code: stranger.code (theirs). Drop them in a migration before this "
        "one, and make them again in one after it, then run migrate again. Nothing "
        "was changed."
    )
    assert (describe(history), list_keys(history)) == before


def test_referring_column_that_cannot_follow(mysql_alias: str) -> None:
    """Fails if a refusal in the middle leaves columns changed or keys dropped."""
    history = History(mysql_alias)
    create(history, code(null=True), ["a", None])
    history.execute("ALTER TABLE films_poster ADD note varchar(100)")
    history.execute("CREATE INDEX theirs ON films_poster (movie_id, note)")
    before = describe(history), list_keys(history)

    with pytest.raises(BackfillError, match="Specified key was too long"):
        history.apply(widen(700))

    assert (describe(history), list_keys(history)) == before


@pytest.mark.parametrize("supplied", [False, True], ids=["alone", "supplied"])
def test_rehearsal_leaves_other_tables_alone(alias: str, supplied: bool) -> None:
    """Fails if a rehearsal changes the columns, or the keys, of other tables."""
    history = History(alias)
    create(history, code(null=True), ["a", None])
    before = describe(history)
    operations: list[Any] = [widen()]
    if supplied:
        year = models.IntegerField(default=1)
        operations.insert(0, migrations.AddField("Studio", "year", year))
    rehearsal = rehearse(history, *operations)

    assert rehearsal.error is None
    assert describe(history) == before
