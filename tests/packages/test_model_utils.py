"""django-model-utils: managers that hide rows, trackers, fields with own defaults."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("model_utils")

BEFORE = """
from model_utils import Choices, FieldTracker
from model_utils.fields import MonitorField, SplitField, StatusField, UrlsafeTokenField
from model_utils.models import SoftDeletableModel, TimeStampedModel

class Post(SoftDeletableModel, TimeStampedModel):
    STATUS = Choices("draft", "published")
    title = models.CharField(max_length=50)
    status = StatusField()
    checked = MonitorField(monitor="status", null=True)
    tracker = FieldTracker()

class Note(models.Model):
    title = models.CharField(max_length=50)
"""

AFTER = (
    BEFORE.replace(", null=True", "").replace(
        "    tracker",
        """\
    slug = models.SlugField(unique=True)
    token = UrlsafeTokenField(unique=True, max_length=40)
    tracker""",
    )
    + "    body = SplitField()\n"
)

FUNCTIONS = {
    "populate_post_slug": """\
def populate_post_slug(post):
    return f"{post.title.lower()}-{post.pk}"
""",
    # Its excerpt is set by pre_save(), not by assigning it.
    "populate_note_body": """\
def populate_note_body(note):
    return f"{note.title}\\n\\none\\n\\ntwo"
""",
    "populate_note__body_excerpt": """\
def populate_note__body_excerpt(note):
    from model_utils.fields import get_excerpt

    return get_excerpt(f"{note.title}\\n\\none\\n\\ntwo")
""",
    "populate_post_token": """\
def populate_post_token(post):
    import secrets

    return secrets.token_urlsafe(24)
""",
}

SCRIPT = """
from tests.packages.journey import resave

def add_rows(apps):
    Post = apps.get_model("films", "Post")
    for n in range(4):
        Post._base_manager.create(
            title=f"P{n}", is_removed=n == 2, status="published" if n else "draft"
        )
    apps.get_model("films", "Note").objects.create(title="N")

def look():
    def change(post):
        post.slug = f"{post.title.lower()}-{post.pk}"

    def change_note(note):
        note.body = f"{note.title}\\n\\none\\n\\ntwo"

    filled, saved = resave(Note, change_note)
    assert filled == saved
    filled, saved = resave(Post, change)
    # Only what save() itself sets: `modified`, the third column.
    assert [row[:2] + row[3:] for row in filled] == [row[:2] + row[3:] for row in saved]
    tokens = set(Post.all_objects.values_list("token", flat=True))
    assert {len(token) for token in tokens} == {32} and len(tokens) == 4
    assert Post.objects.get(pk=1).tracker.changed() == {}
    posts = list(Post.all_objects.order_by("pk"))
    return [[post.slug, post.is_removed, post.status] for post in posts]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("model_utils"),
        apps=["model_utils"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["p0-1", False, "draft"],
        ["p1-2", False, "published"],
        ["p2-3", True, "published"],
        ["p3-4", False, "published"],
    ]
