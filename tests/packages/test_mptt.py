"""django-mptt: a column for the parent is turned into a tree with four numbers."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("mptt")

BEFORE = """
class Genre(models.Model):
    name = models.CharField(max_length=50)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)
"""

AFTER = """
from mptt.models import MPTTModel, TreeForeignKey

class Genre(MPTTModel):
    name = models.CharField(max_length=50)
    parent = TreeForeignKey("self", models.CASCADE, null=True, blank=True)
    slug = models.SlugField(unique=True)
"""

FILES = journey.read_file("films/tree.py")
((_, LEFT),) = journey.read_functions("populate_genre_lft").items()
FUNCTIONS = {
    # As the page says.
    f"populate_genre_{name}": LEFT.replace("_lft", f"_{name}").replace(
        "[0]", f"[{position}]"
    )
    for position, name in enumerate(("lft", "rght", "tree_id", "level"))
} | {
    "populate_genre_slug": """\
def populate_genre_slug(genre):
    return f"{genre.parent_id}-{genre.name}"
"""
}

SCRIPT = """
from tests.packages.journey import read

def add_rows(apps):
    Genre = apps.get_model("films", "Genre")
    for pk, parent in enumerate((None, 1, None, 1, 2, 2, None, 3, 5), 1):
        Genre.objects.create(name=f"g{pk}", parent_id=parent)

def look():
    filled = read("films_genre")
    Genre.objects.rebuild()
    assert read("films_genre") == filled
    return [
        [node.name, *(other.name for other in node.get_ancestors())]
        for node in Genre.objects.order_by("tree_id", "lft")
    ]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("mptt"),
        apps=["mptt"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
        files=FILES,
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["g1"],
        ["g2", "g1"],
        ["g5", "g1", "g2"],
        ["g9", "g1", "g2", "g5"],
        ["g6", "g1", "g2"],
        ["g4", "g1"],
        ["g3"],
        ["g8", "g3"],
        ["g7"],
    ]
