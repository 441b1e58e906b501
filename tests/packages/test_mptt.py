"""django-mptt: a column for the parent is turned into a tree with four numbers."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.site import Site

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

# As docs/other-packages.md has it.
FILES = {
    "films/tree.py": """\
def number_nodes(model, alias):
    \"\"\"Return lft, rght, tree_id and level of each node by its key.\"\"\"
    children = {}
    nodes = model._base_manager.using(alias).order_by("pk")
    for pk, parent in nodes.values_list("pk", "parent"):
        children.setdefault(parent, []).append(pk)
    numbers = {}

    def visit(pk, tree, level, left):
        right = left + 1
        for child in children.get(pk, ()):
            right = visit(child, tree, level + 1, right) + 1
        numbers[pk] = (left, right, tree, level)
        return right

    for tree, root in enumerate(children.get(None, ()), 1):
        visit(root, tree, 0, 1)
    return numbers
"""
}
FUNCTIONS = {
    f"populate_genre_{name}": f"""\
    from films.tree import number_nodes

    return number_nodes(type(genre), genre._state.db)[genre.pk][{position}]
"""
    for position, name in enumerate(("lft", "rght", "tree_id", "level"))
} | {"populate_genre_slug": '    return f"{genre.parent_id}-{genre.name}"\n'}

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
