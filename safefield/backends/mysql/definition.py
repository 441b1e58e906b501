"""
MySQL and MariaDB: how the column of a plan is spelled for ALTER TABLE.

A check that Django makes with a column is on MariaDB one of the column, and MODIFY
replaces it. On MySQL it becomes one of the table, which MODIFY leaves alone and would
only add to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from safefield.backends.base.sql import fetch_all
from safefield.backends.base.wanted import Wanted
from safefield.backends.mysql.keys import pick
from safefield.exceptions import BackfillError
from safefield.fields import AnyField, copy_field, refer_otherwise
from safefield.plan import Plan


class Spelling:
    """
    The column of one plan, with all that Django's ADD COLUMN would give it.

    Django's own MODIFY loses the collation and the comment.
    """

    def __init__(self, editor: Any, plan: Plan) -> None:
        self.editor = editor
        self.connection: Any = editor.connection
        self.plan = plan
        self.wanted = Wanted(editor, plan)

    def alter(self, changes: Sequence[str]) -> str:
        """Return the statement that changes the table."""
        table = self.connection.ops.quote_name(self.plan.table)
        return f"ALTER TABLE {table} {', '.join(changes)}"

    def modify(self, field: AnyField) -> str:
        """Return what gives the column the definition of `field`, less its keys."""
        plain = copy_field(field)
        # The unique index is added by name of the column, once.
        plain._unique = False
        definition, params = self.editor.column_sql(
            self.plan.model, plain, include_default=False
        )
        check = self._get_check(field) if self.connection.mysql_is_mariadb else None
        if check:
            definition += f" CHECK ({check})"
        if params:
            definition %= tuple(map(self._quote_value, params))
        if by_hand := self._check_by_hand:
            if check:
                raise self._cannot_keep(by_hand)
            definition += f" CHECK ({by_hand})"
        return f"MODIFY {self._quote(field)} {definition}"

    def _quote_value(self, value: Any) -> str:
        """Return the literal of a default."""
        if isinstance(value, bytes):
            # Not each of them is part of a text.
            return f"X'{value.hex()}'"
        quoted = self.editor.quote_value(value)
        # So it is of what mysqlclient knows no type, such as a UUID.
        return quoted.decode() if isinstance(quoted, bytes) else str(quoted)

    @cached_property
    def _check_by_hand(self) -> str | None:
        """The check that somebody made on MariaDB's old column, if there is one."""
        old = self.plan.old_field
        is_mariadb = self.connection.mysql_is_mariadb
        # sqlmigrate knows of none.
        if old is None or not is_mariadb or self.editor.collect_sql:
            return None
        rows = fetch_all(
            self.connection,
            "SELECT CONSTRAINT_NAME, CHECK_CLAUSE "
            "FROM information_schema.CHECK_CONSTRAINTS "
            "WHERE CONSTRAINT_SCHEMA = DATABASE() AND LEVEL = 'Column' "
            "AND TABLE_NAME = %s AND CONSTRAINT_NAME = %s",
            [self.plan.table, old.column],
        )
        known = [self._get_own_check(field) for field in (old, self.plan.field)]
        checks = [str(check) for _, check in pick(rows, old.column)]
        return next((check for check in checks if check not in known), None)

    def _get_own_check(self, field: AnyField) -> str | None:
        """Return the check that MariaDB's column has without anybody's doing."""
        if field.db_parameters(self.connection)["type"] == "json":
            # It is a longtext, to which the server adds this.
            return f"json_valid({self._quote(field)})"
        return self._get_check(field)

    def _get_check(self, field: AnyField) -> str | None:
        """Return the check that Django makes with a column of this field."""
        check = field.db_parameters(self.connection)["check"]
        return str(check) if check else None

    def _cannot_keep(self, check: str) -> BackfillError:
        """Return what to say of a check by hand in the place of Django's."""
        return self.plan.error(
            f"{self.plan.title} cannot be altered: its column has a check that "
            f"somebody made by hand, {check}, and gets one of Django's. MariaDB has "
            f"one for each column. Make it a check of the table, then run migrate "
            f"again. Nothing was changed."
        )

    def change_check(self, old: AnyField, new: AnyField) -> list[str]:
        """
        Return what has to be done on MySQL for the check of another type.

        It asks the server, so that a statement that is repeated adds nothing twice.
        """
        before, after = self._get_check(old), self._get_check(new)
        if self.connection.mysql_is_mariadb or before == after:
            return []
        found = self._find_checks()
        quote = self.connection.ops.quote_name
        changes = []
        if before is not None:
            changes += [
                f"DROP CHECK {quote(name)}"
                for name, clause in found
                if clause == before
            ]
        if after is not None and after not in [clause for _, clause in found]:
            name = self.editor._create_index_name(
                self.plan.table, [new.column], suffix="_check"
            )
            changes.append(f"ADD CONSTRAINT {quote(name)} CHECK ({after})")
        return changes

    def _find_checks(self) -> list[tuple[str, str]]:
        """Return name and text of each check of the table, spelled as Django does."""
        rows = fetch_all(
            self.connection,
            "SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE "
            "FROM information_schema.CHECK_CONSTRAINTS c "
            "JOIN information_schema.TABLE_CONSTRAINTS t USING "
            "(CONSTRAINT_SCHEMA, CONSTRAINT_NAME) "
            "WHERE t.CONSTRAINT_SCHEMA = DATABASE() AND t.TABLE_NAME = %s",
            [self.plan.table],
        )
        # The server puts parentheses around each.
        return [(name, clause[1:-1]) for name, clause in rows]

    def add_unique(self) -> str:
        """Return what adds the unique index under the name that Django gives it."""
        field = self.plan.final_field
        name = ""
        # Without a name it is that of the column, as of the inline UNIQUE of AddField.
        if self.plan.old_field is not None:
            name = str(
                self.editor._unique_constraint_name(self.plan.table, [field.column])
            )
            name = f"CONSTRAINT {name} "
        return f"ADD {name}UNIQUE ({self._quote(field)})"

    def add_all(self) -> list[str]:
        """Return what gives an empty table the final column and its index."""
        final = self.plan.final_field
        changes = [self.modify(final)]
        if final.unique:
            changes.append(self.add_unique())
        elif self.wanted.has_index():
            changes.append(f"ADD INDEX ({self._quote(final)})")
        return changes

    def drop_index(self, name: str) -> str:
        """Return what drops an index."""
        return f"DROP INDEX {self.connection.ops.quote_name(name)}"

    def create_key(self) -> Any:
        """Return the statement that adds the foreign key."""
        return self.editor._create_fk_sql(
            self.plan.model, self.plan.final_field, "_fk_%(to_table)s_%(to_column)s"
        )

    def create_index(self) -> Any:
        """Return the statement that adds the index, which is not unique."""
        (sql,) = self.editor._field_indexes_sql(self.plan.model, self.plan.final_field)
        return sql

    def _quote(self, field: AnyField) -> str:
        return str(self.connection.ops.quote_name(field.column))


def take_keys(field: AnyField, source: AnyField) -> AnyField:
    """Return a copy of `field` with the keys of `source`, which no MODIFY changes."""
    if refer_otherwise(field, source):
        # Of another foreign key the column may be of another type.
        return source
    free = copy_field(field)
    free._unique = source.unique
    free.db_index = source.db_index
    if free.remote_field is not None:
        free.db_constraint = getattr(source, "db_constraint", False)
    return free
