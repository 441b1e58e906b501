"""django-fernet-encrypted-fields: the same value is another text each time."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("encrypted_fields")

BEFORE = """
from encrypted_fields.fields import (
    EncryptedCharField,
    EncryptedDateField,
    EncryptedIntegerField,
    EncryptedTextField,
)

class Person(models.Model):
    name = models.CharField(max_length=50)
    note = EncryptedTextField(null=True)
"""

AFTER = (
    BEFORE.replace("null=True", "")
    + """\
    secret = EncryptedCharField(max_length=50)
    pin = EncryptedIntegerField()
    born = EncryptedDateField()
"""
)

FUNCTIONS = {
    "populate_person_secret": """\
def populate_person_secret(person):
    return f"{person.name} \u20ac\U0001f511"
""",
    "populate_person_pin": """\
def populate_person_pin(person):
    return 1000 + person.pk
""",
    "populate_person_born": """\
def populate_person_born(person):
    import datetime

    return datetime.date(1990, 1, person.pk)
""",
    "populate_person_note": """\
def populate_person_note(person):
    return person.name * 100
""",
}

SCRIPT = """
from tests.packages.journey import read

def add_rows(apps):
    Person = apps.get_model("films", "Person")
    for name in ("Ada", "Bob"):
        Person.objects.create(name=name)
    Person.objects.create(name="Eve", note="as it was")

def look():
    stored = read("films_person")
    texts = [value for row in stored for value in row[2:]]
    # Each is a token of its own, and none is what it stands for.
    assert len(set(texts)) == len(texts) == 12
    assert all(text.startswith("'gAAAA") for text in texts), texts
    people = list(Person.objects.order_by("pk"))
    for person in people:
        person.save()
    assert people == list(Person.objects.order_by("pk"))
    return [
        [person.secret, person.pin, person.born.isoformat(), person.note[:9]]
        for person in Person.objects.order_by("pk")
    ]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("encrypted"),
        apps=["encrypted_fields"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
        settings='SALT_KEY = "salt"\n',
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["Ada \u20ac\U0001f511", 1001, "1990-01-01", "AdaAdaAda"],
        ["Bob \u20ac\U0001f511", 1002, "1990-01-02", "BobBobBob"],
        ["Eve \u20ac\U0001f511", 1003, "1990-01-03", "as it was"],
    ]
