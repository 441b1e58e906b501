"""Fill a column twice, by safefield and by save(), and compare what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, migrations, models, transaction
from django.db.models import QuerySet

from safefield import BackfillError
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.oracle.cases import CASES, Case
from tests.oracle.ways import KEYS, Way, set_up
from tests.support import cleanup
from tests.support.history import History

with suppress(ImportError):  # There may be no psycopg.
    from django.contrib.postgres.signals import get_citext_oids, get_hstore_oids

#: Extensions that some cases and ways need on PostgreSQL: each has the name of its
#: type, of the case and of the way.
EXTENSIONS = ("citext", "hstore")


@dataclass
class Outcome:
    """
    What became of the values of a case.

    Args:
        theirs (dict): The stored value of each row after save(), by number.
        ours (dict): The stored value of each row after the backfill.
        they_refused (dict): What save() said of the others.
        we_refused (dict): What safefield said of the others.
    """

    theirs: dict[int, Any] = field(default_factory=dict)
    ours: dict[int, Any] = field(default_factory=dict)
    they_refused: dict[int, str] = field(default_factory=dict)
    we_refused: dict[int, str] = field(default_factory=dict)


class Crash(Exception):
    """The operation ended with another error than the one that names rows."""


class Comparison:
    """
    Fill the columns of two tables with the same values.

    Args:
        alias (str): Of the database.
        case (Case): The field.
        way (Way): How safefield fills it.
        values (Sequence): One for each row; the first is taken by both.
    """

    def __init__(self, alias: str, case: Case, way: Way, values: Sequence[Any]) -> None:
        self.case = case
        self.way = way
        self.values = values
        self.key = KEYS[way.key]
        self.history = History(alias, atomic=way.atomic)
        self.connection = connections[alias]
        #: Which value the row at a place gets; the others have one from before.
        step = 2 if way.alters else 1
        self.numbers = {number * step: number for number in range(len(values))}
        self.keys = {self.key.make(place): place for place in range(len(values) * step)}

    def run(self) -> Outcome:
        """Fill both tables, and a third with what neither of them refuses."""
        outcome = Outcome()
        if self.case.target is not None:
            self._create_target()
        self._create("Theirs")
        outcome.they_refused = self._save("Theirs")
        assert 0 not in outcome.they_refused, f"the first: {outcome.they_refused[0]}"
        outcome.theirs = self._read("Theirs")
        self._create("Tried")
        outcome.we_refused = self._fill("Tried")
        if 0 in outcome.we_refused:
            raise Crash(f"not even {self.values[0]!r}: {outcome.we_refused[0]}")
        outcome.ours = self._read("Tried")
        refused = outcome.we_refused.keys() | outcome.they_refused.keys()
        if outcome.we_refused:
            # Row by row, this was, because of those that were refused.
            self._create("Ours")
            self._delete("Ours", refused)
            self._delete("Tried", refused)
            left = self._fill("Ours")
            if left:
                raise Crash(f"refused without the others: {left}")
            tried, outcome.ours = self._read("Tried"), self._read("Ours")
            outcome.ours.update(
                (number, stored)
                for number, stored in tried.items()
                if stored != outcome.theirs.get(number)
            )
        return outcome

    # Tables

    def _create_target(self) -> None:
        assert self.case.target is not None
        self.history.apply(
            migrations.CreateModel("Target", [("id", self.case.target())])
        )
        target = self.history.model("Target")
        QuerySet(target, using=self.connection.alias).bulk_create(
            target(pk=key) for key in self.case.targets
        )

    def _create(self, name: str) -> None:
        fields = [
            *self.key.fields().items(),
            ("title", models.TextField()),
            ("number", models.FloatField(null=True)),
            *((beside, models.IntegerField(null=True)) for beside in self.case.beside),
        ]
        operations: list[Any] = [migrations.CreateModel(name, fields)]
        if self.way.alters or name == "Theirs":
            # With a default as in the final field, Django would fill the rows.
            operations.append(
                migrations.AddField(name, "f", self.case.make(**self._null()))
            )
        self.history.apply(*operations, atomic=False)
        model = self.history.model(name)
        rows = [
            model(pk=key, title=f"row {place}", number=place / 3)
            for key, place in self.keys.items()
        ]
        self.history.rows(name).bulk_create(rows)
        if self.way.alters:
            self._empty(name)
            with transaction.atomic(using=self.connection.alias):
                for row in self.history.rows(name):
                    if self.keys[row.pk] not in self.numbers:
                        self._assign(row, self.case.good)

    def _empty(self, name: str) -> None:
        """Set the column to NULL, also of a field that stores something for None."""
        table = self._quote(self.history.model(name)._meta.db_table)
        column = self._quote(self.history.model(name)._meta.get_field("f").column)
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = NULL")

    def _null(self) -> dict[str, Any]:
        return {} if self.case.make().null else {"null": True}

    def _assign(self, row: Any, value: Any) -> None:
        setattr(row, row._meta.get_field("f").attname, value)
        names = ["f", *self.case.beside]
        row.save(update_fields=names, using=self.connection.alias)

    def _delete(self, name: str, numbers: Any) -> None:
        if not numbers:
            return
        with transaction.atomic(using=self.connection.alias):
            for key, place in self.keys.items():
                if self.numbers.get(place) in numbers:
                    self.history.rows(name).filter(pk=key).delete()

    # Django

    def _save(self, name: str) -> dict[int, str]:
        refused: dict[int, str] = {}
        alias = self.connection.alias
        with transaction.atomic(using=alias):
            for row in list(self.history.rows(name)):
                number = self.numbers.get(self.keys[row.pk])
                if number is None:
                    continue
                try:
                    with transaction.atomic(using=alias):
                        self._assign(row, self.values[number])
                        self._check_constraints(name)
                except Exception as exc:
                    refused[number] = f"{type(exc).__name__}: {exc}"
            refused |= dict.fromkeys(self._find_unreadable(name), "cannot be read")
            if not self.case.make().null:
                for row in self.history.rows(name).filter(f__isnull=True).only("pk"):
                    number = self.numbers[self.keys[row.pk]]
                    refused.setdefault(number, "NULL is stored")
        self._delete(name, refused.keys())
        self.history.apply(
            migrations.AlterField(name, "f", self.case.make()), atomic=False
        )
        return refused

    def _check_constraints(self, name: str) -> None:
        """Let the database say at once what it would say at the end."""
        if self.case.target is not None:
            if self.connection.vendor == "sqlite":
                self.connection.check_constraints([f"films_{name.lower()}"])
            else:
                self.connection.check_constraints()

    def _find_unreadable(self, name: str) -> set[int]:
        """Return the values that were stored as what Django cannot read again."""
        try:
            list(self.history.rows(name))
        except Exception:
            found = set()
            for row in list(self.history.rows(name).only("pk")):
                try:
                    list(self.history.rows(name).filter(pk=row.pk))
                except Exception:
                    found.add(self.numbers[self.keys[row.pk]])
            return found
        return set()

    # safefield

    def _fill(self, name: str) -> dict[int, str]:
        refused: dict[int, str] = {}

        def populate(row: Any) -> Any:
            return self.values[self.numbers[self.keys[row.pk]]]

        operation = AlterFieldWithBackfill if self.way.alters else AddFieldWithBackfill
        while True:
            try:
                self.history.apply(
                    operation(
                        name,
                        "f",
                        self.case.make(),
                        populate,
                        batch_size=self.way.batch_size,
                    )
                )
            except BackfillError as exc:
                if not exc.rows:
                    raise Crash(f"no row is named: {exc}") from exc
                now = {self.numbers[self.keys[row.pk]]: row.reason for row in exc.rows}
                if not now.keys().isdisjoint(refused):
                    raise Crash(f"refused again: {exc}") from exc
                refused |= now
                self._delete(name, now.keys())
            except Exception as exc:
                raise Crash(f"{type(exc).__name__}: {exc}") from exc
            else:
                return refused

    # What is stored

    def _read(self, name: str) -> dict[int, Any]:
        """Return what each row has, as the server spells it; by number."""
        model = self.history.model(name)
        columns = [f.column for f in model._meta.local_concrete_fields]
        stored: dict[int, Any] = {}
        keys = [row.pk for row in self.history.rows(name).only("pk")]
        table = self._quote(model._meta.db_table)
        # With the table, for PostgreSQL takes a bare name for that of the output.
        order = ", ".join(
            f"{table}.{self._quote(f.column)}" for f in model._meta.pk_fields
        )
        raw = [SPELLINGS[self.connection.vendor](self._quote(c)) for c in columns]
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {', '.join(raw)} FROM {table} ORDER BY {order}".replace(
                    "%", "%%"
                ),
                [],
            )
            rows = [tuple(map(repr, row)) for row in cursor.fetchall()]
        assert len(rows) == len(keys)
        plain = (
            dict(self.history.rows(name).values_list("pk", "f"))
            if self.case.hides
            else {}
        )
        width = len(rows[0]) // len(columns)
        first = columns.index(model._meta.get_field("f").column) * width
        for key, row in zip(keys, rows, strict=True):
            if self.case.hides:
                row = (*row[:first], repr(plain[key]), *row[first + width :])
            place = self.keys[key]
            # Rows with a value from before have numbers of their own.
            stored[self.numbers.get(place, -1 - place)] = row
        return stored

    def _quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)


SPELLINGS = {
    "sqlite": lambda c: (
        f"typeof({c}), "
        f"CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE +{c} END"
    ),
    "postgresql": lambda c: f"pg_typeof({c})::text, {c}::text",
    "mysql": lambda c: f"HEX({c}), HEX(CAST({c} AS CHAR))",
}


def compare(alias: str, name: str, way: Way, values: Sequence[Any]) -> Outcome:
    """Return what became of `values`, which the case of this name was given."""
    with set_up(alias, way):
        connection = connections[alias]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("CREATE DOMAIN code AS char(6)")
                needed = {name, way.key}.intersection(EXTENSIONS)
                for extension in needed:
                    cursor.execute(f"CREATE EXTENSION {extension}")
            # A session learns the numbers of these types when it begins.
            get_hstore_oids.cache_clear()
            get_citext_oids.cache_clear()
            if needed:
                connection.close()
        try:
            return Comparison(alias, CASES[name], way, values).run()
        finally:
            cleanup.reset_connection(connection)
            cleanup.empty_database(connection)
