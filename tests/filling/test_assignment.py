"""Fields whose assignment does more than set a column, compared with save()."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.test import override_settings

from safefield import BackfillError
from safefield.filling.assignment import has_own_attribute
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.history import History
from tests.support.rehearsals import rehearse
from tests.support.sessions import Session


@dataclasses.dataclass(frozen=True)
class Weight:
    """An amount with its unit, which go into two columns."""

    amount: Decimal
    unit: str


class WeightAttribute:
    """As that of django-money: sets the unit as well, and gives both together."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        amount = instance.__dict__[self.field.name]
        return amount and Weight(amount, instance.__dict__[f"{self.field.name}_unit"])

    def __set__(self, instance: Any, value: Any) -> None:
        if isinstance(value, Weight):
            instance.__dict__[f"{self.field.name}_unit"] = value.unit
            value = value.amount
        instance.__dict__[self.field.name] = self.field.to_python(value)


class WeightField(models.DecimalField):
    """A field that brings its unit along, as django-money's does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_digits": 8, "decimal_places": 2, **kwargs})

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kw: Any) -> None:
        if f"{name}_unit" not in [field.name for field in cls._meta.fields]:
            cls.add_to_class(f"{name}_unit", UnitField(max_length=5, default="kg"))
        super().contribute_to_class(cls, name, *args, **kw)
        setattr(cls, name, WeightAttribute(self))

    def to_python(self, value: Any) -> Any:
        return super().to_python(getattr(value, "amount", value))

    def run_validators(self, value: Any) -> None:
        super().run_validators(getattr(value, "amount", value))

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(getattr(value, "amount", value), connection)


class UnitField(models.CharField):
    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kw: Any) -> None:
        if name not in [field.name for field in cls._meta.fields]:
            super().contribute_to_class(cls, name, *args, **kw)


class SettingAttribute:
    """Sets its column, and then does what the field says."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.__dict__[self.field.attname]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value
        if value is not None:
            self.field.also(instance, value)


class SettingField(models.CharField):
    """A text, of which `also` tells what assigning it does besides."""

    attribute = SettingAttribute

    def __init__(self, *args: Any, also: Any = None, **kwargs: Any) -> None:
        self.also: Callable[[Any, Any], None] = also
        super().__init__(*args, **{"max_length": 20, **kwargs})

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "also": self.also}

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kw: Any) -> None:
        super().contribute_to_class(cls, name, *args, **kw)
        setattr(cls, self.attname, self.attribute(self))


STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True))]
)
ITEM = migrations.CreateModel(
    "Item",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("grams", models.IntegerField(null=True)),
        ("note", models.CharField(max_length=20, blank=True, default="")),
        ("data", models.JSONField(default=dict)),
        ("studio", models.ForeignKey("films.Studio", models.CASCADE, null=True)),
    ],
)
ADD_UNIT = migrations.AddField("item", "load_unit", UnitField(max_length=5, default=""))


def make(alias: str, *, rows: int = 3, atomic: bool = False) -> History:
    history = History(alias, atomic=atomic)
    history.apply(STUDIO, ITEM)
    for pk in (1, 2):
        history.rows("Studio").create(pk=pk)
    for number in range(rows):
        history.rows("Item").create(
            title=f"Item {number}", data={"n": number}, studio_id=1
        )
    return history


def read(history: History, *names: str) -> list[tuple[Any, ...]]:
    """Return what the server has in these columns, by primary key."""
    with history.connection.cursor() as cursor:
        quote = history.connection.ops.quote_name
        columns = ", ".join(map(quote, names))
        cursor.execute(f"SELECT {columns} FROM films_item ORDER BY id")
        return [tuple(row) for row in cursor.fetchall()]


def populate_load(item: Any) -> Any:
    return [Weight(Decimal("1.50"), "t"), Decimal("2.25"), Weight(Decimal(3), "lb")][
        item.pk % 3
    ]


# Fails if only the column of the field is written, or a plain value is refused.
def test_writes_what_save_writes(alias: str) -> None:
    history = make(alias, rows=7)
    history.apply(ADD_UNIT)
    history.rows("Item").filter(pk=2).update(load_unit="oz")

    history.apply(AddFieldWithBackfill("item", "load", WeightField(), populate_load))

    filled = read(history, "id", "load", "load_unit", "title", "data")
    history.rows("Item").update(load_unit="")
    history.rows("Item").filter(pk=2).update(load_unit="oz")
    for item in history.rows("Item"):
        item.load = populate_load(item)
        item.save()
    assert filled == read(history, "id", "load", "load_unit", "title", "data")
    assert [row[1:3] for row in filled[:3]] == [
        (Decimal("2.25"), ""),
        (Decimal("3"), "lb"),
        (Decimal("1.5"), "t"),
    ]
    history.unapply()
    history.apply(AddFieldWithBackfill("item", "load", WeightField(), populate_load))


SETTERS: dict[str, Callable[[Any, Any], None]] = {
    "a text": lambda item, value: setattr(item, "note", value * 2),
    "a text in some rows": lambda item, value: setattr(
        item, "note", "odd" if item.pk % 2 else item.note
    ),
    "two columns": lambda item, value: item.__dict__.update(note="x", grams=len(value)),
    "NULL": lambda item, value: setattr(item, "studio_id", None),
    "the key of a foreign key": lambda item, value: setattr(item, "studio_id", 2),
    "an object in place": lambda item, value: item.data.update(label=value),
    "nothing": lambda item, value: setattr(item, "_cache", value),
}


# Fails if a change of one of these kinds is not seen, or is written to rows that it
# does not concern.
@pytest.mark.parametrize("name", SETTERS)
@pytest.mark.parametrize("atomic", [False, True])
def test_columns_of_every_kind(alias: str, name: str, atomic: bool) -> None:
    history = make(alias, rows=5, atomic=atomic)
    columns = ("id", "title", "grams", "note", "data", "studio_id", "label")

    history.apply(
        AddFieldWithBackfill(
            "item", "label", SettingField(also=SETTERS[name]), lambda item: item.title
        )
    )

    filled = read(history, *columns)
    history.rows("Item").update(grams=None, note="", studio_id=1)
    for item in history.rows("Item"):
        item.data = {"n": item.pk - 1}
        item.label = item.title
        item.save()
    assert filled == read(history, *columns)
    assert filled[0][-1] == "Item 0"


# Fails if the row is copied after populate has been at it, or is itself assigned to.
def test_what_populate_does_to_the_row_is_not_written(alias: str) -> None:
    history = make(alias, rows=2)

    def populate(item: Any) -> str:
        item.title = item.note = "changed"
        return "x"

    def also(item: Any, value: str) -> None:
        item.note = item.title + value

    history.apply(
        AddFieldWithBackfill("item", "label", SettingField(also=also), populate)
    )

    assert read(history, "title", "note", "label") == [
        ("Item 0", "Item 0x", "x"),
        ("Item 1", "Item 1x", "x"),
    ]


# Fails if what populate or reverse changes in place is written with the companion.
def test_what_a_function_does_in_place_is_not_written(alias: str) -> None:
    history = make(alias, rows=2)

    def populate(item: Any) -> Any:
        item.data["changed"] = True
        return "x"

    def also(item: Any, value: str) -> None:
        item.data = {**item.data, "label": value}

    def reverse(item: Any) -> Any:
        item.data["changed"] = True
        return {"label": "y"}

    history.apply(
        AddFieldWithBackfill("item", "label", SettingField(also=also), populate)
    )
    history.apply(
        AddFieldWithBackfill(
            "item", "other", models.CharField(max_length=5), lambda item: "z", reverse
        )
    )
    assert list(history.rows("Item").values_list("data", flat=True)) == [
        {"n": 0, "label": "x"},
        {"n": 1, "label": "x"},
    ]

    history.unapply()

    assert list(history.rows("Item").values_list("data", "label")) == [
        ({"n": 0, "label": "y"}, "y"),
        ({"n": 1, "label": "y"}, "y"),
    ]


# Fails if rows that have a value get the other columns of a new one.
def test_alteration_leaves_other_rows_alone(alias: str) -> None:
    history = make(alias, rows=3)
    history.apply(ADD_UNIT, migrations.AddField("item", "load", WeightField(null=True)))
    history.rows("Item").filter(pk=2).update(load=Decimal(7), load_unit="oz")

    history.apply(
        AlterFieldWithBackfill(
            "item", "load", WeightField(), lambda item: Weight(Decimal(1), "t")
        )
    )

    assert read(history, "load", "load_unit") == [(1, "t"), (7, "oz"), (1, "t")]


@pytest.mark.parametrize("brings_unit", [True, False], ids=["two-columns", "one"])
def test_row_that_others_write_meanwhile(
    postgresql_alias: str, brings_unit: bool
) -> None:
    """
    Fails if the writer does not look whether the column is still NULL.

    In an atomic migration nothing locks the rows between reading and writing.
    """
    history = make(postgresql_alias, atomic=True)
    history.apply(ADD_UNIT, migrations.AddField("item", "load", WeightField(null=True)))

    with Session(history.connection) as other:

        def populate(item: Any) -> Any:
            if item.pk == 2:
                other.execute(
                    "UPDATE films_item SET load = 7, load_unit = 'oz' WHERE id = 2"
                )
            return Weight(Decimal(1), "t") if brings_unit else Decimal(1)

        history.apply(AlterFieldWithBackfill("item", "load", WeightField(), populate))

    unit = "t" if brings_unit else ""
    assert read(history, "load", "load_unit") == [(1, unit), (7, "oz"), (1, unit)]


@pytest.mark.parametrize("atomic", [False, True], ids=["own-commits", "atomic"])
def test_a_key_beside_it_points_nowhere(alias: str, atomic: bool) -> None:
    """
    Fails if the database looks at the key at the end only, and tells no row of it.

    SQLite would have committed by then.
    """
    history = make(alias, rows=5, atomic=atomic)

    def also(item: Any, value: str) -> None:
        item.studio_id = 99 if item.pk == 4 else 2

    operation = AddFieldWithBackfill(
        "item", "label", SettingField(also=also), lambda item: item.title
    )
    before = history.describe("Item")

    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    if alias == "default":
        assert str(caught.value) == (
            "films.Item.label cannot be changed: keys of table films_item point "
            "nowhere:\n  1 row: there is no row in films_studio with the key in "
            "studio_id (pk 4)\nNothing was changed. Fix these keys, or what "
            "sets them, then run migrate again."
        )
    elif history.connection.vendor == "mysql" or not atomic:
        assert str(caught.value) == (
            "films.Item.label could not be filled in some rows:\n  1 row: the "
            "database refused it: a key points nowhere (FOREIGN KEY) (pk 4)\n"
            "The other rows keep their values. Fix <lambda>(), then run migrate again."
        )
        assert read(history, "studio_id") == [(2,), (2,), (2,), (1,), (2,)]
        return
    else:
        assert str(caught.value) == (
            "films.Item.label could not be filled in some rows:\n  1 row: the "
            "database refused it: a key points nowhere (FOREIGN KEY) (pk 4)\n"
            "Nothing was changed. Fix <lambda>(), then run migrate again."
        )
    assert read(history, "studio_id") == [(1,)] * 5
    assert history.describe("Item") == before


class SpelledAttribute(SettingAttribute):
    """Makes a text of whatever it is given, as attributes that convert do."""

    def __set__(self, instance: Any, value: Any) -> None:
        super().__set__(instance, value and f"{value}"[:9])


class SpelledField(SettingField):
    attribute = SpelledAttribute


# Fails if only what the attribute has made of it is looked at.
@pytest.mark.parametrize(
    ("give", "reason"),
    [
        (lambda item: item.refresh_from_db, "it is a method: call it with ()"),
        (lambda item: Weight, "it is a class, Weight, and not a value"),
        (
            lambda item: (c for c in item.title),
            "it is a generator: return one value, and yield none",
        ),
        (
            lambda item: F("title"),
            "it is an expression, which only the database can compute",
        ),
    ],
)
def test_what_is_no_value(sqlite_alias: str, give: Any, reason: str) -> None:
    history = make(sqlite_alias, rows=1)
    field = SpelledField(also=SETTERS["nothing"])

    with pytest.raises(BackfillError) as caught:
        history.apply(AddFieldWithBackfill("item", "label", field, give))

    assert f"  1 row: <lambda>() gave a bad value: {reason} (" in str(caught.value)


class OnceAttribute(SettingAttribute):
    """As that of a protected field of django-fsm: refuses to change what is there."""

    def __set__(self, instance: Any, value: Any) -> None:
        if self.field.attname in instance.__dict__:
            raise AttributeError("Direct label modification is not allowed")
        super().__set__(instance, value)


class OnceField(SettingField):
    attribute = OnceAttribute


# Fails if an empty row counts as one that has a value.
def test_attribute_that_takes_a_first_value_alone(alias: str) -> None:
    history = make(alias, rows=2)
    field = OnceField(also=SETTERS["a text"])

    history.apply(AddFieldWithBackfill("item", "label", field, lambda item: "x"))

    assert read(history, "label", "note") == [("x", "xx"), ("x", "xx")]


class OwnerAttribute(ForwardManyToOneDescriptor):
    """Notes down whom it was given."""

    def __set__(self, instance: Any, value: Any) -> None:
        super().__set__(instance, value)
        instance.note = f"owner {value.pk}"


class OwnerField(models.ForeignKey):
    forward_related_accessor_class = OwnerAttribute


# Fails if an object of the models from before is refused, or only its key is set.
def test_object_for_a_foreign_key(alias: str) -> None:
    history = make(alias)

    def populate(item: Any, apps: Any) -> Any:
        # The key alone is another attribute, which sets nothing besides.
        key = item.pk % 2 + 1
        return key if item.pk == 3 else apps.get_model("films", "Studio")(pk=key)

    def populate_saved(item: Any, apps: Any) -> Any:
        value = populate(item, apps)
        if isinstance(value, models.Model):
            value = type(value)._base_manager.using(alias).get(pk=value.pk)
        return value

    field = OwnerField("films.Studio", models.CASCADE, related_name="+")
    history.apply(AddFieldWithBackfill("item", "owner", field, populate_saved))

    filled = read(history, "owner_id", "note")
    history.rows("Item").update(note="")
    for item in history.rows("Item"):
        key = item.pk % 2 + 1
        if item.pk == 3:
            item.owner_id = key
        else:
            item.owner = history.rows("Studio").get(pk=key)
        item.save()
    assert filled == read(history, "owner_id", "note")
    assert filled == [(2, "owner 2"), (1, "owner 1"), (2, "")]
    history.unapply()

    with pytest.raises(BackfillError, match="an instance of films.Studio that was not"):
        history.apply(AddFieldWithBackfill("item", "owner", field, populate))


# Fails if an error of the attribute is told with what it says of the value.
@override_settings(SAFEFIELD={"SHOW_VALUES": False})
def test_error_of_an_attribute_without_values(sqlite_alias: str) -> None:
    history = make(sqlite_alias, rows=1)

    def also(item: Any, value: str) -> None:
        raise ValueError(f"secret {value}")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "item", "label", SettingField(also=also), lambda item: item.title
            )
        )

    assert str(caught.value) == (
        "films.Item.label cannot be filled. <lambda>() failed for the row "
        "it was tried on:\n  1 row: <lambda>() gave a bad value: "
        "assigning it raised ValueError (pk 1)\n"
        "Nothing was changed. Fix <lambda>(), then run migrate again."
    )


REFUSED: dict[str, tuple[Any, str]] = {
    "key": (
        lambda item, value: setattr(item, "id", 77),
        "populate() gave a bad value: assigning it also changes id, which cannot be "
        "written: it is the primary key (pk 2: 'Item 1')",
    ),
    "column of a parent": (
        lambda item, value: setattr(item, "base", 7),
        "populate() gave a bad value: assigning it also changes base, which cannot be "
        "written: it is a column of another table, films_base (pk 2: "
        "'Item 1')",
    ),
    "NULL for a required column": (
        lambda item, value: setattr(item, "title", None),
        "populate() gave a bad value: assigning it also sets title: it is None, and "
        "the field is required (pk 2: 'Item 1')",
    ),
    "too long for another column": (
        lambda item, value: setattr(item, "title", "x" * 30),
        "populate() gave a bad value: assigning it also sets title: Ensure this value "
        "has at most 20 characters. (pk 2: 'Item 1')",
    ),
    "an error": (
        lambda item, value: {}["unit"],
        "populate() gave a bad value: assigning it raised KeyError: 'unit' (pk 2)",
    ),
}


# Fails if what cannot be written is left out without a word.
@pytest.mark.parametrize("name", REFUSED)
def test_names_the_row_and_the_column(alias: str, name: str) -> None:
    act, reason = REFUSED[name]
    history = History(alias)
    base = [
        ("id", models.BigAutoField(primary_key=True)),
        ("base", models.IntegerField(default=0)),
    ]
    link = models.OneToOneField(
        "films.Base",
        models.CASCADE,
        parent_link=True,
        primary_key=True,
        db_column="id",
        serialize=False,
        auto_created=True,
    )
    title = ("title", models.CharField(max_length=20))
    if name == "column of a parent":
        history.apply(
            migrations.CreateModel("Base", base),
            migrations.CreateModel(
                "Item", [("base_ptr", link), title], bases=("films.base",)
            ),
        )
    else:
        history.apply(migrations.CreateModel("Item", [base[0], title]))
    for number in range(3):
        history.rows("Item").create(title=f"Item {number}")

    def also(item: Any, value: str) -> None:
        if item.pk == 2:
            act(item, value)

    def populate(item: Any) -> str:
        return str(item.title)

    operation = AddFieldWithBackfill("item", "label", SettingField(also=also), populate)
    with pytest.raises(BackfillError) as caught:
        history.apply(operation)

    kept = (
        "Nothing was changed."
        if history.connection.vendor == "sqlite"
        else "The other rows keep their values."
    )
    assert str(caught.value) == (
        f"films.Item.label could not be filled in some rows:\n  1 row: {reason}\n"
        f"{kept} Fix populate(), then run migrate again."
    )
    act = lambda item, value: None  # noqa: E731
    history.apply(operation)
    assert read(history, "label") == [("Item 0",), ("Item 1",), ("Item 2",)]


# Fails if the column of the unit, which is not there yet, is written or read.
@pytest.mark.parametrize("rehearses", [False, True])
def test_column_that_was_not_added_before(alias: str, rehearses: bool) -> None:
    history = make(alias)
    operation = AddFieldWithBackfill("item", "load", WeightField(), populate_load)
    before = history.describe("Item")
    message = (
        "films.Item.load cannot be filled: with it the model has load_unit, and no "
        "operation before this one adds that. Put the operation that adds load_unit "
        "before this one, then run migrate again. Nothing was changed."
    )

    if rehearses:
        assert str(rehearse(history, operation).error) == message
    else:
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert str(caught.value) == message

    assert history.describe("Item") == before
    history.apply(ADD_UNIT)
    history.apply(operation)
    assert read(history, "load_unit") == [("",), ("lb",), ("t",)]


# Fails if an expression sets the one column, and the other stays as it was.
@pytest.mark.parametrize(
    "expression", [Value(Weight(Decimal(1), "t")), F("grams")], ids=["value", "F"]
)
@pytest.mark.parametrize("rehearses", [False, True])
def test_expression(alias: str, expression: Any, rehearses: bool) -> None:
    history = make(alias)
    history.apply(ADD_UNIT)
    before = history.describe("Item")
    message = (
        "films.Item.load cannot be filled: assigning it calls "
        "WeightAttribute.__set__(), which may set other columns, and an expression "
        "sets this one alone. Write populate as a function of a row, then run migrate "
        "again. Nothing was changed."
    )
    operation = AddFieldWithBackfill("item", "load", WeightField(), expression)

    if rehearses:
        assert str(rehearse(history, operation).error) == message
    else:
        with pytest.raises(BackfillError) as caught:
            history.apply(operation)
        assert str(caught.value) == message

    assert history.describe("Item") == before


# Fails if reverse's value goes to the one column alone.
def test_reverse(alias: str) -> None:
    history = make(alias)
    history.apply(ADD_UNIT, migrations.AddField("item", "load", WeightField(default=1)))

    history.apply(
        AddFieldWithBackfill(
            "item",
            "size",
            models.CharField(max_length=20),
            lambda item: item.title[-1],
            lambda item: [
                {"load": Weight(Decimal(2), "t")},
                {"load": Decimal(3), "load_unit": "lb", "note": "n", "studio": None},
                {"load": Weight(Decimal(4), "t"), "load_unit": "oz"},
            ][int(item.size)],
        )
    )
    history.unapply()

    assert read(history, "load", "load_unit", "note", "studio_id") == [
        (2, "t", "", 1),
        (3, "lb", "n", None),
        (4, "oz", "", 1),
    ]


# Fails if the rows that are renumbered are given a value that was not assigned.
def test_deduplicate(alias: str) -> None:
    history = make(alias)
    history.apply(ADD_UNIT)

    history.apply(
        AddFieldWithBackfill(
            "item",
            "load",
            WeightField(unique=True),
            lambda item: Weight(Decimal(1), "t"),
            deduplicate=lambda item, value, n: Weight(Decimal(n), "t"),
        )
    )

    assert read(history, "load", "load_unit") == [(1, "t"), (2, "t"), (3, "t")]


# Fails if the other column of a renumbered row keeps a value of the first answer.
def test_deduplicate_with_another_unit(alias: str) -> None:
    history = make(alias, rows=2)
    history.apply(ADD_UNIT)

    def deduplicate(item: Any, value: Any, n: int) -> Any:
        return Weight(Decimal(n), "lb")

    with pytest.raises(BackfillError) as caught:
        history.apply(
            AddFieldWithBackfill(
                "item",
                "load",
                WeightField(unique=True),
                lambda item: Weight(Decimal(1), "t"),
                deduplicate=deduplicate,
            )
        )

    assert (
        "  1 row: deduplicate() gave a bad value: assigning it also changes load_unit "
        "(pk 2)\n"
    ) in str(caught.value)


# Fails if a row that finds its value taken is written without the other column.
def test_deduplicate_into_a_unique_column(alias: str) -> None:
    history = make(alias)
    history.apply(
        ADD_UNIT,
        migrations.AddField("item", "load", WeightField(null=True, unique=True)),
    )
    history.rows("Item").filter(pk=2).update(load=Decimal(1), load_unit="oz")

    history.apply(
        AlterFieldWithBackfill(
            "item",
            "load",
            WeightField(unique=True),
            lambda item: Weight(Decimal(item.pk), "t"),
            deduplicate=lambda item, value, n: Weight(Decimal(n * 10), "lb"),
        )
    )

    assert read(history, "load", "load_unit") == [(20, "lb"), (1, "oz"), (3, "t")]


# Fails if the temporary table lacks the other column, or shows the one alone.
def test_rehearsal(alias: str) -> None:
    history = make(alias)
    history.apply(ADD_UNIT)
    before = read(history, "id", "load_unit")

    rehearsal = rehearse(
        history, AddFieldWithBackfill("item", "load", WeightField(), populate_load)
    )

    assert rehearsal.error is None
    assert rehearsal.samples == [
        (1, Weight(Decimal("2.25"), "")),
        (2, Weight(Decimal("3.00"), "lb")),
        (3, Weight(Decimal("1.50"), "t")),
    ]
    assert read(history, "id", "load_unit") == before


class SettingMixin:
    """Of the project: what assigning any field of the model does."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "label":
            super().__setattr__("note", f"{value}!")


# Fails if only the attribute of the field is looked at.
def test_model_that_sets_attributes_itself(alias: str) -> None:
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("note", models.CharField(max_length=20)),
            ],
            bases=(SettingMixin, models.Model),
        )
    )
    history.rows("Item").create(note="old")

    history.apply(
        AddFieldWithBackfill(
            "item", "label", models.CharField(max_length=20), lambda item: "x"
        )
    )

    assert read(history, "label", "note") == [("x", "x!")]


# Fails if fields of Django's own go the long way.
@pytest.mark.parametrize(
    "field",
    [
        models.CharField(max_length=5),
        models.ForeignKey("films.Studio", models.CASCADE),
        models.OneToOneField("films.Studio", models.CASCADE),
        models.FileField(),
        models.JSONField(),
    ],
    ids=lambda field: type(field).__name__,
)
def test_plain_fields_are_not_assigned(sqlite_alias: str, field: Any) -> None:
    history = History(sqlite_alias)
    history.apply(STUDIO, migrations.CreateModel("Item", [("label", field)]))
    model = history.model("Item")

    assert not has_own_attribute(model, model._meta.get_field("label"))
