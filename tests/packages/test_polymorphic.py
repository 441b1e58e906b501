"""django-polymorphic: rows of several models in the table of their parent."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("polymorphic")

BEFORE = """
from polymorphic.models import PolymorphicModel

class Work(PolymorphicModel):
    title = models.CharField(max_length=50)

class Movie(Work):
    minutes = models.IntegerField()

class Series(Work):
    seasons = models.IntegerField()

class Award(models.Model):
    name = models.CharField(max_length=50)

class Oscar(Award):
    year = models.IntegerField()
"""

# A parent and a child get a field each, and a family of models becomes polymorphic.
AFTER = (
    BEFORE.replace(
        "title = models.CharField(max_length=50)\n",
        "title = models.CharField(max_length=50)\n"
        "    slug = models.SlugField(unique=True)\n",
    )
    .replace("minutes = models.IntegerField()", "length = models.DurationField()")
    .replace("class Award(models.Model)", "class Award(PolymorphicModel)")
)
AFTER = AFTER.replace("length = ", "minutes = models.IntegerField()\n    length = ")

FUNCTIONS = {
    "populate_work_slug": """\
def populate_work_slug(work):
    return f"{work.title.lower()}-{work.pk}"
""",
    "populate_movie_length": """\
def populate_movie_length(movie):
    import datetime

    return datetime.timedelta(minutes=movie.minutes)
""",
}

# For what makemigrations writes as a plain AddField, because the field is nullable.
((_, POPULATE_TYPE),) = journey.read_functions("populate_award_type").items()

SCRIPT = """
import datetime
from tests.packages.journey import read, resave

def add_rows(apps):
    ContentType = apps.get_model("contenttypes", "ContentType")
    def kind(name):
        return ContentType.objects.get_or_create(app_label="films", model=name)[0]
    get = apps.get_model
    get("films", "Work").objects.create(title="Talk", polymorphic_ctype=kind("work"))
    for n in range(3):
        get("films", "Movie").objects.create(
            title=f"M{n}", minutes=90 + n, polymorphic_ctype=kind("movie")
        )
    get("films", "Series").objects.create(
        title="S", seasons=2, polymorphic_ctype=kind("series")
    )
    get("films", "Award").objects.create(name="Best dog")
    get("films", "Oscar").objects.create(name="Oscar", year=1950)

def look():
    def change(work):
        work.slug = f"{work.title.lower()}-{work.pk}"
        if isinstance(work, Movie):
            work.length = datetime.timedelta(minutes=work.minutes)

    before = read("films_movie")
    filled, saved = resave(Work, change)
    assert filled == saved
    assert before == resave(Movie, change)[1]
    # The package fills polymorphic_ctype itself where a row is saved.
    filled, saved = resave(Award, lambda award: None)
    assert filled == saved
    return [
        [type(item).__name__, getattr(item, "slug", None)]
        for model in (Work, Award) for item in model.objects.order_by("pk")
    ]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = journey.prepare(
        tmp_path_factory.mktemp("polymorphic"),
        apps=["django.contrib.contenttypes", "polymorphic"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
    )
    journey.replace_addition(site, "award", "polymorphic_ctype", POPULATE_TYPE)
    return site


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["Work", "talk-1"],
        ["Movie", "m0-2"],
        ["Movie", "m1-3"],
        ["Movie", "m2-4"],
        ["Series", "s-5"],
        ["Award", None],
        ["Oscar", None],
    ]
