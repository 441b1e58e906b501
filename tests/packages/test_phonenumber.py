"""django-phonenumber-field: assigning a text makes an object of it."""

from __future__ import annotations

import pytest

from tests.packages import films, journey
from tests.support.site import Site

films.require("phonenumber_field")

BEFORE = """
from phonenumber_field.modelfields import PhoneNumberField

class Studio(models.Model):
    digits = models.CharField(max_length=20)
    fax = PhoneNumberField(null=True)
"""

AFTER = (
    BEFORE.replace("null=True", "")
    + "    phone = PhoneNumberField(unique=True, region='DE')\n"
)

FUNCTIONS = {
    # A text.
    "populate_studio_phone": """\
def populate_studio_phone(studio):
    return studio.digits
""",
    # An object.
    "populate_studio_fax": """\
def populate_studio_fax(studio):
    from phonenumber_field.phonenumber import PhoneNumber

    return PhoneNumber.from_string(studio.digits, region="DE")
""",
}

SCRIPT = """
from phonenumber_field.phonenumber import PhoneNumber
from tests.packages.journey import resave

def add_rows(apps):
    Studio = apps.get_model("films", "Studio")
    for digits in ("030 2345678", "+49 89 1234567", "0211 / 9876543"):
        Studio.objects.create(digits=digits)
    Studio.objects.create(digits="+1 212 555 0123", fax="+12125550199")

def look():
    def change(studio):
        studio.phone = studio.digits
        if studio.pk != 4:
            studio.fax = PhoneNumber.from_string(studio.digits, region="DE")

    filled, saved = resave(Studio, change)
    assert filled == saved
    return [
        [studio.phone.as_e164, studio.fax.as_e164, studio.phone.is_valid()]
        for studio in Studio.objects.order_by("pk")
    ]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return journey.prepare(
        tmp_path_factory.mktemp("phone"),
        apps=["phonenumber_field"],
        before=BEFORE,
        after=AFTER,
        functions=FUNCTIONS,
    )


def test_there_and_back(site: Site, alias: str) -> None:
    answers = journey.travel(site, alias, SCRIPT)

    assert answers["forwards"] == [
        ["+49302345678", "+49302345678", True],
        ["+49891234567", "+49891234567", True],
        ["+492119876543", "+492119876543", True],
        ["+12125550123", "+12125550199", True],
    ]
