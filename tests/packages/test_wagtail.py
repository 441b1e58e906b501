"""Wagtail: page bodies (StreamField), children of pages, translatable snippets."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("wagtail")

BEFORE = """
from modelcluster.fields import ParentalKey
from wagtail import blocks
from wagtail.fields import StreamField
from wagtail.models import Orderable, Page, TranslatableMixin

class MoviePage(Page):
    lead = models.CharField(max_length=50)

class Still(Orderable):
    caption = models.CharField(max_length=50)
    movie = models.CharField(max_length=50)

class Country(models.Model):
    name = models.CharField(max_length=50)
"""

AFTER = BEFORE.replace(
    "class Still",
    """\
    body = StreamField([
        ("heading", blocks.CharBlock()),
        ("credits", blocks.ListBlock(blocks.CharBlock())),
    ])
    code = models.SlugField(unique=True)

class Still""",
).replace(
    "class Country(models.Model)",
    """\
    page = ParentalKey(MoviePage, on_delete=models.CASCADE, related_name="stills")

class Country(TranslatableMixin, models.Model)""",
)

FUNCTIONS = journey.read_functions(
    "populate_movie_page_body", "populate_still_page", "populate_country_locale"
) | {
    "populate_movie_page_code": """\
def populate_movie_page_code(movie_page):
    return f"{movie_page.slug}-{movie_page.pk}"
"""
}
((_, FILL_DRAFTS),) = journey.read_functions("fill_drafts").items()

SCRIPT = """
import json

from django.db import connection
from tests.packages.journey import read, resave
from wagtail.models import Locale

def add_rows(apps):
    get = apps.get_model
    locale = get("wagtailcore", "Locale").objects.get(language_code="en")
    kinds = get("contenttypes", "ContentType").objects
    kind = kinds.get_or_create(app_label="films", model="moviepage")[0]
    home = get("wagtailcore", "Page").objects.get(depth=2)
    for number in range(3):
        get("films", "MoviePage").objects.create(
            title=f"Movie {number}", draft_title=f"Movie {number}", slug=f"m{number}",
            path=f"{home.path}{number + 1:04}", depth=3, numchild=0,
            url_path=f"{home.url_path}m{number}/", locale=locale, content_type=kind,
            lead=f"Bob \U0001f3ac {number}",
        )
    home.numchild = 3
    home.save()
    for number in (0, 0, 2):
        get("films", "Still").objects.create(caption="c", movie=f"Movie {number}")
    for name in ("Chile", "Peru"):
        get("films", "Country").objects.create(name=name)

def look():
    pages = list(MoviePage.objects.order_by("pk"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM films_moviepage ORDER BY page_ptr_id")
        raw = [row[0] for row in cursor.fetchall()]
    assert all(json.loads(text) for text in raw), raw
    # What the package stores again of what it has read is what is there.
    filled, saved = resave(MoviePage, lambda page: None)
    assert filled == saved
    assert MoviePage.find_problems() == ([], [], [], [], [])
    filled, saved = resave(Still, lambda still: None)
    assert filled == saved
    countries = list(Country.objects.order_by("pk"))
    assert len({country.translation_key for country in countries}) == 2
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "films_country")
    assert ["translation_key", "locale_id"] in [
        item["columns"] for item in constraints.values() if item["unique"]
    ]
    # The package goes on from here.
    german = Locale.objects.get_or_create(language_code="de")[0]
    copy = countries[0].copy_for_translation(german)
    copy.save()
    assert countries[0].get_translation(german) == copy
    copy.delete()
    pages[0].save_revision().publish()
    # A draft from before, which has no such fields.
    pages[1].title = "Draft"
    revision = pages[1].save_revision()
    for name in ("body", "code"):
        del revision.content[name]
    revision.save()
    assert revision.as_object().code == ""
    fill_drafts()
    pages[1].refresh_from_db()
    draft = pages[1].get_latest_revision_as_object()
    assert (draft.title, draft.code) == ("Draft", pages[1].code)
    assert draft.body == pages[1].body
    draft.save_revision().publish()
    assert MoviePage.objects.get(pk=pages[1].pk).body == pages[1].body
    MoviePage.objects.filter(pk=pages[1].pk).update(title="Movie 1")
    return [
        [
            page.code,
            [[block.block_type, block.get_prep_value()["value"]
              if block.block_type == "heading" else list(block.value)]
             for block in page.body],
            sorted(still.caption for still in page.stills.all()),
        ]
        for page in pages
    ] + [country.locale.language_code for country in countries]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = journey.prepare(
        tmp_path_factory.mktemp("wagtail"),
        apps=[
            "wagtail",
            "modelcluster",
            "taggit",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.staticfiles",
        ],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
        settings='WAGTAIL_SITE_NAME = "Films"\n'
        'WAGTAILADMIN_BASE_URL = "http://localhost"\nSTATIC_URL = "/static/"\n',
    )
    return site


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT + FILL_DRAFTS)

    assert answers["forwards"] == [
        *[
            [
                f"m{number}-{number + 3}",
                [
                    ["heading", f"Movie {number}"],
                    ["credits", ["Ann", f"Bob \U0001f3ac {number}"]],
                ],
                ["c"] * stills,
            ]
            for number, stills in enumerate((2, 0, 1))
        ],
        "en",
        "en",
    ]
