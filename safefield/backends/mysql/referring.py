"""MySQL and MariaDB: foreign keys to a column, which keep it from changing its type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from django.db import Error
from django.db.backends.base import schema

from safefield.backends.mysql.locks import MySQLLocks
from safefield.backends.mysql.session import without_foreign_key_checks
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan

#: Foreign keys to one column, by what they are and what they do.
KEYS = """
SELECT u.TABLE_NAME, u.COLUMN_NAME, u.CONSTRAINT_NAME, u.REFERENCED_TABLE_NAME,
       u.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE
  FROM information_schema.KEY_COLUMN_USAGE u
  JOIN information_schema.REFERENTIAL_CONSTRAINTS r
    ON r.CONSTRAINT_SCHEMA = u.CONSTRAINT_SCHEMA
   AND r.TABLE_NAME = u.TABLE_NAME AND r.CONSTRAINT_NAME = u.CONSTRAINT_NAME
 WHERE u.REFERENCED_TABLE_SCHEMA = DATABASE() AND u.REFERENCED_TABLE_NAME = %s
   AND u.REFERENCED_COLUMN_NAME = %s
 ORDER BY u.TABLE_NAME, u.CONSTRAINT_NAME
"""


class ReferringKey(NamedTuple):
    """A foreign key to the column, or to one that refers to it."""

    table: str
    column: str
    name: str
    to_table: str
    to_column: str
    delete_rule: str
    update_rule: str


class Referring:
    """
    The columns that refer to the column of a plan, and their foreign keys.

    Neither server changes the type of a column that a foreign key is about. So the keys
    are dropped, all columns changed, and the keys made again as they were, while
    nobody else comes to the tables.

    Re-run: keys that a run which was killed has lost are made again.

    Args:
        editor (BaseDatabaseSchemaEditor): Django's schema editor.
        plan (Plan): What the operation asks for.
        old (Field): The field as it is.
        new (Field): The field as it is to be.
    """

    def __init__(self, editor: Any, plan: Plan, old: AnyField, new: AnyField) -> None:
        self.editor = editor
        self.connection: Any = editor.connection
        self.plan = plan
        #: Fields that refer to the column, before and after, the nearest first.
        self.fields: list[tuple[AnyField, AnyField]] = []
        if old.unique and new.unique and self._type_of(old) != self._type_of(new):
            self.fields = [
                (before.field, after.field)
                for before, after in schema._related_non_m2m_objects(old, new)  # type: ignore[attr-defined]  # private, see test_django_contract.py
            ]

    def _type_of(self, field: AnyField) -> tuple[Any, Any]:
        parameters = field.db_parameters(self.connection)
        return parameters["type"], parameters.get("collation")

    def refuse_strangers(self) -> None:
        """
        Refuse foreign keys that no model has: of their columns nobody knows the type.

        Raises:
            BackfillError: It names them.
        """
        known = {
            (after.model._meta.db_table.lower(), after.column.lower())
            for _, after in self.fields
        }
        strangers = [
            key
            for key in self._find()
            if (key.table.lower(), key.column.lower()) not in known
        ]
        if not self.fields or not strangers:
            return
        names = ", ".join(f"{key.table}.{key.column} ({key.name})" for key in strangers)
        raise self.plan.error(
            f"{self.plan.title} cannot be altered: foreign keys that no model has "
            f"refer to column {self.plan.field.column}: {names}. Drop them in a "
            f"migration before this one, and make them again in one after it, then "
            f"run migrate again. Nothing was changed."
        )

    @contextmanager
    def following(self, locks: MySQLLocks) -> Iterator[None]:
        """Let the columns that refer to this one follow a change of its type."""
        if not self.fields:
            yield
            return
        keys = self._find()
        tables = [
            self.plan.table,
            *(key.table for key in keys),
            *(after.model._meta.db_table for _, after in self.fields),
        ]
        with (
            locks.whole_tables(dict.fromkeys(tables)),
            # Nobody changes the rows meanwhile.
            without_foreign_key_checks(self.connection),
        ):
            for key in keys:
                self._alter(key.table, f"DROP FOREIGN KEY {self._quote(key.name)}")
            changed: list[AnyField] = []
            try:
                for before, after in self.fields:
                    self.change(after)
                    changed.append(before)
                yield
            except BaseException:
                # The connection may be what was lost: the next run makes the keys.
                with suppress(Error):
                    for before in changed:
                        self.change(before)
                    self._make(keys)
                raise
            self._make(keys)
        self._make_lost(keys)

    def _find(self) -> list[ReferringKey]:
        """Return the foreign keys to the column, and to those that refer to it."""
        found: list[ReferringKey] = []
        targets = [(self.plan.table, self.plan.field.column)]
        targets += [
            (after.model._meta.db_table, after.column) for _, after in self.fields
        ]
        with self.connection.cursor() as cursor:
            for target in dict.fromkeys(targets):
                cursor.execute(KEYS, target)
                found += [ReferringKey(*row) for row in cursor.fetchall()]
        return found

    def change(self, field: AnyField) -> None:
        """Give the column of a foreign key the type of `field`."""
        self._alter(field.model._meta.db_table, f"MODIFY {self._define(field)}")

    def _define(self, field: AnyField) -> str:
        """Return the column of a foreign key as Django's ADD COLUMN has it."""
        plain = copy_field(field)
        plain._unique = False
        definition, params = self.editor.column_sql(
            field.model, plain, include_default=False
        )
        if params:
            definition %= tuple(self.editor.quote_value(value) for value in params)
        return f"{self._quote(field.column)} {definition}"

    def _make(self, keys: Sequence[ReferringKey]) -> None:
        # What the catalogue says of a key for which nobody said anything.
        unsaid = "RESTRICT" if self.connection.mysql_is_mariadb else "NO ACTION"
        for key in keys:
            rules = "".join(
                f" ON {event} {rule}"
                for event, rule in (
                    ("DELETE", key.delete_rule),
                    ("UPDATE", key.update_rule),
                )
                if rule != unsaid
            )
            self._alter(
                key.table,
                f"ADD CONSTRAINT {self._quote(key.name)} "
                f"FOREIGN KEY ({self._quote(key.column)}) "
                f"REFERENCES {self._quote(key.to_table)} "
                f"({self._quote(key.to_column)}){rules}",
            )

    def _make_lost(self, keys: Sequence[ReferringKey]) -> None:
        """Make the keys that Django has and the catalogue has not."""
        there = {(key.table.lower(), key.column.lower()) for key in keys}
        for _, after in self.fields:
            place = after.model._meta.db_table.lower(), after.column.lower()
            if after.db_constraint and place not in there:
                self.editor.execute(
                    self.editor._create_fk_sql(
                        after.model, after, "_fk_%(to_table)s_%(to_column)s"
                    )
                )

    def _alter(self, table: str, change: str) -> None:
        self.editor.execute(f"ALTER TABLE {self._quote(table)} {change}", None)

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))
