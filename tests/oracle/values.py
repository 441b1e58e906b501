"""Values that databases, drivers and fields have been caught with."""

from __future__ import annotations

import datetime as dt
import enum
import sys
from collections import OrderedDict
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import F, Value
from django.utils.functional import lazy
from django.utils.safestring import SafeString
from hypothesis import strategies as st

try:
    import numpy
except ImportError:  # pragma: no cover
    numpy = None


class Text(str):
    """A text of a project's own."""


class Loud(str):
    """A text that is printed as another one."""

    def __str__(self) -> str:
        return self.upper()


class Integer(int):
    """A number of a project's own."""


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    ONE = 1


def one_of_each_plane() -> list[str]:
    """Return texts of 55 characters, one for each block of 256 in Unicode."""
    characters = [
        chr(number)
        for number in range(0x20, sys.maxunicode + 1, 0x101)
        if not 0xD800 <= number <= 0xDFFF
    ]
    return ["".join(characters[start::80]) for start in range(80)]


#: Texts of up to 60 characters.
TEXTS = [
    "a",
    "A",
    " ",
    "   ",
    "a ",
    "a  ",
    " a",
    "\u00a0",
    "\u3000a",
    "\t",
    "\n",
    "a\nb\r\nc\rd",
    "\\N",
    "\\",
    "\\\\",
    "\\'",
    '\\"',
    "'",
    "''",
    '"',
    '""',
    "`",
    "%",
    "%s",
    "%%",
    "%(x)s",
    "100%",
    "{}",
    "{a,b}",
    "{NULL}",
    "NULL",
    "null",
    "None",
    "[]",
    "()",
    "0",
    "0.0",
    "1e5",
    "true",
    ";--",
    "'; DROP TABLE films_ours; --",
    "$1",
    ":x",
    "?",
    "\x01\x02\x1b[31m\x7f",
    "\x80\x9f",
    "e\u0301",
    "\u00e9",
    "\u0130I\u0131i",
    "\u1e9e\u00df",
    "\ufb01",
    "\ufeffa",
    "\u200b",
    "a\u200db",
    "\u202eabc",
    "\u2028\u2029",
    "\ufffd\ufffe\uffff",
    "\U0001f389",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0010ffff",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u4e03\u4eba\u306e\u4f8d",
    "Z\u0351\u036b\u0343\u036a",
]

PLANES = one_of_each_plane()

#: Texts that no field of Django's stores.
BROKEN_TEXTS = ["a\0b", "\0", "\ud800", "a\udc80", "\udfff\ud800"]

#: Texts that are more than texts.
TEXT_LIKE = [Text("own"), SafeString("safe"), Color.RED, Loud("loud")]

INTEGERS = sorted(
    {
        sign * 2**bits + more
        for bits in (0, 7, 8, 15, 16, 24, 31, 32, 52, 53, 62, 63, 64)
        for more in (-1, 0, 1)
        for sign in (-1, 1)
    }
)

INTEGER_LIKE = [True, False, Integer(5), Level.HIGH, 3.0, "7", " 8 ", Decimal(9)]
NOT_INTEGERS = ["", "x", "1.5", 1.5, Decimal("1.5"), float("nan"), "0x10", 10**40]

FLOATS = [
    0.0,
    -0.0,
    0.1,
    1 / 3,
    -1.5,
    1e15 + 0.3,
    1e16,
    1e22,
    1e-7,
    123456789.123456789,
    2.0**53,
    2.0**63,
    5e-324,
    2.2250738585072014e-308,
    sys.float_info.max,
    -sys.float_info.max,
    sys.float_info.epsilon,
]

DECIMALS = [
    Decimal(text)
    for text in (
        "0",
        "-0",
        "-0.00",
        "1",
        "1.5",
        "-1.50",
        "99999999.99",
        "-99999999.99",
        "0.01",
        "1E+2",
        "100E-2",
        "1E-2",
    )
]
BAD_DECIMALS = [
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("100000000"),
    Decimal("1E+40"),
]

ZONES = [
    dt.UTC if sys.version_info >= (3, 11) else dt.timezone.utc,
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("America/St_Johns"),
    ZoneInfo("Pacific/Apia"),
    ZoneInfo("Africa/Monrovia"),
    dt.timezone(dt.timedelta(hours=14)),
    dt.timezone(-dt.timedelta(hours=23, minutes=59)),
    dt.timezone(dt.timedelta(hours=5, minutes=53, seconds=28)),
    dt.timezone(dt.timedelta(hours=1, microseconds=1)),
]

DATES = [
    dt.date(1, 1, 1),
    dt.date(999, 12, 31),
    dt.date(1000, 1, 1),
    dt.date(1582, 10, 10),
    dt.date(1899, 12, 31),
    dt.date(1970, 1, 1),
    dt.date(2000, 2, 29),
    dt.date(2038, 1, 19),
    dt.date(9999, 12, 31),
]

TIMES = [
    dt.time(),
    dt.time(12, 30),
    dt.time(23, 59, 59, 999999),
    dt.time(0, 0, 0, 1),
    dt.time(1, 30, fold=1),
]

DATETIMES = [dt.datetime(2020, 1, 2, 3, 4, 5, 678901, zone) for zone in ZONES] + [
    dt.datetime(1000, 1, 2, tzinfo=ZONES[0]),
    dt.datetime(1890, 7, 1, tzinfo=ZoneInfo("Europe/Amsterdam")),
    dt.datetime(1970, 1, 1, tzinfo=ZONES[0]),
    dt.datetime(2038, 1, 19, 3, 14, 8, tzinfo=ZONES[0]),
    dt.datetime(2021, 10, 31, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.datetime(2021, 3, 28, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=ZONES[0]),
    dt.datetime(1, 1, 1, tzinfo=ZONES[0]),
    # Not in these years in UTC.
    dt.datetime(1, 1, 1, tzinfo=ZONES[5]),
    dt.datetime(9999, 12, 31, 23, tzinfo=ZONES[6]),
]

DURATIONS = [
    dt.timedelta(),
    dt.timedelta(microseconds=1),
    dt.timedelta(microseconds=-1),
    dt.timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5),
    dt.timedelta(days=-1, seconds=1),
    dt.timedelta(days=365 * 100),
    dt.timedelta(microseconds=2**63 - 1),
    dt.timedelta(microseconds=-(2**63)),
    dt.timedelta(microseconds=2**63),
    dt.timedelta(days=106751992),
    dt.timedelta.max,
    dt.timedelta.min,
]

BYTES = [
    b"",
    b"a",
    b"\0",
    b"\xff\xfe",
    bytes(range(256)),
    b"\\x41",
    b"'\"\\%s",
    bytearray(b"array"),
    memoryview(b"view"),
    memoryview(b"abcdef")[::2],
    b"x" * 70_000,
]

JSON: list[Any] = [
    {},
    [],
    "",
    "a",
    0,
    -1,
    1.5,
    1e300,
    -0.0,
    True,
    False,
    2**63,
    2**64,
    10**40,
    [None],
    {"a": None},
    {"": {"": []}},
    {"b": 1, "a": 2},
    {"1": 1, "01": 2},
    {"k": "\u2028\u00e9\U0001f389\\u0041"},
    ["%s", "'", '"', "\\", "\n"],
    [[[[[[[[1]]]]]]]],
    {"x" * 300: "y" * 3000},
    OrderedDict(z=1, a=2),
    (1, 2),
    {1: "integer key"},
    [True, 1.0, 1],
    "null",
    "{}",
    "[1",
]
BAD_JSON = [float("nan"), {"a": float("inf")}, {"a": b"bytes"}, {1, 2}, "a\0b", object]

UUIDS = [
    UUID(int=0),
    UUID(int=2**128 - 1),
    UUID("12345678-1234-5678-1234-567812345678"),
]

ADDRESSES = [
    "1.2.3.4",
    "255.255.255.255",
    "::1",
    "2001:db8::ff00:42:8329",
    "::ffff:1.2.3.4",
    "2001:DB8:0:0:0:0:0:1",
]


def function_of_row(row: Any) -> str:
    """What is returned where somebody forgot to call it."""
    return "value"


def generator() -> Any:
    """What a function with `yield` returns."""
    yield "value"


#: What no field stores, whatever its type is.
NO_VALUES: list[Any] = [
    function_of_row,
    "text".lower,
    len,
    object(),
    type("Class", (), {}),
    generator(),
    iter([1]),
    map(str, [1]),
    F("title"),
    Value("x"),
    lazy(lambda: "lazy", str)(),
    Plain.ONE,
    Exception("x"),
    NotImplemented,
    Ellipsis,
]

#: Everyday values, which most fields of another type do not take.
MISFITS: list[Any] = [
    None,
    "",
    "text",
    5,
    1.5,
    True,
    Decimal("1.5"),
    b"bytes",
    [],
    [1],
    (1,),
    {},
    {"a": 1},
    {1},
    dt.date(2020, 1, 2),
    dt.datetime(2020, 1, 2, tzinfo=ZONES[0]),
    dt.datetime(2020, 1, 2),
    dt.time(1),
    dt.timedelta(1),
    UUID(int=1),
    ip_address("1.2.3.4"),
]

NUMPY: list[Any] = (
    []
    if numpy is None
    else [
        numpy.int64(5),
        numpy.uint64(2**64 - 1),
        numpy.int8(-1),
        numpy.float64(0.1),
        numpy.float32(0.1),
        numpy.str_("text"),
        numpy.bool_(True),
        numpy.datetime64("2020-01-02"),
        numpy.array([1, 2]),
        numpy.bytes_(b"a"),
    ]
)

STRANGE = NO_VALUES + MISFITS + NUMPY

# Hypothesis

texts = st.text(max_size=60)
integers = st.one_of(
    st.integers(-(2**65), 2**65), st.integers(-40_000, 40_000), st.integers()
)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(min_value=-(10**8), max_value=10**8, places=2, allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
