"""What sqlmigrate prints of a backfill, which neither reads nor changes a row."""

from __future__ import annotations

from typing import Any

from safefield.plan import Plan


class Script:
    """The statements for a table of which nothing is done yet."""

    def __init__(self, editor: Any, plan: Plan) -> None:
        self.editor = editor
        self.plan = plan

    def forwards(self) -> None:
        """Add or alter the column, fill it, and enforce the final definition."""
        if self.plan.old_field is None:
            self.add()
        else:
            self.change_type()
        self.comment(f"Python: fill {self.plan.title} from {self.plan.source_name}")
        self.enforce()

    def backwards(self) -> None:
        """Write back what reverse says, then remove the column."""
        if self.plan.reverse is not None:
            self.comment(f"Python: reverse {self.plan.title} row by row")
        if self.plan.old_field is None:
            self.drop()
        else:
            self.restore()

    def comment(self, text: str) -> None:
        """Add a line of comment."""
        self.editor.collected_sql.append(f"-- {text}")

    # As the schema of the database does it

    def add(self) -> None:
        """Add the column, nullable and bare."""
        self.editor.add_field(self.plan.model, self.plan.interim_field)

    def change_type(self) -> None:
        """Give an existing column its new type, still nullable."""
        self.editor.alter_field(
            self.plan.model, self.plan.old_field, self.plan.interim_field
        )

    def enforce(self) -> None:
        """Give the filled column all that the final field asks for."""
        self.editor.alter_field(
            self.plan.model, self.plan.interim_field, self.plan.final_field
        )

    def drop(self) -> None:
        """Remove the column."""
        self.editor.remove_field(self.plan.new_model, self.plan.field)

    def restore(self) -> None:
        """Give an altered column back the definition from before."""
        self.editor.alter_field(
            self.plan.new_model, self.plan.field, self.plan.old_field
        )
