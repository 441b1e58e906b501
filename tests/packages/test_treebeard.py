"""django-treebeard: a flat table is turned into a tree of materialised paths."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("treebeard")

BEFORE = """
class Genre(models.Model):
    name = models.CharField(max_length=50)
"""

AFTER = """
from treebeard.mp_tree import MP_Node

class Genre(MP_Node):
    name = models.CharField(max_length=50)
    slug = models.SlugField(unique=True)
"""

FUNCTIONS = journey.read_functions("populate_genre_path") | {
    "populate_genre_depth": """\
def populate_genre_depth(genre):
    return 1
""",
    "populate_genre_slug": """\
def populate_genre_slug(genre):
    return genre.name.lower()
""",
}

SCRIPT = """
from tests.packages.journey import resave

def add_rows(apps):
    Genre = apps.get_model("films", "Genre")
    for name in ("Drama", "Noir", "Western", "Comedy"):
        Genre.objects.create(name=name)
    Genre.objects.filter(name="Western").delete()

def look():
    def change(genre):
        genre.path = Genre._get_path("", 1, genre.pk)
        genre.depth, genre.slug = 1, genre.name.lower()

    filled, saved = resave(Genre, change)
    assert filled == saved
    assert Genre.find_problems() == ([], [], [], [], [])
    tree = [[node.name, node.path, node.depth] for node in Genre.get_tree()]
    # The package goes on from here.
    root = Genre.add_root(name="New", slug="new")
    root.add_child(name="Leaf", slug="leaf")
    assert Genre.find_problems() == ([], [], [], [], [])
    Genre.objects.get(slug="new").delete()
    return tree
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("treebeard"),
        apps=["treebeard"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["Drama", "0001", 1],
        ["Noir", "0002", 1],
        ["Comedy", "0004", 1],
    ]
