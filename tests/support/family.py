"""Models that inherit from each other, each with a table of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

ID = ("id", models.BigAutoField(primary_key=True))

TITLE = ("title", models.CharField(max_length=100))


def child(name: str, parent: str, *fields: Any) -> migrations.CreateModel:
    """Return the operation that makes a model on top of another."""
    link = models.OneToOneField(
        f"films.{parent}",
        models.CASCADE,
        parent_link=True,
        auto_created=True,
        primary_key=True,
        serialize=False,
    )
    return migrations.CreateModel(
        name,
        [(f"{parent.lower()}_ptr", link), *fields],
        bases=(f"films.{parent}",),
    )


FAMILY: Sequence[Operation] = [
    migrations.CreateModel("Work", [ID, TITLE]),
    child("Movie", "Work", ("year", models.IntegerField())),
    child("Remake", "Movie", ("better", models.BooleanField(default=False))),
]
