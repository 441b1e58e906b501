"""What the developer in the story types: each change as what was there and what is."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """One place in one file."""

    path: str
    old: str
    new: str


ADD_SLUG_TO_MODEL = Change(
    "films/models.py",
    """\
    genres = models.CharField(max_length=100, blank=True)
""",
    """\
    genres = models.CharField(max_length=100, blank=True)
    slug = models.SlugField(max_length=420, unique=True)
""",
)

ADD_SLUG_TO_ADMIN = Change(
    "films/admin.py",
    """\
    list_display = ["title", "year", "genres"]
""",
    """\
    list_display = ["title", "year", "genres", "slug"]
    prepopulated_fields = {"slug": ["title", "year"]}
""",
)

ADD_SLUG_TO_SEARCH = Change(
    "films/views.py",
    """\
    search_fields = ["title"]
""",
    """\
    search_fields = ["title", "slug"]
""",
)

MIGRATION = "films/migrations/0002_movie_slug.py"

IMPORT_SLUGIFY = Change(
    MIGRATION,
    """\
from django.db import migrations, models
""",
    """\
from django.db import migrations, models
from django.utils.text import slugify
""",
)

WRITE_FUNCTION = Change(
    MIGRATION,
    """\
    raise NotImplementedError("Write populate_movie_slug() before running migrate.")
""",
    """\
    return slugify(f"{movie.title} {movie.year} {movie.id}")
""",
)
