"""PostgreSQL: what sqlmigrate prints of a backfill."""

from __future__ import annotations

from safefield.backends.base.locks import Locks
from safefield.backends.base.script import Script
from safefield.backends.postgresql.catalogue import PostgreSQLCatalogue
from safefield.backends.postgresql.online import OnlineSteps


class PostgreSQLScript(Script):
    """In an atomic migration Django's own statements, else the online steps."""

    def enforce(self) -> None:
        connection = self.editor.connection
        catalogue = PostgreSQLCatalogue(self.editor, self.plan)
        if connection.in_atomic_block or self.editor.atomic_migration:
            super().enforce()
            if renaming := catalogue.spell_unique_renaming():
                self.editor.execute(renaming, None)
            return
        # With the locks of no database: nobody is waited for.
        steps = OnlineSteps(catalogue, Locks(connection, self.plan))
        steps.run(lambda: self.comment("Python: fill the rows inserted meanwhile"))

    def drop(self) -> None:
        self._settle()
        super().drop()

    def restore(self) -> None:
        self._settle()
        super().restore()

    def _settle(self) -> None:
        if self.editor.connection.in_atomic_block:
            self.editor.execute("SET CONSTRAINTS ALL IMMEDIATE", None)
            self.editor.execute("SET CONSTRAINTS ALL DEFERRED", None)
