"""People, whose two names are made one, and two again on the way back."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

PERSON = migrations.CreateModel(
    "Person",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("first_name", models.CharField(max_length=50)),
        ("last_name", models.CharField(max_length=50)),
    ],
)


def join_names(person: Any) -> str:
    """Return the full name, as a populate function."""
    return f"{person.first_name} {person.last_name}"


def split_name(person: Any) -> dict[str, str]:
    """Return the two names, as a reverse function."""
    first_name, last_name = person.full_name.rsplit(" ", 1)
    return {"first_name": first_name, "last_name": last_name}
