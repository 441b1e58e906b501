"""
What safefield stores, and what save() stores: they are to be the same, bit for bit.

Django is the oracle. The same values go into the rows of two tables: into one by
`row.field = value; row.save(update_fields=["field"])`, into the other by safefield.
Then the columns are compared as the server has them, or both must have refused the
value.
"""

from __future__ import annotations

import functools
import os
from itertools import product, zip_longest
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, given, settings

from tests.oracle.cases import CASES
from tests.oracle.comparison import EXTENSIONS, Crash, compare
from tests.oracle.differences import DIFFERENCES, Found
from tests.oracle.values import INTEGERS, JSON, PLANES, STRANGE, TEXTS
from tests.oracle.ways import MAIN_WAYS, Way, get_other_ways
from tests.support.extensions import has_extension

pytestmark = pytest.mark.oracle

IS_LONG = os.environ.get("SAFEFIELD_ORACLE") == "long"

#: Values from hypothesis for a field.
EXAMPLES = 400 if IS_LONG else 20


def draw(strategy: Any, count: int) -> list[Any]:
    """Return values of a strategy: the same ones in every run."""
    drawn: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        drawn.append(value)

    collect()
    return drawn


def find_differences(
    alias: str, name: str, way: Way, values: list[Any]
) -> tuple[int, list[str]]:
    """Return how many values were compared, and what differs without a reason."""
    case = CASES[name]
    vendor = connections[alias].vendor
    try:
        outcome = compare(alias, name, way, values)
    except Crash as exc:
        if len(values) <= 2:
            return 0, [f"crash {values[-1]!r:.60}: {exc!s:.300}"]
        # The rows that it is about, and whatever else there is to say of the others.
        middle = (len(values) + 1) // 2
        return 0, [
            text
            for half in (values[:middle], [values[0], *values[middle:]])
            for text in find_differences(alias, name, way, half)[1]
        ]
    unexplained = []
    for number, value in enumerate(values):
        theirs, ours = outcome.theirs.get(number), outcome.ours.get(number)
        they_said = outcome.they_refused.get(number, "")
        we_said = outcome.we_refused.get(number, "")
        if they_said and we_said:
            continue
        if not they_said and not we_said:
            if theirs == ours:
                continue
            kind, said = "other", describe(theirs, ours)
        elif we_said:
            kind, said = "stricter", we_said
        else:
            kind, said = "looser", f"{they_said:.150}; {describe((), ours)}"
        found = Found(name, case.make(), vendor, value, kind, said)
        if not any(d.kind == kind and d.fits(found) for d in DIFFERENCES):
            unexplained.append(f"{kind} {value!r:.60}: {said:.300}")
    for number in outcome.theirs.keys() | outcome.ours.keys():
        if number < 0 and outcome.theirs.get(number) != outcome.ours.get(number):
            told = describe(outcome.theirs.get(number), outcome.ours.get(number))
            unexplained.append(f"a row that had its value: {told}")
    return len(values), unexplained


def describe(theirs: Any, ours: Any) -> str:
    """Say in what two stored rows differ."""
    pairs = zip_longest(theirs or (), ours or ())
    parts = [f"{a!s:.80} and {b!s:.80}" for a, b in pairs if a != b]
    return f"save() and safefield stored {', '.join(parts)}"


@functools.cache
def get_values(name: str) -> list[Any]:
    """Return the values of a case: the same ones on every database."""
    case = CASES[name]
    values = [case.good, *case.values]
    if case.strategy is not None:
        values += draw(case.strategy, EXAMPLES)
    return values


def require(alias: str, name: str) -> None:
    """Skip the test where the database has no such column."""
    connection = connections[alias]
    if connection.vendor not in CASES[name].vendors:
        pytest.skip("not on this database")
    if name in EXTENSIONS and not has_extension(connection, name):
        pytest.skip(f"this server has no {name}")


def get_other_ways_of(alias: str, name: str) -> list[Way]:
    """Return more ways of a case; in a short run they are shared among all cases."""
    place = list(CASES).index(name)
    ways: list[Way] = []
    others = [
        way
        for way in get_other_ways(connections[alias].vendor)
        if way.key not in EXTENSIONS or has_extension(connections[alias], way.key)
    ]
    of_texts = [way for way in others if way.charset or "charset" in way.options]
    of_all = [way for way in others if way not in of_texts]
    for kind in (of_all, of_texts if CASES[name].is_text else []):
        ways += kind if IS_LONG else kind[place % len(kind) :][:1] if kind else []
    return ways


@pytest.mark.parametrize("name", CASES)
def test_stores_what_save_stores(alias: str, name: str, record_property: Any) -> None:
    """Fails if a writer, or a check before it, changes a value or refuses it alone."""
    require(alias, name)

    check(alias, name, MAIN_WAYS, record_property)


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("name", CASES)
def test_stores_it_in_other_ways(alias: str, name: str, record_property: Any) -> None:
    """Fails if it does so by other keys, or on connections with other settings."""
    require(alias, name)

    check(alias, name, get_other_ways_of(alias, name), record_property)


def check(alias: str, name: str, ways: list[Way], record_property: Any) -> None:
    values = get_values(name)
    count, unexplained = 0, []
    for way in ways:
        compared, differences = find_differences(alias, name, way, values)
        count += compared
        unexplained += [f"[{way}] {text}" for text in differences]
    record_property("combinations", count)

    assert not unexplained, "\n".join(dict.fromkeys(unexplained))


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("name", CASES)
def test_what_no_field_takes(alias: str, name: str, record_property: Any) -> None:
    """Fails if what is no value of the field is stored as its repr, or otherwise."""
    require(alias, name)

    count, unexplained = find_differences(
        alias, name, Way("gaps"), [CASES[name].good, *STRANGE]
    )
    record_property("combinations", count)

    assert not unexplained, "\n".join(dict.fromkeys(unexplained))


#: Each type with one kind of key, and each kind of key with some type.
BATCHES = [
    ("char", "dense"),
    ("char", "gaps"),
    ("char", "text"),
    ("big integer", "gaps"),
    ("json", "text"),
    ("binary", "dense"),
]
if IS_LONG:
    names, keys = zip(*BATCHES, strict=True)
    BATCHES = list(product(sorted(set(names)), sorted(set(keys))))


@pytest.mark.parametrize(("name", "key"), BATCHES)
def test_batches_of_many_rows(
    alias: str, name: str, key: str, record_property: Any
) -> None:
    """Fails if values come to other rows, or are changed where a batch is large."""
    case = CASES[name]
    good = {
        "char": TEXTS + PLANES,
        "big integer": [n for n in INTEGERS if -(2**63) <= n < 2**63],
        "json": JSON,
        "binary": [bytes([n % 256]) * (n % 7) for n in range(1_000)],
    }[name]
    values = [case.good, *good * (1 + 1_200 // len(good))][:1_201]

    count, unexplained = find_differences(alias, name, Way(key, 1_000), values)
    record_property("combinations", count)

    assert not unexplained, "\n".join(unexplained)
