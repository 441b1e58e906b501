"""What the oracle is asked about: fields, and for each the values it is given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from hypothesis import strategies as st

from tests.oracle import values as v
from tests.oracle.fields import (
    CountedField,
    EmptyTextField,
    EncryptedField,
    JSONTextField,
    PlacedField,
    TypedField,
    UpperField,
)

try:
    from django.contrib.postgres import fields as pg
    from django.db.backends.postgresql.psycopg_any import (
        DateRange,
        DateTimeTZRange,
        NumericRange,
    )
except ImportError:  # pragma: no cover
    pg = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Case:
    """
    A field and the values that it is given, one a row.

    Args:
        make (Callable): Makes the field; takes the options that it is to have.
        good (Any): A value that it takes, which also stands in the first row.
        values (Sequence): The others.
        strategy (SearchStrategy): Where more of them come from.
        vendors (str): The databases that have it.
        target (Callable): Makes the key of the table that a foreign key leads to.
        targets (Sequence): The keys in that table.
        hides (bool): Whether the column differs each time, so that what the field
            reads is compared in its place.
        is_text (bool): Whether it is stored as a text, in some character set.
        beside (Sequence): Names of columns for numbers that assigning it sets, too.
    """

    make: Callable[..., Any]
    good: Any
    values: Sequence[Any] = ()
    strategy: Any = None
    vendors: str = "sqlite postgresql mysql"
    target: Callable[[], Any] | None = None
    targets: Sequence[Any] = ()
    hides: bool = False
    is_text: bool = False
    beside: Sequence[str] = ()


def with_options(kind: Any, **fixed: Any) -> Callable[..., Any]:
    """Return what makes a field of `kind`."""
    return lambda **options: kind(**fixed, **options)


def typed(kind: str) -> Callable[..., Any]:
    """Return what makes a field with a column of any type."""
    return lambda **options: TypedField(kind, **options)


def array(make_base: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes an array."""
    return lambda **options: pg.ArrayField(make_base(), **options)


def reference(**options: Any) -> Any:
    """Return a foreign key."""
    return models.ForeignKey("films.Target", models.CASCADE, **options)


def texts(more: Sequence[Any] = ()) -> list[Any]:
    return [*v.TEXTS, *v.PLANES, *v.BROKEN_TEXTS, *v.TEXT_LIKE, *more]


def integers(*more: Any) -> list[Any]:
    return [*v.INTEGERS, *v.INTEGER_LIKE, *v.NOT_INTEGERS, *more]


CASES = {
    "boolean": Case(
        models.BooleanField, True, [False, 0, 1, 2, "True", "f", "t", "0", "x", ""]
    ),
    "char": Case(
        with_options(models.CharField, max_length=60),
        "good",
        texts(["x" * 60, "x" * 61, "\U0001f389" * 60, "\U0001f389" * 61]),
        v.texts,
        is_text=True,
    ),
    "nullable char": Case(
        with_options(models.CharField, max_length=60, null=True, blank=True),
        "good",
        [None, "", *v.TEXTS[:20]],
        is_text=True,
    ),
    "char with blanks": Case(
        with_options(models.CharField, max_length=60, blank=True),
        "good",
        ["", " ", *v.TEXTS[:20]],
        is_text=True,
    ),
    "char with choices": Case(
        with_options(
            models.CharField, max_length=9, choices=[("red", "Red"), ("a", "A")]
        ),
        "a",
        ["red", "A", "b", v.Color.RED, v.SafeString("a")],
        is_text=True,
    ),
    "text": Case(
        models.TextField,
        "good",
        texts(["x" * 70_000, "\U0001f389" * 20_000, "\\" * 70_000, "'\"" * 40_000]),
        st.text(),
        is_text=True,
    ),
    "text of 3 MB": Case(models.TextField, "good", ["y" * 3_000_000], is_text=True),
    "slug": Case(models.SlugField, "good", ["a-b_c", "a b", "\u00e9", "a\n", "x" * 51]),
    "unicode slug": Case(
        with_options(models.SlugField, allow_unicode=True),
        "good",
        ["\u00e9-\u4e03", "a b"],
    ),
    "email": Case(models.EmailField, "a@b.co", ["x", "\u00e9@\u00e9.fr", " a@b.co"]),
    "url": Case(
        models.URLField, "https://a.test", ["x", "https://\u00e9.test/\u4e03?a=%20"]
    ),
    "address": Case(
        models.GenericIPAddressField, "10.0.0.1", [*v.ADDRESSES, " 1.2.3.4", "x", "1.2"]
    ),
    "address of version 4": Case(
        with_options(models.GenericIPAddressField, protocol="both", unpack_ipv4=True),
        "10.0.0.1",
        v.ADDRESSES,
    ),
    "uuid": Case(
        models.UUIDField,
        UUID(int=5),
        [*v.UUIDS, str(v.UUIDS[2]), v.UUIDS[2].hex, "x", 5],
        st.uuids(),
    ),
    "small integer": Case(models.SmallIntegerField, 5, integers(), v.integers),
    "integer": Case(models.IntegerField, 5, integers(), v.integers),
    "nullable integer": Case(
        with_options(models.IntegerField, null=True), 5, [None, 0, -1, *v.INTEGERS[::5]]
    ),
    "big integer": Case(models.BigIntegerField, 5, integers(), v.integers),
    "small positive integer": Case(
        models.PositiveSmallIntegerField, 5, integers(), v.integers
    ),
    "positive integer": Case(models.PositiveIntegerField, 5, integers(), v.integers),
    "positive big integer": Case(
        models.PositiveBigIntegerField, 5, integers(), v.integers
    ),
    "float": Case(
        models.FloatField,
        0.5,
        [*v.FLOATS, float("nan"), float("inf"), 5, 2**70, "1.5", Decimal("0.1"), "x"],
        v.floats,
    ),
    "decimal": Case(
        with_options(models.DecimalField, max_digits=10, decimal_places=2),
        Decimal("1.5"),
        [*v.DECIMALS, *v.BAD_DECIMALS, 5, "1.50", "1,5", 1.5, 0.1, Decimal("1.005")],
        v.decimals,
    ),
    "wide decimal": Case(
        with_options(models.DecimalField, max_digits=60, decimal_places=30),
        Decimal("0.5"),
        [
            Decimal("9" * 30 + "." + "9" * 30),
            Decimal("-" + "9" * 30 + "." + "9" * 30),
            Decimal("0." + "0" * 29 + "1"),
            Decimal("1E+29"),
            Decimal("9" * 31),
        ],
        vendors="postgresql mysql",
    ),
    "date": Case(
        models.DateField,
        dt.date(2020, 1, 1),
        [*v.DATES, "2020-01-02", "x", dt.datetime(2020, 1, 2, 23, tzinfo=v.ZONES[1])],
        st.dates(),
    ),
    "time": Case(
        models.TimeField,
        dt.time(1),
        [*v.TIMES, "01:02", "x", dt.time(1, tzinfo=v.ZONES[0])],
        st.times(),
    ),
    "datetime": Case(
        models.DateTimeField,
        dt.datetime(2020, 1, 1, tzinfo=v.ZONES[0]),
        [*v.DATETIMES, "2020-01-02 03:04+05:00", "x"],
        st.datetimes(
            timezones=st.sampled_from(v.ZONES),
            min_value=dt.datetime(1000, 1, 3),
            max_value=dt.datetime(9999, 12, 30),
        ),
    ),
    "duration": Case(
        models.DurationField,
        dt.timedelta(1),
        [*v.DURATIONS, "1 00:00:01", "x"],
        st.timedeltas(),
    ),
    "binary": Case(models.BinaryField, b"good", v.BYTES, st.binary()),
    "json": Case(models.JSONField, {"a": 1}, [*v.JSON, *v.BAD_JSON], v.json_values),
    "json of Django": Case(
        with_options(models.JSONField, encoder=DjangoJSONEncoder),
        {"a": 1},
        [{"d": Decimal("1.50"), "t": dt.time(1)}, dt.date(2020, 1, 2), UUID(int=1)],
    ),
    "file": Case(
        with_options(models.FileField, upload_to="x"),
        "a.txt",
        ["d/\u00e9.txt", "x" * 101, ""],
    ),
    "path": Case(
        with_options(models.FilePathField, path="/tmp"), "/tmp/a", ["x", "x" * 101]
    ),
    # Foreign keys
    "foreign key": Case(
        reference,
        1,
        [2, "2", 3, 2**63, "x", True],
        target=lambda: models.BigAutoField(primary_key=True),
        targets=[1, 2],
    ),
    "nullable foreign key": Case(
        with_options(reference, null=True),
        1,
        [None, 2],
        target=lambda: models.BigAutoField(primary_key=True),
        targets=[1, 2],
    ),
    "foreign key to a text": Case(
        reference,
        "a",
        ["b ", "\U0001f389", "'", "x"],
        target=lambda: models.CharField(max_length=9, primary_key=True),
        targets=["a", "b ", "\U0001f389", "'"],
    ),
    "foreign key to a uuid": Case(
        reference,
        v.UUIDS[0],
        [v.UUIDS[1], str(v.UUIDS[0]), UUID(int=77)],
        target=lambda: models.UUIDField(primary_key=True),
        targets=v.UUIDS[:2],
    ),
    "foreign key above the signed integers": Case(
        reference,
        1,
        [2**63 - 1, 2**63, 2**63 + 9, 2**64 - 1],
        target=lambda: models.PositiveBigIntegerField(primary_key=True),
        targets=[1, 2**63 - 1, 2**63, 2**63 + 9, 2**64 - 1],
        vendors="mysql",
    ),
    "foreign key to a char": Case(
        reference,
        "DEU",
        ["FRA", "F", "D"],
        target=lambda: TypedField("char(3)", primary_key=True),
        targets=["DEU", "FRA"],
        vendors="postgresql mysql",
    ),
    # Fields of a project's own
    "char(3)": Case(
        typed("char(3)"),
        "abc",
        ["a", "", "ab ", "abcd", "\u00e9\u4e03"],
        vendors="postgresql mysql",
    ),
    "stores a text for None": Case(EmptyTextField, "a", ["b", "\u00e9"], is_text=True),
    "json in a text": Case(
        JSONTextField, {"a": 1}, [[1], "a", 5, 1.5, {"\u00e9": None}], is_text=True
    ),
    "encrypted": Case(
        EncryptedField, "a", ["b", "\U0001f389", "x" * 500], hides=True, is_text=True
    ),
    "changes at the end": Case(
        with_options(UpperField, max_length=20), "a", ["b c", "\u00e9"], is_text=True
    ),
    "wants SQL around": Case(
        with_options(PlacedField, max_length=20), "a", ["B C", "d"], is_text=True
    ),
    "sets a second column": Case(
        with_options(CountedField, max_length=20),
        "a",
        ["bc", "\u00e9", "\U0001f389", "x" * 21],
        is_text=True,
        beside=["f_length"],
    ),
    # PostgreSQL
    "bit(5)": Case(typed("bit(5)"), "10110", ["00000", "1"], vendors="postgresql"),
    "citext": Case(typed("citext"), "a", ["A", "\u00e9", "%"], vendors="postgresql"),
    "money": Case(
        typed("money"), "1.50", [Decimal("2.5"), "x", 7], vendors="postgresql"
    ),
    "domain": Case(typed("code"), "abcdef", ["a", "abcdefg"], vendors="postgresql"),
    "timetz": Case(
        typed("timetz"),
        "01:00+05:30",
        ["23:59:59.999999-12", dt.time(1, tzinfo=v.ZONES[5])],
        vendors="postgresql",
    ),
    "interval of minutes": Case(
        typed("interval hour to minute"),
        dt.timedelta(hours=1),
        [dt.timedelta(seconds=95), "1 day 02:03:04.5"],
        vendors="postgresql",
    ),
    "array of char(3)": Case(
        typed("char(3)[]"), ["abc"], [["a", None], [], ["abcd"]], vendors="postgresql"
    ),
    # MariaDB and MySQL
    "bit(8)": Case(typed("bit(8)"), b"\x05", [5, 255, 256], vendors="mysql"),
    "unsigned": Case(
        typed("bigint unsigned"), 5, [0, 2**63, 2**64 - 1, 2**64, -1], vendors="mysql"
    ),
    "decimal(30)": Case(
        typed("decimal(30)"), 5, [-1, 2**64, 10**29, 10**30], vendors="mysql"
    ),
    "enum": Case(typed("enum('a','b')"), "a", ["b", "c", 2], vendors="mysql"),
    "set": Case(typed("set('a','b')"), "a", ["b", "a,b", "c", 3], vendors="mysql"),
    "year": Case(typed("year"), 2020, ["2021", 1900, 0, "0"], vendors="mysql"),
    "tinyblob": Case(
        typed("tinyblob"), b"a", [b"x" * 255, b"x" * 256], vendors="mysql"
    ),
    "latin1": Case(
        typed("varchar(60) character set latin1"), "a", v.TEXTS, vendors="mysql"
    ),
    "utf8mb3": Case(
        typed("varchar(60) character set utf8mb3"), "a", v.TEXTS, vendors="mysql"
    ),
    "german": Case(
        typed("varchar(60) character set utf8mb4 collate utf8mb4_german2_ci"),
        "a",
        v.TEXTS,
        vendors="mysql",
    ),
}

if pg is not None:
    CASES |= {
        "array of integers": Case(
            array(models.IntegerField),
            [1],
            [[1, 2], [], [None], [2**31], "{1,2}", "[1, 2]", 5, (1, 2)],
            st.lists(st.integers(-(2**31), 2**31 - 1) | st.none(), min_size=1),
            vendors="postgresql",
        ),
        "array of texts": Case(
            array(models.TextField),
            ["a"],
            [[text] for text in v.TEXTS] + [["a", "NULL", None, ""], ["{", '"']],
            st.lists(st.text(min_size=1), min_size=1),
            vendors="postgresql",
        ),
        "array of decimals": Case(
            array(with_options(models.DecimalField, max_digits=6, decimal_places=2)),
            [Decimal("1.5")],
            [[1, 2], ["1.5"], [1.5], [Decimal("-0")], [Decimal("1.005")]],
            vendors="postgresql",
        ),
        "array of arrays": Case(
            array(array(models.IntegerField)),
            [[1]],
            [[[1, 2], [3, 4]], [[1], [2, 3]], [[]], [[None]]],
            vendors="postgresql",
        ),
        "hstore": Case(
            pg.HStoreField,
            {"a": "b"},
            [{}, {"a": None}, {"%": '"', "\u00e9": "\\"}, {"a": 1}, '"a"=>"b"', "x"],
            vendors="postgresql",
        ),
        "range of integers": Case(
            pg.IntegerRangeField,
            (1, 2),
            [(None, 5), NumericRange(1, 3), NumericRange(empty=True), (3, 1), "[1,3)"],
            vendors="postgresql",
        ),
        "range of big integers": Case(
            pg.BigIntegerRangeField,
            (1, 2),
            [(-(2**63), 2**63 - 1)],
            vendors="postgresql",
        ),
        "range of decimals": Case(
            pg.DecimalRangeField,
            (1, 2),
            [NumericRange(Decimal("1.5"), Decimal("2.50"), "[]")],
            vendors="postgresql",
        ),
        "range of dates": Case(
            pg.DateRangeField,
            (dt.date(2020, 1, 1), dt.date(2020, 2, 1)),
            [DateRange(dt.date(1, 1, 1), dt.date(9999, 12, 31)), (None, None)],
            vendors="postgresql",
        ),
        "range of datetimes": Case(
            pg.DateTimeRangeField,
            (v.DATETIMES[0], None),
            [DateTimeTZRange(v.DATETIMES[0], v.DATETIMES[0] + dt.timedelta(1), "(]")],
            vendors="postgresql",
        ),
    }
