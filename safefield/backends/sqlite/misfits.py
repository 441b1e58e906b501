"""SQLite: a column keeps what it is given, of whatever type."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, F, Func

from safefield.backends.base.misfits import ALWAYS, is_stock
from safefield.fields import AnyField

IS_NO_TEXT = "typeof({0}) <> 'text'"

#: A fraction of a second, or nothing, after so many characters.
IS_NO_FRACTION = (
    "(length({0}) > {1} AND (substr({0}, {1} + 1, 1) <> '.' OR length({0}) = {1} + 1 "
    "OR length({0}) > {1} + 7 OR substr({0}, {1} + 2) GLOB '*[^0-9]*'))"
)

#: What is not as save() writes it, by internal type. Columns make texts of numbers,
#: or numbers of texts, where that loses nothing. Without a modifier 30 February is a
#: date to SQLite, and so is one in the year 0, which Python does not have.
CONDITIONS = {
    **dict.fromkeys(
        ("CharField", "EmailField", "FileField", "SlugField", "TextField", "URLField"),
        IS_NO_TEXT,
    ),
    "BinaryField": "typeof({0}) <> 'blob'",
    "BooleanField": "{0} NOT IN (0, 1)",
    "DateField": (
        f"{IS_NO_TEXT} OR substr({{0}}, 1, 4) = '0000' OR "
        f"{{0}} <> coalesce(date({{0}}, '+0 days'), '')"
    ),
    "DateTimeField": (
        f"{IS_NO_TEXT} OR substr({{0}}, 1, 4) = '0000' OR substr({{0}}, 1, 19) <> "
        f"coalesce(datetime(substr({{0}}, 1, 19), '+0 days'), '') OR "
        + IS_NO_FRACTION.replace("{1}", "19")
    ),
    "TimeField": (
        f"{IS_NO_TEXT} OR substr({{0}}, 1, 8) <> "
        f"coalesce(time(substr({{0}}, 1, 8)), '') OR "
        + IS_NO_FRACTION.replace("{1}", "8")
    ),
    "DurationField": "typeof({0}) <> 'integer'",
    "FloatField": "typeof({0}) NOT IN ('integer', 'real')",
    "UUIDField": f"{IS_NO_TEXT} OR length({{0}}) <> 32 OR {{0}} GLOB '*[^0-9a-f]*'",
}


def find_misfits(connection: Any, field: AnyField) -> Any:
    """Return the condition on rows whose value may be none of the field's."""
    kind = field.get_internal_type()
    if not is_stock(field):
        return None
    if kind == "GenericIPAddressField":
        return ALWAYS
    condition = CONDITIONS.get(kind)
    if kind == "DecimalField" and field.max_digits:
        # Places are rounded as they are read, and as the other databases write them.
        places = field.decimal_places
        condition = (
            "typeof({0}) NOT IN ('integer', 'real') "
            f"OR abs(round({{0}}, {places})) >= 1e{field.max_digits - places}"
        )
    elif kind in connection.ops.integer_field_ranges:
        # Those of the other databases, as it has none of its own.
        least, greatest = connection.ops.integer_field_ranges[kind]
        condition = (
            "typeof({0}) <> 'integer' OR "
            f"{{0}} NOT BETWEEN {int(least)} AND {int(greatest)}"
        )
    if condition is None:
        return None
    template = f"({condition})".replace("{0}", "%(expressions)s")
    return Func(F(field.attname), template=template, output_field=BooleanField())
