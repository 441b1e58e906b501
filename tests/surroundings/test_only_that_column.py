"""
Nothing in the database differs but the column, whatever other people have made.

The witness is the server's catalogue, and what Django's own operations add.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models.expressions import Window
from django.db.models.functions import Lower, RowNumber

import safefield
from safefield import BackfillError
from safefield.inspection.abandonment import find_remnants
from safefield.inspection.entries import find_entries
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support import cleanup
from tests.support.history import History
from tests.support.rehearsals import rehearse
from tests.surroundings import scenery
from tests.surroundings.witness import Snapshot, take_snapshot


@dataclass(frozen=True)
class Case:
    """
    A field and what fills it.

    Args:
        field (Field): As it is to end.
        populate: A function of a row, or an expression.
        options: Further arguments of the operation.
        name (str): "slug" to be added, "code" to be altered.
    """

    field: Any
    populate: Any
    options: dict[str, Any]
    name: str = "slug"

    def operation(self, populate: Any = None) -> Any:
        kind = AddFieldWithBackfill if self.name == "slug" else AlterFieldWithBackfill
        return kind(
            "Movie",
            self.name,
            self.field,
            populate or self.populate,
            batch_size=3,
            **self.options,
        )

    @property
    def column(self) -> str:
        return f"{self.name}_id" if self.field.is_relation else self.name


def slug_of(movie: Any) -> str:
    return f"film-{movie.pk}"


#: What an alteration may change in the line of its column.
OF_ALTERED = re.compile(
    r'("attname": "code".*?"attnotnull": )\w+'
    r'|(^TABLE films_movie: "code").*'
    r'|(^sqlite_master table films_movie:\s+"code").*'
)
WINDOW = Window(RowNumber(), order_by="title")
CASES = {
    "unique": Case(models.SlugField(unique=True), slug_of, {}),
    "index": Case(models.CharField(max_length=50, db_index=True), slug_of, {}),
    "foreign key": Case(
        models.ForeignKey("films.Studio", models.CASCADE, related_name="+"),
        lambda movie: movie.pk,
        {},
    ),
    "default": Case(models.CharField(max_length=50, db_default="x"), slug_of, {}),
    "deduplicate": Case(
        models.CharField(max_length=50, unique=True),
        lambda movie: "same",
        {"deduplicate": safefield.numbered},
    ),
    "reverse": Case(
        models.CharField(max_length=50),
        slug_of,
        {"reverse": lambda movie: {"code": None}},
    ),
    "expression": Case(
        models.CharField(max_length=110, unique=True), Lower("title"), {}
    ),
    "window": Case(models.IntegerField(unique=True), WINDOW, {}),
    "altered": Case(models.CharField(max_length=60), slug_of, {}, "code"),
    "altered, unique": Case(
        models.CharField(max_length=60, unique=True), slug_of, {}, "code"
    ),
    "altered, index": Case(
        models.CharField(max_length=60, db_index=True), slug_of, {}, "code"
    ),
}


@pytest.fixture(params=[False, True], ids=["own-commits", "atomic"])
def history(alias: str, request: pytest.FixtureRequest) -> History:
    history = History(alias, atomic=request.param)
    scenery.build(history)
    return history


def look(history: History, case: Case) -> Snapshot:
    """Take a snapshot without the column that is altered, which was there."""
    found = take_snapshot(history.connection, case.column)
    return found._replace(
        catalogue=frozenset(OF_ALTERED.sub(r"\1", fact) for fact in found.catalogue)
    )


def assert_only_added(before: Snapshot, after: Snapshot) -> None:
    """Fail if anything that was there is not, or is changed."""
    assert "\n".join(sorted(before.catalogue - after.catalogue)) == ""
    assert_same(before._replace(catalogue=after.catalogue), after)


def assert_same(before: Snapshot, after: Snapshot) -> None:
    """Fail if anything differs."""
    for part in ("catalogue", "rows", "session"):
        old, new = getattr(before, part), getattr(after, part)
        lost = [f"- {fact}" for fact in sorted(old - new)]
        come = [f"+ {fact}" for fact in sorted(new - old)]
        assert "\n".join(lost + come) == "", part


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("name", CASES)
def test_there_and_back_and_there(history: History, name: str) -> None:
    """Fails if a table, an index or a setting of others is touched on any way."""
    case = CASES[name]
    before = look(history, case)

    history.apply(case.operation())
    forwards = look(history, case)
    assert_only_added(before, forwards)

    history.unapply()
    assert_same(before, look(history, case))

    history.apply(case.operation())
    assert forwards.identities == look(history, case).identities
    assert_only_added(before, look(history, case))


@pytest.mark.parametrize("name", ["unique", "foreign key", "altered, unique"])
def test_error_half_way(history: History, name: str) -> None:
    """Fails if an error leaves a guard, a setting or a table behind."""
    case = CASES[name]
    before = look(history, case)

    def populate(movie: Any) -> Any:
        if movie.pk == 6:
            raise ValueError("not this one")
        return case.populate(movie)

    with pytest.raises(BackfillError):
        history.apply(case.operation(populate))

    stopped = look(history, case)
    assert_only_added(before, stopped)
    if not history.connection.features.can_rollback_ddl or not history.atomic:
        (entry,) = find_entries(
            history.make(case.operation(populate)), history.state.clone()
        )
        for remnant in find_remnants(entry, history.connection):
            remnant.remove(history.connection)
    assert_same(before, look(history, case))


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("name", CASES)
def test_rehearsal(history: History, name: str) -> None:
    """Fails if a rehearsal leaves anything, or touches a table of its name."""
    case = CASES[name]
    before = look(history, case)

    rehearsal = rehearse(history, case.operation())

    assert rehearsal.error is None
    assert_same(before, look(history, case))


#: On MariaDB the key of a unique column and of a foreign key has the name that the
#: server gives it, as in Django's AddField alone, which needs a table without rows.
ADDED = [
    *(("postgresql_alias", name) for name in ("unique", "index", "foreign key")),
    ("postgresql_alias", "default"),
    ("mariadb_alias", "index"),
    ("mariadb_alias", "default"),
]


@pytest.mark.parametrize(("server", "name"), ADDED)
def test_what_comes_is_what_django_makes(
    request: pytest.FixtureRequest, server: str, name: str
) -> None:
    """Fails if an index or a constraint has another name than Django's, or is left."""
    alias = request.getfixturevalue(server)
    case = CASES[name]

    def get_added(*steps: Any) -> set[str]:
        history = History(alias)
        scenery.build(history)
        before = look(history, case)
        for step in steps:
            history.apply(step)
        added = look(history, case).identities - before.identities
        cleanup.empty_database(history.connection)
        return set(added)

    loose = case.field.clone()
    # With its index and its constraints, for AddField names them otherwise than
    # AlterField.
    loose.null, loose.db_default = True, models.NOT_PROVIDED
    column = f"{case.name}_id" if case.field.is_relation else case.name
    djangos = get_added(
        migrations.AddField("Movie", case.name, loose),
        migrations.RunSQL(f"UPDATE films_movie SET {column} = id"),
        migrations.AlterField("Movie", case.name, case.field),
    )

    assert get_added(case.operation()) == djangos
