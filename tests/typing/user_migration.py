"""A user's migration, with every argument: mypy --strict has to accept it."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery, Value, Window
from django.db.models.functions import Concat, Lower, RowNumber

import safefield.operations
from safefield import numbered


def populate_movie_slug(movie: Any) -> str:
    return f"movie-{movie.id}"


def populate_movie_year(movie: Any, apps: Any) -> object:
    return apps.get_model("films", "Release").objects.get(movie=movie).year


def restore_movie(movie: Any) -> dict[str, object] | None:
    return {"title": movie.slug} if movie.slug else None


def restore_movie_with_apps(movie: Any, apps: Any) -> dict[str, object]:
    return {"title": apps.get_model("films", "Movie").objects.count()}


def next_title(movie: Any, value: str, n: int) -> str:
    return f"{value} ({n})"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("films", "0001_initial")]

    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="movie",
            name="slug",
            field=models.SlugField(unique=True),
            populate=populate_movie_slug,
            reverse=restore_movie,
            deduplicate=numbered,
            select_related=["director"],
            prefetch_related=("genres", "prizes"),
            batch_size=500,
        ),
        safefield.operations.AddFieldWithBackfill(
            "movie", "year", models.IntegerField(), populate_movie_year
        ),
        safefield.operations.AlterFieldWithBackfill(
            "movie",
            "title",
            models.CharField(max_length=100, unique=True),
            populate=lambda movie: str(movie.id),
            reverse=restore_movie_with_apps,
            deduplicate=next_title,
        ),
        # Without populate: the field's own default, once a row.
        safefield.operations.AddFieldWithBackfill(
            "movie", "rank", models.IntegerField(default=lambda: 7, unique=True)
        ),
        # Query expressions.
        safefield.operations.AddFieldWithBackfill(
            "movie", "sort", models.TextField(), Lower("title")
        ),
        safefield.operations.AddFieldWithBackfill(
            "movie", "land", models.TextField(), F("director__land")
        ),
        safefield.operations.AddFieldWithBackfill(
            "movie", "label", models.TextField(), Concat("title", Value("!"))
        ),
        safefield.operations.AddFieldWithBackfill(
            "movie",
            "position",
            models.IntegerField(),
            Window(RowNumber(), partition_by=F("director"), order_by="id"),
        ),
        safefield.operations.AddFieldWithBackfill(
            "movie",
            "first",
            models.TextField(),
            Subquery(
                models.QuerySet(models.Model).filter(pk=OuterRef("pk")).values("pk")[:1]
            ),
        ),
    ]
