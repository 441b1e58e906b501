"""
Compare backfills of empty tables with Django's AddField.

    python benchmarks/empty_table.py --database postgresql

Every test run of every user replays them. Measured are the operation alone, and one
run of `migrate` over as many migrations of each kind, which also keeps the states and
the records. The two take turns, each on tables of its own, and both in migrations with
atomic = False, or both without it (--atomic); what is to be compared is the ratio.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.apps import apps  # noqa: E402 # needs the path
from django.core.management import call_command  # noqa: E402
from django.core.management.commands.migrate import Command  # noqa: E402
from django.db import connections, migrations, models  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from benchmarks import films  # noqa: E402
from tests.support.history import History  # noqa: E402

#: Tables that the migrations of one app go to in turns: MariaDB takes no more than 64
#: indexes on one.
TABLES = 10

INITIAL = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            f"Movie{{number}}",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=300)),
                ("year", models.IntegerField()),
                ("genres", models.CharField(max_length=300)),
            ],
        )
        for number in range({tables})
    ]
"""

MIGRATION = """\
import safefield.operations
from django.db import migrations, models


def populate(film):
    return f"film-{{film.pk}}"


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [
        {operation}(
            "movie{table}",
            "slug{number}",
            models.SlugField(max_length=50, unique=True),
            {argument},
        )
    ]
"""

#: What makes the operation, and its last argument, by name of the app.
OPERATIONS = {
    "plain": ("migrations.AddField", "preserve_default=False"),
    "backfilled": ("safefield.operations.AddFieldWithBackfill", "populate=populate"),
}


def slug_of(film: Any) -> str:
    return f"film-{film.pk}"


def measure(operation: Any, number: int, atomic: bool) -> tuple[float, int]:
    """Return the seconds and the queries of one operation on a new table."""
    history = History("default")
    fields = [(name, field.clone()) for name, field in films.FIELDS]
    history.apply(migrations.CreateModel(f"Movie{number}", fields))
    started = time.perf_counter()
    history.apply(operation(f"Movie{number}"), atomic=atomic)
    seconds = time.perf_counter() - started
    history.unapply()
    with CaptureQueriesContext(connections["default"]) as queries:
        history.apply(operation(f"Movie{number}"), atomic=atomic)
    history.apply(migrations.DeleteModel(f"Movie{number}"))
    return seconds, len(queries)


def measure_operations(count: int, atomic: bool) -> None:
    """Measure both operations in turns, and print the ratio."""
    from safefield.operations import AddFieldWithBackfill

    def field() -> models.Field[Any, Any]:
        return models.SlugField(max_length=50, unique=True)

    ways = {
        "AddField": lambda model: migrations.AddField(
            model, "slug", field(), preserve_default=False
        ),
        "AddFieldWithBackfill": lambda model: AddFieldWithBackfill(
            model, "slug", field(), slug_of
        ),
    }
    results: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    for number in range(count):
        # In turns, and each first as often as the other.
        for name in sorted(ways, reverse=bool(number % 2)):
            results[name].append(measure(ways[name], number, atomic))
    for name, measured in results.items():
        seconds = [one for one, _ in measured]
        queries = sorted({count for _, count in measured})
        print(
            f"{name}: {median(seconds) * 1000:.2f} ms (median), "
            f"{sum(seconds):.2f} s in all, {queries} queries"
        )
    plain, backfill = ([s for s, _ in results[name]] for name in ways)
    print(
        f"AddFieldWithBackfill takes {sum(backfill) / sum(plain):.2f} times as long "
        f"(by medians {median(backfill) / median(plain):.2f})."
    )


@contextmanager
def written_apps(count: int, atomic: bool) -> Iterator[None]:
    """
    Install an app for each operation, with `count` migrations after the first.

    Each of them waits for the one of the other app, so that the two take turns.
    """
    last = dict.fromkeys(OPERATIONS, "0001_initial")
    with tempfile.TemporaryDirectory() as directory:
        for app, name in last.items():
            package = Path(directory) / app / "migrations"
            package.mkdir(parents=True)
            (package.parent / "__init__.py").touch()
            (package / "__init__.py").touch()
            (package / f"{name}.py").write_text(INITIAL.format(tables=TABLES))
        for number in range(count):
            for app, (operation, argument) in OPERATIONS.items():
                text = MIGRATION.format(
                    operation=operation,
                    table=number % TABLES,
                    number=number,
                    argument=argument,
                    atomic=atomic,
                    dependencies=list(last.items()),
                )
                last[app] = f"{number + 2:04}_slug{number}"
                path = Path(directory) / app / "migrations" / f"{last[app]}.py"
                path.write_text(text)
        sys.path.insert(0, directory)
        apps.set_installed_apps(["safefield", *OPERATIONS])
        try:
            yield
        finally:
            apps.unset_installed_apps()
            sys.path.remove(directory)


class TimedMigrate(Command):
    """The command `migrate`, which takes the time of each migration."""

    def __init__(self) -> None:
        super().__init__()
        #: By app: seconds of each migration, its record included.
        self.seconds: dict[str, list[float]] = {app: [] for app in OPERATIONS}

    def migration_progress_callback(
        self, action: str, migration: Any = None, fake: bool = False
    ) -> None:
        if action == "apply_start":
            self.started = time.perf_counter()
        elif action == "apply_success":
            seconds = time.perf_counter() - self.started
            self.seconds[migration.app_label].append(seconds)


def measure_migrate(count: int, rounds: int, atomic: bool) -> None:
    """Measure a run of `migrate` over `count` migrations of both; print the ratio."""
    rounds_of: dict[str, list[list[float]]] = {app: [] for app in OPERATIONS}
    with written_apps(count, atomic):
        for _ in range(rounds):
            for app in OPERATIONS:
                call_command("migrate", app, "0001", verbosity=0)
            migrate = TimedMigrate()
            # A full collection, once in a run, would hit one of the two by chance,
            # with as much as thirty migrations take.
            gc.collect()
            gc.disable()
            call_command(migrate, verbosity=0)
            gc.enable()
            for app, seconds in migrate.seconds.items():
                rounds_of[app].append(seconds)
            call_command("migrate", "plain", "zero", verbosity=0)
            call_command("migrate", "backfilled", "zero", verbosity=0)
    plain, backfill = ([sum(one) for one in rounds_of[app]] for app in OPERATIONS)
    ratios = [one / other for one, other in zip(backfill, plain, strict=True)]
    middle, other = (
        median(itertools.chain.from_iterable(rounds_of[app])) for app in OPERATIONS
    )
    print(
        f"migrate over {count} migrations: {median(plain):.2f} s and "
        f"{median(backfill):.2f} s, {sum(backfill) / sum(plain):.2f} times as long "
        f"({min(ratios):.2f} to {max(ratios):.2f}; by medians of one migration, "
        f"{middle * 1000:.2f} and {other * 1000:.2f} ms, {other / middle:.2f})."
    )


def main() -> None:
    """Measure the operation alone and in a run of migrate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=films.ALIASES, default="sqlite")
    parser.add_argument("--migrations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5, help="runs of migrate")
    parser.add_argument("--atomic", action="store_true", help="as Django's default")
    arguments = parser.parse_args()
    connection = films.create_database(arguments.database)
    try:
        measure_operations(arguments.migrations, arguments.atomic)
        measure_migrate(arguments.migrations, arguments.rounds, arguments.atomic)
    finally:
        films.drop_database(connection)


if __name__ == "__main__":
    main()
