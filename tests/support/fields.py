"""A column of each kind that the contract is for."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

from django.db import models

from tests.support.movies import (
    slug_of,
    studio_of,
)

#: Name, the field, populate, and what the five movies of 1900 to 1904 get.
FIELDS: dict[str, tuple[models.Field[Any, Any], Callable[..., Any] | None, Any]] = {
    "unique slug": (
        models.SlugField(unique=True),
        slug_of,
        [f"film-number-{n}" for n in range(5)],
    ),
    "indexed char": (
        models.CharField(max_length=30, db_index=True),
        lambda movie: movie.title.upper(),
        [f"FILM NUMBER {n}" for n in range(5)],
    ),
    "text with a Python default": (
        models.TextField(default="none", blank=True),
        lambda movie: "" if movie.year == 1900 else movie.title,
        ["", *(f"Film Number {n}" for n in range(1, 5))],
    ),
    "char with a comment": (
        models.CharField(max_length=30, db_comment="It's the title"),
        lambda movie: movie.title,
        [f"Film Number {n}" for n in range(5)],
    ),
    "boolean with a default": (
        models.BooleanField(default=True),
        None,
        [True] * 5,
    ),
    "positive integer": (
        models.PositiveIntegerField(),
        lambda movie: movie.year - 1900,
        [0, 1, 2, 3, 4],
    ),
    "integer with a database default": (
        models.IntegerField(db_default=7),
        lambda movie: movie.year,
        [1900, 1901, 1902, 1903, 1904],
    ),
    "decimal": (
        models.DecimalField(max_digits=8, decimal_places=3),
        lambda movie: decimal.Decimal(movie.year) / 8,
        [decimal.Decimal(1900 + n) / 8 for n in range(5)],
    ),
    "JSON": (
        models.JSONField(),
        lambda movie: {"title": movie.title, "tags": [movie.year, None]},
        [{"title": f"Film Number {n}", "tags": [1900 + n, None]} for n in range(5)],
    ),
    "date": (
        models.DateField(),
        lambda movie: dt.date(movie.year, 2, 1),
        [dt.date(1900 + n, 2, 1) for n in range(5)],
    ),
    "aware datetime": (
        models.DateTimeField(),
        lambda movie: dt.datetime(movie.year, 2, 1, 12, 30, tzinfo=dt.timezone.utc),
        [dt.datetime(1900 + n, 2, 1, 12, 30, tzinfo=dt.timezone.utc) for n in range(5)],
    ),
    "foreign key by instance, created on demand": (
        models.ForeignKey("films.Studio", models.CASCADE),
        studio_of,
        None,
    ),
    "nullable foreign key": (
        models.ForeignKey("films.Studio", models.CASCADE, null=True, db_index=False),
        studio_of,
        None,
    ),
    "nullable indexed char": (
        models.CharField(max_length=30, db_index=True, null=True),
        lambda movie: movie.title.upper(),
        [f"FILM NUMBER {n}" for n in range(5)],
    ),
    "one-to-one by key": (
        models.OneToOneField("films.Studio", models.CASCADE),
        lambda movie, apps: (
            apps.get_model("films", "Studio")
            .objects.using(movie._state.db)
            .create(name=f"Only {movie.pk}")
            .pk
        ),
        None,
    ),
    "foreign key without a constraint": (
        models.ForeignKey("films.Studio", models.DO_NOTHING, db_constraint=False),
        lambda movie: movie.year,
        None,
    ),
    "self-referential foreign key": (
        models.ForeignKey("self", models.CASCADE, db_column="sequel_of"),
        lambda movie: movie,
        None,
    ),
}
