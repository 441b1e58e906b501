"""django-modeltranslation: a column for each language beside the field."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("modeltranslation")

BEFORE = """
class Movie(models.Model):
    title = models.CharField(max_length=50)
"""

AFTER = BEFORE + "    teaser = models.CharField(max_length=80)\n"

TRANSLATION = """\
from modeltranslation.translator import TranslationOptions, translator

from films.models import Movie


class MovieOptions(TranslationOptions):
    fields = [
        name
        for name in ("title", "teaser")
        if name in [field.name for field in Movie._meta.fields]
    ]


translator.register(Movie, MovieOptions)
"""

FUNCTIONS = {
    "populate_movie_teaser": """\
def populate_movie_teaser(movie):
    return f"See {movie.title}!"
"""
}

SCRIPT = """
from django.core.management import call_command
from django.utils.translation import override
from tests.packages.journey import read, resave

def add_rows(apps):
    for n in range(3):
        apps.get_model("films", "Movie").objects.create(
            title=f"M{n}", title_en=f"M{n}", title_de=f"D{n}" if n else None
        )

def look():
    # The field itself has its value; what the project reads is another column.
    assert list(Movie._base_manager.values_list("teaser_en", flat=True)) == [None] * 3
    # As docs/other-packages.md says.
    call_command("update_translation_fields", "films", verbosity=0)
    def change(movie):
        movie.teaser = f"See {movie.title_en}!"

    with override("en"):
        filled, saved = resave(Movie, change)
        assert filled == saved
        return [[movie.title, movie.teaser] for movie in Movie.objects.order_by("pk")]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("translation"),
        apps=["modeltranslation"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
        settings='LANGUAGES = [("en", "English"), ("de", "German")]\n'
        'LANGUAGE_CODE = "en"\n',
        files={"films/translation.py": TRANSLATION},
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["M0", "See M0!"],
        ["M1", "See M1!"],
        ["M2", "See M2!"],
    ]
