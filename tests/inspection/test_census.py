"""Counting the rows that have a value, on a big table about."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import connections, migrations, models
from django.test.utils import CaptureQueriesContext

from safefield.backends import get_backend
from safefield.backends.base.tally import Tally, extrapolate, round_about
from safefield.operations import AddFieldWithBackfill
from tests.support.history import History

ROWS = 250_000

#: A table of the numbers from 1 to ROWS.
NUMBERS = {
    "default": (
        f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t "
        f"WHERE n < {ROWS}) SELECT {{}} FROM t"
    ),
    "postgresql": f"SELECT {{}} FROM generate_series(1, {ROWS}) AS t(n)",
    "mariadb": f"SELECT {{}} FROM (SELECT seq AS n FROM seq_1_to_{ROWS}) AS t",
    "mysql": (
        f"SELECT {{}} FROM JSON_TABLE(CONCAT('[', REPEAT('0,', {ROWS} - 1), '0]'), "
        f"'$[*]' COLUMNS (n FOR ORDINALITY)) AS t"
    ),
}

#: How each database comes to know how many rows a table has.
ANALYZE = {
    "default": [],
    "postgresql": ["ANALYZE films_movie"],
    # All pages of the table, not 20: of keys that were not inserted in their order,
    # 20 pages once gave 185,000 rows.
    "mariadb": [
        "ALTER TABLE films_movie STATS_SAMPLE_PAGES = 10000",
        "ANALYZE TABLE films_movie",
    ],
}
ANALYZE["mysql"] = ANALYZE["mariadb"]


def count_filled(
    alias: str,
    key: models.Field,
    key_sql: str,
    filled: int = ROWS * 4 // 10,
    statements: Sequence[str] | None = None,
) -> Tally:
    """Count in a big table of which the first rows are filled, 40 percent of them."""
    history = History(alias)
    history.apply(
        migrations.CreateModel(
            "Movie", [("key", key), ("title", models.CharField(max_length=200))]
        )
    )
    operation = AddFieldWithBackfill("Movie", "code", models.IntegerField(), len)
    before, after = history.state, history.state.clone()
    operation.state_forwards("films", after)
    connection = connections[alias]
    value = f"CASE WHEN n <= {filled} THEN 1 END"
    title = "'A title as long as titles are, and then some more to fill the pages'"
    source = NUMBERS[alias].format(f"{key_sql}, {title}, {value}")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE films_movie ADD COLUMN code integer NULL")
        cursor.execute(
            f"INSERT INTO films_movie ({connection.ops.quote_name('key')}, title, code)"
            f" {source}"
        )
        for sql in ANALYZE[alias] if statements is None else statements:
            cursor.execute(sql)
    backend = get_backend(connection)
    editor = connection.schema_editor(atomic=False)
    schema = backend.schema(editor, operation.make_plan("films", before, after))
    with CaptureQueriesContext(connection) as queries:
        tally = backend.census(schema).count()
    # Three of them are about how old the statistics of MySQL may be.
    assert len(queries) <= 103 + 3 * (alias == "mysql")
    return tally


def test_big_table(alias: str) -> None:
    tally = count_filled(alias, models.BigAutoField(primary_key=True), "n")

    assert not tally.is_exact
    assert tally.rows == pytest.approx(ROWS, rel=0.25)
    assert tally.filled is not None
    assert tally.filled / tally.rows == pytest.approx(0.4, abs=0.1)


def test_key_of_another_kind(alias: str) -> None:
    key = models.CharField(primary_key=True, max_length=20)

    key_sql = "'key' || n" if alias == "default" else "CONCAT('key', n)"
    tally = count_filled(alias, key, key_sql)

    assert not tally.is_exact
    assert tally.rows == pytest.approx(ROWS, rel=0.25)
    assert (tally.filled is None) == (alias != "postgresql")


def test_one_row_without_a_value(alias: str) -> None:
    """Seldom in a sample, so all are counted before a table is called filled."""
    key = models.BigAutoField(primary_key=True)

    tally = count_filled(alias, key, "n", filled=ROWS - 1)

    assert tally == Tally(ROWS, ROWS - 1, is_exact=True)


DELETE = "DELETE FROM films_movie WHERE key > 1000"
INSERT = (
    f"INSERT INTO films_movie (key, title) "
    f"SELECT n, repeat('title', 20) FROM generate_series(1001, {ROWS}) AS t(n)"
)


@pytest.mark.parametrize(
    ("statements", "rows"),
    [
        ([DELETE, "ANALYZE films_movie", INSERT], ROWS),
        (["ANALYZE films_movie", DELETE], 1_000),
    ],
    ids=["of-few-rows", "of-many-rows"],
)
def test_statistics_of_before(
    postgresql_alias: str, statements: list[str], rows: int
) -> None:
    key = models.BigAutoField(primary_key=True)

    tally = count_filled(postgresql_alias, key, "n", statements=statements)

    assert tally.rows == pytest.approx(rows, rel=0.25)


def test_text() -> None:
    tallies = [
        Tally(5, 5, is_exact=True),
        Tally(5, 3, is_exact=True),
        Tally(0, 0, is_exact=True),
        extrapolate(1_000_234, 10_000, 4_120),
        extrapolate(1_000_234, 10_000, 10_000),
        extrapolate(1_000_234, 0, 0),
    ]

    assert list(map(str, tallies)) == [
        "5 rows",
        "3 of 5 rows (60%)",
        "0 rows",
        "about 412,000 of 1,000,000 rows (41%)",
        "about 1,000,000 rows",
        "about 1,000,000 rows (how many of them is not known)",
    ]


@pytest.mark.parametrize(
    ("number", "expected"), [(7, 7), (999, 999), (1_234, 1_230), (123_987, 124_000)]
)
def test_three_digits_mean_something(number: int, expected: int) -> None:
    assert round_about(number) == expected
