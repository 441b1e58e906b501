"""Load the films of data/movies.csv into an empty table."""

from __future__ import annotations

import csv
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from films.models import Movie

#: Rows in one INSERT; Django makes it fewer where a database takes fewer.
BATCH_ROWS = 5_000


class Command(BaseCommand):
    """Loads all films or none; does nothing where there are films already."""

    help = "Loads the films of data/movies.csv, unless there are films already."

    def add_arguments(self, parser):
        parser.add_argument(
            "path",
            nargs="?",
            type=Path,
            default=settings.BASE_DIR / "data" / "movies.csv",
            help="a CSV file with the columns title, year and genres",
        )

    def handle(self, *args, path, **options):
        if count := Movie.objects.count():
            self.stdout.write(f"There are {count:,} films already; nothing was loaded.")
            return
        with path.open(encoding="utf-8", newline="") as file:
            movies = [Movie(**row) for row in csv.DictReader(file)]
        with transaction.atomic():
            Movie.objects.bulk_create(movies, batch_size=BATCH_ROWS)
        self.stdout.write(f"Loaded {len(movies):,} films.")
