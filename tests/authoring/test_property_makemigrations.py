"""
What makemigrations writes for any change migrates a table with rows, and loses nothing.

`SAFEFIELD_PAIRS=1000` tries so many pairs of model states, `SAFEFIELD_SEED=7` others.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from django.core.management.base import CommandError
from django.db import IntegrityError, connections, models, transaction
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.models import QuerySet

from safefield.authoring.autodetector import wrap_autodetector
from safefield.authoring.migration_file import get_backfills
from safefield.authoring.stubs import ImportedStub, Stub
from tests.support.pairs import MODELS, ROWS, Pair, make_pair

PAIRS = int(os.environ.get("SAFEFIELD_PAIRS", "40"))
SEED = int(os.environ.get("SAFEFIELD_SEED", "1"))


#: The old values are none of the new type, as a text is no UUID: no order helps.
NO_CONVERSION = (
    "in its new type",
    "cannot cast type",
    "invalid input syntax for type",
    "badly formed hexadecimal UUID string",
)


class Asked(Exception):
    """Django stops and asks for a value."""


class Questioner(MigrationQuestioner):
    """
    Says which fields are renamed.

    Args:
        pair: The two states.
        answers: Whether it gives one value for all rows, or raises Asked.
    """

    def __init__(self, pair: Pair, *, answers: bool = False) -> None:
        super().__init__({"ask_initial": True})
        self.pair = pair
        self.answers = answers

    def ask_rename(
        self, model_name: str, old_name: str, new_name: str, field_instance: Any
    ) -> bool:
        return (model_name, old_name, new_name) in self.pair.renames

    def ask(self, field_name: str, model_name: str) -> Any:
        if not self.answers:
            raise Asked(f"{model_name}.{field_name}")
        model_name = next(name for name in MODELS if name.lower() == model_name)
        field = self.pair.new.fields[model_name][field_name].make()
        field.name = field_name
        return get_value(field, 1)

    ask_not_null_addition = ask
    ask_not_null_alteration = ask
    ask_auto_now_add_addition = ask
    ask_unique_callable_default_addition = ask


def get_value(field: Any, key: int) -> Any:
    """Return what the row with this key has: other rows have others."""
    if isinstance(field, models.CharField):
        return f"{field.name}-{key}"
    return uuid.UUID(int=key) if isinstance(field, models.UUIDField) else key


def create_tables(connection: Any, state: ProjectState) -> None:
    """Create the tables, each with rows whose keys are 1, 2, …."""
    found = [state.apps.get_model(MODELS[n][0], n) for n in MODELS]
    with connection.schema_editor() as editor:
        for model in found:
            editor.create_model(model)
    # Rows lead to rows of tables that are filled later, which PostgreSQL bears until
    # the end of the transaction.
    with connection.constraint_checks_disabled(), transaction.atomic(connection.alias):
        for model in found:
            for key in range(1, ROWS + 1):
                row = model(pk=key)
                for field in model._meta.local_concrete_fields:
                    # Half of what may be empty is.
                    if not field.primary_key and not (field.null and key % 2):
                        setattr(row, field.attname, get_value(field, key))
                for parent, link in model._meta.parents.items():
                    assert link is not None
                    setattr(row, link.attname, key)
                    row.__dict__.update(
                        QuerySet(parent, using=connection.alias).values().get(pk=key)
                    )
                row.save_base(raw=True, using=connection.alias, force_insert=(model,))
    connection.check_constraints()


def detect(
    pair: Pair, autodetector: type[MigrationAutodetector], *, answers: bool = False
) -> dict[str, Any]:
    graph = MigrationGraph()
    for app_label in ("films", "people"):
        graph.add_node((app_label, "0001_initial"), None)
    old, new = pair.old.make_state(), pair.new.make_state()
    return autodetector(old, new, Questioner(pair, answers=answers)).changes(graph)


def in_order(changes: dict[str, Any]) -> Iterator[Any]:
    """Yield the migrations as migrate applies them."""
    waiting = {app_label: list(found) for app_label, found in changes.items()}
    done = {("films", "0001_initial"), ("people", "0001_initial")}
    while any(waiting.values()):
        ready = [
            migrations
            for migrations in waiting.values()
            if migrations
            and done.issuperset(d for d in migrations[0].dependencies if d[1][0] != "_")
        ]
        assert ready, "The migrations depend on each other in a circle."
        migration = ready[0].pop(0)
        done.add((migration.app_label, migration.name))
        yield migration


def write_functions(
    pair: Pair,
    changes: dict[str, Any],
    given: dict[tuple[str, str, str], dict[int, Any]],
) -> None:
    """Write each function: it reads all that its row had, and is remembered."""
    for app_label, migrations in changes.items():
        for migration in migrations:
            for operation in get_backfills(migration):
                stub = operation.populate
                key = (app_label, operation.model_name_lower, operation.name)
                values = given.setdefault(key, {})
                if not isinstance(stub, Stub):
                    continue
                names = () if isinstance(stub, ImportedStub) else stub.source_fields
                if not isinstance(stub, ImportedStub):
                    unread = find_unread(pair, operation, names)
                    assert not unread, f"{key} cannot be made of {unread}."
                operation.populate = make_populate(operation, names, values)


def find_unread(pair: Pair, operation: Any, names: Any) -> list[str]:
    """Return the fields from before that a row has not when its function is called."""
    label = operation.model_name_lower
    (model_name,) = (name for name in MODELS if name.lower() == label)
    parent = MODELS[model_name][1]
    old = {**pair.old.fields.get(parent, {}), **pair.old.fields[model_name]}
    renamed = {
        before: after
        for model, before, after in pair.renames
        if model in (label, parent.lower())
    }
    return [
        name
        for name, spec in old.items()
        if spec.has_column
        and name != operation.name
        # Where a name is taken, the old field has another one for a time.
        and not {name, f"old_{name}", renamed.get(name)}.intersection(names)
    ]


def make_populate(operation: Any, names: Any, values: dict[int, Any]) -> Any:
    operation.field.name = operation.name

    def populate(row: Any) -> Any:
        for name in names:
            found = getattr(row, name)
            if isinstance(found, models.Model):
                # As any function that follows a key, one step farther.
                for field in found._meta.concrete_fields:
                    getattr(found, field.attname)
        values[row.pk] = get_value(operation.field, row.pk)
        return values[row.pk]

    return populate


def migrate(connection: Any, state: ProjectState, changes: Any) -> ProjectState:
    for migration in in_order(changes):
        with connection.schema_editor(atomic=migration.atomic) as editor:
            state = migration.apply(state, editor)
    for model in state.apps.get_models():
        # On SQLite a text may stand in the column of a UUID, and no row can be read.
        list(QuerySet(model, using=connection.alias))
    return state


def try_django(connection: Any, pair: Pair) -> str:
    """Return what Django alone does with a pair."""
    state = pair.old.make_state()
    create_tables(connection, state)
    kind = "migrates"
    try:
        changes = detect(pair, MigrationAutodetector)
    except Asked:
        kind = "asks"
        changes = detect(pair, MigrationAutodetector, answers=True)
    try:
        migrate(connection, state, changes)
    except IntegrityError:
        # One value for all rows, which are to have different ones.
        return "asks" if kind == "asks" else "fails"
    except Exception:
        return "fails"
    return kind


def try_safefield(connection: Any, pair: Pair, *, two_phase: bool) -> str:
    """
    Return what safefield does with a pair.

    Raises:
        Exception: It does not migrate.
    """
    state = pair.old.make_state()
    create_tables(connection, state)
    autodetector = wrap_autodetector(MigrationAutodetector, two_phase=two_phase)
    try:
        changes = detect(pair, autodetector)
    except CommandError:
        return "says why not"
    except Asked:
        return "asks"
    given: dict[tuple[str, str, str], dict[int, Any]] = {}
    write_functions(pair, changes, given)
    state = migrate(connection, state, changes)
    for (app_label, model_name, name), values in given.items():
        model = state.apps.get_model(app_label, model_name)
        column = model._meta.get_field(name).attname
        rows = QuerySet(model, using=connection.alias)
        found = dict(rows.values_list("pk", column))
        assert len(found) == ROWS
        assert {key: found[key] for key in values} == values
        if not model._meta.get_field(name).null:
            assert None not in found.values()
    return "migrates" if given else "migrates, as Django"


def drop_tables(connection: Any) -> None:
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        if is_sqlite:
            cursor.execute("PRAGMA foreign_keys = OFF")
        for table in connection.introspection.table_names(cursor):
            name = connection.ops.quote_name(table)
            cursor.execute(f"DROP TABLE {name}{'' if is_sqlite else ' CASCADE'}")
        if is_sqlite:
            cursor.execute("PRAGMA foreign_keys = ON")


def test_any_change_migrates(sqlite_alias: str) -> None:
    """Fails if an operation stands where its row is not whole, or the way is shut."""
    try_pairs(sqlite_alias)


def test_any_change_migrates_on_postgresql(postgresql_alias: str) -> None:
    """Fails where a server with keys that it looks at sooner refuses the order."""
    try_pairs(postgresql_alias)


def try_pairs(alias: str) -> None:
    connection = connections[alias]
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    for number in range(PAIRS):
        pair = make_pair(Random(f"{SEED}-{number}"))
        django = try_django(connection, pair)
        drop_tables(connection)
        try:
            ours = try_safefield(connection, pair, two_phase=number % 4 == 3)
        except Exception as exc:
            text = f"{type(exc).__name__}: {exc}"
            ours = "cannot convert" if any(map(text.count, NO_CONVERSION)) else "fails"
            if ours == "fails":
                failures.append((number, django, pair.texts, text))
        drop_tables(connection)
        counts[django, ours] += 1
    print(f"{PAIRS} pairs on {alias}, seed {SEED}: Django alone, and safefield")
    for (django, ours), count in sorted(counts.items()):
        print(f"{count:6} {django:10} {ours}")
    worse = [failure for failure in failures if failure[1] != "fails"]
    for failure in failures:
        print(failure)
    assert worse == []
