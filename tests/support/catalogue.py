"""
The live catalogue of a table as plain data, so that two tables compare with ==.

Names of constraints and indexes are left out, all else that a migration could get
wrong is in. What one database does not have is left out of its description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.db.backends.utils import strip_quotes

Rows = list[dict[str, Any]]


def describe_table(connection: Any, table: str) -> dict[str, Any]:
    """
    Return the columns, keys, indexes, checks and triggers of a table.

    Columns are a dict by name, in the table's order (which == does not compare);
    everything else is a sorted list of dicts.
    """
    is_qualified = '"."' in table
    if not is_qualified:
        table = strip_quotes(table)
    if not is_qualified and table not in connection.introspection.table_names():
        raise LookupError(
            f"There is no table {table!r}, only {list_tables(connection)!r}."
        )
    with connection.cursor() as cursor:
        return DESCRIBERS[connection.vendor](connection, cursor, table)


def without_names(description: Any, name: str) -> Any:
    """Return a description with "X" for `name`, so that two tables can be compared."""
    if isinstance(description, dict):
        return {
            without_names(key, name): without_names(value, name)
            for key, value in description.items()
        }
    if isinstance(description, list):
        return [without_names(item, name) for item in description]
    if isinstance(description, str):
        return re.sub(rf"\b(films_){name}(?=\b|_)", r"\1X", description)
    return description


def list_tables(connection: Any) -> list[str]:
    """Return the names of all tables, sorted."""
    return sorted(connection.introspection.table_names())


def fetch_rows(cursor: Any, sql: str, params: Iterable[Any] = ()) -> Rows:
    """Run a query, return its rows as dicts with lower-case keys."""
    cursor.execute(sql, tuple(params) or None)
    names = [column[0].lower() for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def sort_rows(rows: Iterable[dict[str, Any]]) -> Rows:
    """Return the rows in an order that depends on nothing but their contents."""
    return sorted(rows, key=repr)


def drop_key(rows: Rows, key: str) -> Rows:
    """Return the rows, sorted, without one of their keys."""
    return sort_rows({k: v for k, v in row.items() if k != key} for row in rows)


# PostgreSQL


POSTGRESQL_COLUMNS = """
SELECT a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       NOT a.attnotnull AS "null",
       pg_get_expr(d.adbin, d.adrelid) AS "default",
       a.attidentity::text AS identity,
       a.attgenerated::text AS generated,
       CASE WHEN a.attcollation <> t.typcollation THEN c.collname END AS collation,
       col_description(a.attrelid, a.attnum) AS comment
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""

POSTGRESQL_INDEXES = """
SELECT i.indexrelid AS oid,
       am.amname AS method,
       ARRAY(
           SELECT pg_get_indexdef(i.indexrelid, n, true)
             FROM generate_series(1, i.indnkeyatts) n
       ) AS columns,
       ARRAY(
           SELECT CASE WHEN i.indoption[n - 1] & 1 = 1 THEN 'DESC' ELSE 'ASC' END
                  || CASE WHEN i.indoption[n - 1] & 2 = 2
                          THEN ' NULLS FIRST' ELSE ' NULLS LAST' END
             FROM generate_series(1, i.indnkeyatts) n
       ) AS orders,
       ARRAY(
           SELECT o.opcname::text FROM generate_series(1, i.indnkeyatts) n
             JOIN pg_opclass o ON o.oid = i.indclass[n - 1] ORDER BY n
       ) AS operator_classes,
       ARRAY(
           SELECT (
               SELECT c.collname::text FROM pg_collation c
                WHERE c.oid = i.indcollation[n - 1]
           ) FROM generate_series(1, i.indnkeyatts) n ORDER BY n
       ) AS collations,
       ARRAY(
           SELECT pg_get_indexdef(i.indexrelid, n, true)
             FROM generate_series(i.indnkeyatts + 1, i.indnatts) n
       ) AS include,
       pg_get_expr(i.indpred, i.indrelid) AS condition,
       i.indisunique AS "unique",
       i.indisvalid AND i.indisready AS valid,
       pg_get_indexdef(i.indexrelid) ~ 'NULLS NOT DISTINCT' AS nulls_equal
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am am ON am.oid = x.relam
 WHERE i.indrelid = %s
"""

# contype 'n' (from PostgreSQL 18 on) repeats what attnotnull says, except for one
# that is not validated.
POSTGRESQL_CONSTRAINTS = """
SELECT c.contype::text AS kind,
       c.conindid AS index_oid,
       ARRAY(
           SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (attnum, n)
             JOIN pg_attribute a
               ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY n
       ) AS columns,
       CASE WHEN c.contype = 'f' THEN c.confrelid::regclass::text END AS target,
       ARRAY(
           SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k (attnum, n)
             JOIN pg_attribute a
               ON a.attrelid = c.confrelid AND a.attnum = k.attnum ORDER BY n
       ) AS target_columns,
       c.confdeltype::text AS on_delete,
       c.confupdtype::text AS on_update,
       c.condeferrable AS deferrable,
       c.condeferred AS deferred,
       c.convalidated AS validated,
       pg_get_constraintdef(c.oid, true) AS definition
  FROM pg_constraint c
 WHERE c.conrelid = %s AND NOT (c.contype = 'n' AND c.convalidated)
"""

POSTGRESQL_TRIGGERS = """
SELECT tgname::text AS name, pg_get_triggerdef(oid, true) AS definition,
       tgenabled::text AS enabled
  FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal
"""

POSTGRESQL_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
POSTGRESQL_IDENTITIES = {"": None, "a": "ALWAYS", "d": "BY DEFAULT"}
POSTGRESQL_GENERATED = {"": None, "s": "STORED", "v": "VIRTUAL"}


def describe_postgresql(connection: Any, cursor: Any, table: str) -> dict[str, Any]:
    """Describe a table from pg_catalog."""
    cursor.execute(
        "SELECT %s::regclass::oid, obj_description(%s::regclass, 'pg_class')",
        [connection.ops.quote_name(table)] * 2,
    )
    oid, comment = cursor.fetchone()
    columns = fetch_rows(cursor, POSTGRESQL_COLUMNS, [oid])
    indexes = {
        row.pop("oid"): row for row in fetch_rows(cursor, POSTGRESQL_INDEXES, [oid])
    }
    constraints: dict[str, Rows] = {}
    for row in fetch_rows(cursor, POSTGRESQL_CONSTRAINTS, [oid]):
        constraints.setdefault(row["kind"], []).append(row)

    backing = {}
    for row in [row for kind in "pux" for row in constraints.get(kind, ())]:
        backing[row["index_oid"]] = row
    keys = {"p": [], "u": [], "x": []}
    for index_oid, row in backing.items():
        key = indexes.pop(index_oid)
        key["deferrable"] = row["deferrable"]
        key["deferred"] = row["deferred"]
        if row["kind"] == "x":
            key["definition"] = row["definition"]
        keys[row["kind"]].append(key)

    return {
        "comment": comment,
        "columns": {
            column.pop("name"): {
                **column,
                "identity": POSTGRESQL_IDENTITIES[column["identity"]],
                "generated": POSTGRESQL_GENERATED[column["generated"]],
            }
            for column in columns
        },
        "primary_key": keys["p"][0]["columns"] if keys["p"] else [],
        "uniques": sort_rows(keys["u"]),
        "exclusions": sort_rows(keys["x"]),
        "indexes": sort_rows(indexes.values()),
        "foreign_keys": sort_rows(
            {
                "columns": row["columns"],
                "target": row["target"],
                "target_columns": row["target_columns"],
                "on_delete": POSTGRESQL_ACTIONS[row["on_delete"]],
                "on_update": POSTGRESQL_ACTIONS[row["on_update"]],
                "deferrable": row["deferrable"],
                "deferred": row["deferred"],
                "validated": row["validated"],
            }
            for row in constraints.get("f", ())
        ),
        "checks": sort_rows(
            {"definition": row["definition"], "validated": row["validated"]}
            for kind in "cn"
            for row in constraints.get(kind, ())
        ),
        "triggers": sort_rows(fetch_rows(cursor, POSTGRESQL_TRIGGERS, [oid])),
    }


# MariaDB and MySQL


MYSQL_COLUMNS = """
SELECT column_name AS name, column_type AS type, is_nullable = 'YES' AS `null`,
       column_default AS `default`, extra, generation_expression AS `generated`,
       collation_name AS collation, column_comment AS comment
  FROM information_schema.columns
 WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position
"""

MYSQL_INDEXES = """
SELECT index_name AS name, non_unique, column_name AS `column`,
       collation AS `order`, sub_part AS prefix, index_type AS method,
       index_comment AS comment
  FROM information_schema.statistics
 WHERE table_schema = DATABASE() AND table_name = %s
 ORDER BY index_name, seq_in_index
"""

MYSQL_FOREIGN_KEYS = """
SELECT k.constraint_name AS name, k.column_name AS `column`,
       k.referenced_table_name AS target, k.referenced_column_name AS target_column,
       r.delete_rule AS on_delete, r.update_rule AS on_update
  FROM information_schema.key_column_usage k
  JOIN information_schema.referential_constraints r
    ON r.constraint_schema = k.constraint_schema
   AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name
 WHERE k.table_schema = DATABASE() AND k.table_name = %s
 ORDER BY k.constraint_name, k.ordinal_position
"""

MARIADB_CHECKS = """
SELECT check_clause AS definition, LOWER(level) AS level
  FROM information_schema.check_constraints
 WHERE constraint_schema = DATABASE() AND table_name = %s
"""

MYSQL_CHECKS = """
SELECT c.check_clause AS definition, t.enforced = 'YES' AS validated
  FROM information_schema.check_constraints c
  JOIN information_schema.table_constraints t
    ON t.constraint_schema = c.constraint_schema
   AND t.constraint_name = c.constraint_name
 WHERE t.table_schema = DATABASE() AND t.table_name = %s
"""

MYSQL_TRIGGERS = """
SELECT trigger_name AS name, action_timing AS timing, event_manipulation AS event,
       action_statement AS definition
  FROM information_schema.triggers
 WHERE event_object_schema = DATABASE() AND event_object_table = %s
"""


def describe_mysql(connection: Any, cursor: Any, table: str) -> dict[str, Any]:
    """
    Describe a table from information_schema. A unique constraint is an index here.
    """
    columns = {}
    for column in fetch_rows(cursor, MYSQL_COLUMNS, [table]):
        extra = column.pop("extra").lower()
        column["null"] = bool(column["null"])
        column["generated"] = column["generated"] or None
        column["comment"] = column["comment"] or None
        column["auto_increment"] = "auto_increment" in extra
        column["extra"] = extra.replace("auto_increment", "").strip() or None
        columns[column.pop("name")] = column

    indexes: dict[str, dict[str, Any]] = {}
    for row in fetch_rows(cursor, MYSQL_INDEXES, [table]):
        index = indexes.setdefault(
            row["name"],
            {
                "columns": [],
                "orders": [],
                "prefixes": [],
                "method": row["method"],
                "unique": not row["non_unique"],
                "comment": row["comment"] or None,
            },
        )
        index["columns"].append(row["column"])
        index["orders"].append({"A": "ASC", "D": "DESC"}.get(row["order"]))
        index["prefixes"].append(row["prefix"])
    primary_key = indexes.pop("PRIMARY", None)

    foreign_keys: dict[str, dict[str, Any]] = {}
    for row in fetch_rows(cursor, MYSQL_FOREIGN_KEYS, [table]):
        key = foreign_keys.setdefault(
            row["name"],
            {
                "columns": [],
                "target": row["target"],
                "target_columns": [],
                "on_delete": row["on_delete"],
                "on_update": row["on_update"],
            },
        )
        key["columns"].append(row["column"])
        key["target_columns"].append(row["target_column"])

    checks = MARIADB_CHECKS if connection.mysql_is_mariadb else MYSQL_CHECKS
    cursor.execute(
        "SELECT table_comment, engine, table_collation FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = %s",
        [table],
    )
    comment, engine, collation = cursor.fetchone()
    return {
        "comment": comment or None,
        "engine": engine,
        "collation": collation,
        "columns": columns,
        "primary_key": primary_key["columns"] if primary_key else [],
        "uniques": sort_rows(i for i in indexes.values() if i["unique"]),
        "indexes": sort_rows(i for i in indexes.values() if not i["unique"]),
        "foreign_keys": sort_rows(foreign_keys.values()),
        "checks": sort_rows(fetch_rows(cursor, checks, [table])),
        "triggers": sort_rows(fetch_rows(cursor, MYSQL_TRIGGERS, [table])),
    }


# SQLite


# A quoted name, a string, a comment, a number or word, an operator or bracket.
SQLITE_TOKEN = re.compile(
    r"""("(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|('(?:[^']|'')*')|(--[^\n]*|/\*.*?\*/)"""
    r"""|(\w[\w.]*)|([<>=!|]+|\S)""",
    re.DOTALL,
)
SQLITE_CONSTRAINT_WORDS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}
SQLITE_DEFERRED = ["DEFERRABLE", "INITIALLY", "DEFERRED"]


def describe_sqlite(connection: Any, cursor: Any, table: str) -> dict[str, Any]:
    """Describe a table from PRAGMAs and, for what they keep quiet, its CREATE TABLE."""
    cursor.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [table]
    )
    parts = split_sqlite_table(cursor.fetchone()[0])
    clauses = {
        unquote(part[0]).lower(): part for part in parts if not is_table_clause(part)
    }
    quoted = connection.ops.quote_name(table)

    columns = {}
    info = fetch_rows(cursor, f"PRAGMA table_xinfo({quoted})")
    for row in info:
        clause = clauses[row["name"].lower()]
        columns[row["name"]] = {
            "type": row["type"].lower(),
            "null": not row["notnull"],
            "default": row["dflt_value"],
            "auto_increment": "AUTOINCREMENT" in clause,
            "generated": find_bracket(clause, "AS") if row["hidden"] else None,
            "collation": find_next(drop_brackets(clause), "COLLATE"),
        }

    unique_rows, index_rows = describe_sqlite_indexes(cursor, quoted)
    primary_key = sorted((row["pk"], row["name"]) for row in info if row["pk"])
    deferred = find_sqlite_deferred(parts)
    return {
        "columns": columns,
        "primary_key": [name for _, name in primary_key],
        "uniques": sort_rows(unique_rows),
        "indexes": sort_rows(index_rows),
        "foreign_keys": sort_rows(describe_sqlite_keys(cursor, quoted, deferred)),
        "checks": sort_rows(
            {"definition": check} for part in parts for check in find_checks(part)
        ),
        "triggers": drop_key(
            fetch_rows(
                cursor,
                "SELECT name, sql AS definition, type FROM sqlite_master "
                "WHERE type = 'trigger' AND tbl_name = %s",
                [table],
            ),
            "type",
        ),
    }


def describe_sqlite_indexes(cursor: Any, quoted: str) -> tuple[Rows, Rows]:
    """Return the unique constraints and the indexes of a table."""
    uniques, indexes = [], []
    for row in fetch_rows(cursor, f"PRAGMA index_list({quoted})"):
        if row["origin"] == "pk":
            continue
        name = row["name"].replace('"', '""')
        keys = [
            key
            for key in fetch_rows(cursor, f'PRAGMA index_xinfo("{name}")')
            if key["key"]
        ]
        found = {
            "columns": [key["name"] for key in keys],
            "orders": ["DESC" if key["desc"] else "ASC" for key in keys],
            "collations": [key["coll"] for key in keys],
            "unique": bool(row["unique"]),
        }
        if row["origin"] == "u":
            uniques.append(found)
            continue
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [row["name"]])
        tokens = tokenise(cursor.fetchone()[0])
        is_expression = any(key["name"] is None for key in keys)
        found["expressions"] = find_bracket(tokens, "ON") if is_expression else None
        found["condition"] = None
        if row["partial"]:
            where = tokens.index("WHERE")
            found["condition"] = " ".join(tokens[where + 1 :])
        indexes.append(found)
    return uniques, indexes


def describe_sqlite_keys(
    cursor: Any, quoted: str, deferred: set[tuple[str, ...]]
) -> Rows:
    """Return the foreign keys of a table."""
    keys: dict[int, dict[str, Any]] = {}
    for row in fetch_rows(cursor, f"PRAGMA foreign_key_list({quoted})"):
        key = keys.setdefault(
            row["id"],
            {
                "columns": [],
                "target": row["table"],
                "target_columns": [],
                "on_delete": row["on_delete"],
                "on_update": row["on_update"],
            },
        )
        key["columns"].append(row["from"])
        key["target_columns"].append(row["to"])
    for key in keys.values():
        key["deferred"] = tuple(key["columns"]) in deferred
    return list(keys.values())


def split_sqlite_table(sql: str) -> list[list[str]]:
    """Return the tokens of each column and table constraint of a CREATE TABLE."""
    tokens = tokenise(sql)
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens[tokens.index("(") :]:
        depth += (token == "(") - (token == ")")
        if depth == 0:
            break
        if depth == 1 and token == ",":
            parts.append([])
        elif not (depth == 1 and token == "(" and parts == [[]]):
            parts[-1].append(token)
    return parts


def tokenise(sql: str) -> list[str]:
    """Return the tokens of a statement: words in upper case, names in double quotes."""
    tokens = []
    for name, string, comment, word, other in SQLITE_TOKEN.findall(sql):
        if name:
            tokens.append(f'"{name[1:-1]}"')
        elif not comment:
            tokens.append(string or word.upper() or other)
    return tokens


def unquote(token: str) -> str:
    """Return the name that a quoted token stands for."""
    return token[1:-1].replace('""', '"') if token.startswith('"') else token.lower()


def is_table_clause(part: list[str]) -> bool:
    """Return whether this part of a CREATE TABLE is a constraint, not a column."""
    return part[0] in SQLITE_CONSTRAINT_WORDS


def find_next(tokens: list[str], word: str) -> str | None:
    """Return the token after a word, None without the word."""
    if word not in tokens:
        return None
    return unquote(tokens[tokens.index(word) + 1]).lower()


def drop_brackets(tokens: list[str]) -> list[str]:
    """Return the tokens that are in no brackets."""
    found = []
    depth = 0
    for token in tokens:
        depth -= token == ")"
        if depth == 0 and token != ")":
            found.append(token)
        depth += token == "("
    return found


def find_bracket(tokens: list[str], word: str, start: int = 0) -> str:
    """Return the text of the first brackets after a word, brackets included."""
    first = tokens.index("(", tokens.index(word, start))
    depth = 0
    for last in range(first, len(tokens)):
        depth += (tokens[last] == "(") - (tokens[last] == ")")
        if depth == 0:
            return " ".join(tokens[first : last + 1])
    raise ValueError(f"The brackets after {word} do not end: {tokens!r}.")


def find_checks(part: list[str]) -> list[str]:
    """Return every CHECK of a column or table constraint."""
    starts = [i for i, token in enumerate(part) if token == "CHECK"]
    return [find_bracket(part, "CHECK", start) for start in starts]


def find_sqlite_deferred(parts: list[list[str]]) -> set[tuple[str, ...]]:
    """Return the columns of each foreign key that is checked at COMMIT."""
    found = set()
    for part in parts:
        if "REFERENCES" not in part:
            continue
        start = part.index("REFERENCES")
        tail = part[start:]
        if not any(tail[i : i + 3] == SQLITE_DEFERRED for i in range(len(tail) - 2)):
            continue
        if is_table_clause(part):
            opening = part.index("(", part.index("FOREIGN"))
            names = part[opening + 1 : part.index(")", opening)]
            found.add(tuple(unquote(name) for name in names if name != ","))
        else:
            found.add((unquote(part[0]),))
    return found


DESCRIBERS = {
    "sqlite": describe_sqlite,
    "postgresql": describe_postgresql,
    "mysql": describe_mysql,
}
