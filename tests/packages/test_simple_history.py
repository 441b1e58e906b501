"""django-simple-history: a second table, which has the rows that are gone as well."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("simple_history")

BEFORE = """
from simple_history.models import HistoricalRecords

class Movie(models.Model):
    title = models.CharField(max_length=50)
    history = HistoricalRecords()
"""

AFTER = BEFORE + "    slug = models.SlugField(unique=True)\n"

FILES = journey.read_file("films/backfills.py")
FUNCTIONS = journey.read_functions(
    "populate_movie_slug", "populate_historical_movie_slug"
)

SCRIPT = """
from tests.packages.journey import resave
from films.backfills import make_slug

def add_rows(apps):
    Movie = apps.get_model("films", "Movie")
    Record = apps.get_model("films", "HistoricalMovie")
    for pk, titles in enumerate((["Alien"], ["Draft", "Heat"], ["Gone"]), 1):
        for version, title in enumerate(titles):
            Record.objects.create(
                id=pk, title=title, history_type="~" if version else "+",
                history_date=f"2026-01-0{version + 1}T00:00:00Z",
            )
        Movie.objects.create(pk=pk, title=title)
    Movie.objects.get(title="Gone").delete()
    Record.objects.create(
        id=3, title="Gone", history_type="-", history_date="2026-01-03T00:00:00Z"
    )

def look():
    def change(movie):
        movie.skip_history_when_saving = True
        movie.slug = make_slug(movie)

    filled, saved = resave(Movie, change)
    assert filled == saved
    for movie in Movie.objects.all():
        # What the package itself takes for the state of now.
        assert movie.history.latest().instance == movie
        assert movie.history.latest().instance.slug == movie.slug
    return [
        [record.instance.slug, record.history_type]
        for record in Movie.history.order_by("history_id")
    ]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("history"),
        apps=["django.contrib.auth", "django.contrib.contenttypes", "simple_history"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
        files=FILES,
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["alien-1", "+"],
        ["draft-2", "+"],
        ["heat-2", "~"],
        ["gone-3", "+"],
        ["gone-3", "-"],
    ]
