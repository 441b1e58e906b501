"""MySQL and MariaDB: what sqlmigrate prints of a backfill."""

from __future__ import annotations

from typing import Any

from safefield.backends.base.script import Script
from safefield.backends.mysql.definition import Spelling, take_keys
from safefield.fields import AnyField, copy_field
from safefield.plan import Plan


class MySQLScript(Script):
    """The statements of MySQLSchema."""

    def __init__(self, editor: Any, plan: Plan) -> None:
        super().__init__(editor, plan)
        self.spelling = Spelling(editor, plan)

    def add(self) -> None:
        super().add()
        if self.spelling.wanted.has_foreign_key():
            self._execute("SET SESSION foreign_key_checks = 0")
            self._execute(self.spelling.create_key())
            self._execute("SET SESSION foreign_key_checks = 1")

    def change_type(self) -> None:
        old, interim = self.plan.old_field, self.plan.interim_field
        self._alter_keys(self.plan.model, old, interim)
        if self.spelling.modify(interim) != self.spelling.modify(old):
            self._alter_type(old, interim)

    def enforce(self) -> None:
        wanted, final = self.spelling.wanted, self.plan.final_field
        changes = [self.spelling.modify(final)]
        if final.unique and not self.plan.interim_field.unique:
            changes.append(self.spelling.add_unique())
        self._execute(self.spelling.alter(changes))
        if wanted.has_index() or wanted.has_spatial_index():
            self._execute(self.spelling.create_index())

    def drop(self) -> None:
        field = copy_field(self.plan.field)
        if hasattr(field, "spatial_index"):
            field.spatial_index = False
        self.editor.remove_field(self.plan.new_model, field)

    def restore(self) -> None:
        field, old = self.plan.field, self.plan.old_field
        self._alter_keys(self.plan.new_model, field, old)
        self._alter_type(field, old)

    def _alter_keys(self, model: Any, old: AnyField, new: AnyField) -> None:
        self.editor.alter_field(model, old, take_keys(old, new))

    def _alter_type(self, old: AnyField, new: AnyField) -> None:
        checks = self.spelling.change_check(old, new)
        self._execute(self.spelling.alter([self.spelling.modify(new), *checks]))

    def _execute(self, sql: Any) -> None:
        self.editor.execute(sql, None)
