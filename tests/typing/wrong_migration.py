"""
Mistakes in a user's migration that mypy --strict has to find.

Each has its `type: ignore`; warn_unused_ignores makes mypy fail where one is accepted.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill

text = models.TextField()


def populate(row: Any) -> str:
    return "text"


AddFieldWithBackfill("movie", "text", "TextField", populate)  # type: ignore[arg-type]
AddFieldWithBackfill("movie", text, populate)  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, "text")  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, populate=7)  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, reverse="text")  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, deduplicate=2)  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, batch_size="9")  # type: ignore[arg-type]
AddFieldWithBackfill("movie", "text", text, batches=9)  # type: ignore[call-arg]
AddFieldWithBackfill("movie", "text")  # type: ignore[call-arg]
AlterFieldWithBackfill("movie", "text", text, select_related=4)  # type: ignore[arg-type]
AlterFieldWithBackfill("movie", "text", text, None, None, populate)  # type: ignore[call-arg]
