"""
Everything that the server itself says of a database, one fact a line.

Nothing here knows of safefield: the facts come from the catalogue, from the rows of
every table, and from the settings of the session. Facts that move by themselves,
such as the statistics of a table, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.catalogue import SQLITE_TOKEN

Facts = frozenset[str]


class Snapshot(NamedTuple):
    """
    The state of a database and of a session.

    Args:
        catalogue (Facts): What is there, by definition.
        identities (Facts): Names of what is there, comparable between two runs.
        rows (Facts): Every row, without the columns that were left out.
        session (Facts): Settings, held locks, temporary tables.
    """

    catalogue: Facts
    identities: Facts
    rows: Facts
    session: Facts


def take_snapshot(connection: Any, *left_out: str) -> Snapshot:
    """
    Return the state of a database, less the values of some columns.

    Args:
        connection (BaseDatabaseWrapper): Of the session whose settings count.
        left_out (str): Columns whose values are not compared.
    """
    witness = WITNESSES[connection.vendor]
    with connection.cursor() as cursor:
        return Snapshot(
            *(
                frozenset(getattr(witness, part)(cursor, left_out))
                for part in Snapshot._fields
            )
        )


def fetch(cursor: Any, sql: str, params: Any = None) -> list[Any]:
    """Return all rows of a query."""
    cursor.execute(sql, params)
    return list(cursor.fetchall())


# PostgreSQL

#: Catalogues by the column that says whose a row is: all with an OID above those of
#: the server's own.
CATALOGUES = {
    **dict.fromkeys(
        (
            "pg_attrdef",
            "pg_cast",
            "pg_class",
            "pg_collation",
            "pg_constraint",
            "pg_default_acl",
            "pg_event_trigger",
            "pg_extension",
            "pg_namespace",
            "pg_operator",
            "pg_policy",
            "pg_proc",
            "pg_publication",
            "pg_publication_rel",
            "pg_rewrite",
            "pg_statistic_ext",
            "pg_trigger",
            "pg_type",
        ),
        "oid",
    ),
    "pg_attribute": "attrelid",
    "pg_depend": "objid",
    "pg_description": "objoid",
    "pg_enum": "enumtypid",
    "pg_index": "indexrelid",
    "pg_inherits": "inhrelid",
    "pg_partitioned_table": "partrelid",
    "pg_sequence": "seqrelid",
}

#: What a change to one column moves in the rows of its table, or what moves by itself.
MOVING = [
    "relpages",
    "reltuples",
    "relallvisible",
    "relfrozenxid",
    "relminmxid",
    "relfilenode",
    "relnatts",
    "relchecks",
    "relhastriggers",
    "relhasindex",
    "reltoastrelid",
    "indcheckxmin",
]

OBJECTS = """
SELECT 'pg_{0}'::regclass::oid AS classid, oid AS objid, 0 AS objsubid
  FROM pg_{0} WHERE oid >= 16384
"""


class PostgreSQL:
    """The raw rows of pg_catalog, by OID."""

    @staticmethod
    def catalogue(cursor: Any, left_out: Any) -> Iterator[str]:
        for name, key in CATALOGUES.items():
            condition = {
                "pg_attribute": "AND NOT attisdropped AND attnum > 0",
                "pg_class": "AND relnamespace <> 'pg_toast'::regnamespace",
                "pg_type": "AND typnamespace <> 'pg_toast'::regnamespace",
                "pg_namespace": "AND nspname !~ '^pg_'",
            }.get(name, "")
            for (row,) in fetch(
                cursor,
                f"SELECT (to_jsonb(t) - %s::text[])::text FROM {name} t "
                f"WHERE {key} >= 16384 {condition}",
                [MOVING],
            ):
                yield f"{name} {row}"
        for row in fetch(
            cursor,
            "SELECT schemaname, sequencename, last_value FROM pg_sequences",
        ):
            yield f"sequence {row}"

    @staticmethod
    def identities(cursor: Any, left_out: Any) -> Iterator[str]:
        tables = [
            "attrdef",
            "class",
            "constraint",
            "policy",
            "rewrite",
            "trigger",
            "statistic_ext",
        ]
        objects = " UNION ALL ".join(OBJECTS.format(name) for name in tables)
        for kind, identity in fetch(
            cursor,
            "SELECT type, identity FROM ("
            f"{objects} UNION ALL SELECT 'pg_class'::regclass::oid, attrelid, attnum "
            "FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0 "
            "AND NOT attisdropped) o, "
            "pg_identify_object(classid, objid, objsubid) WHERE identity !~ 'pg_toast'",
        ):
            # RI_ConstraintTrigger_a_16412
            yield re.sub(r'_\d+(?=" on )', "_N", f"{kind} {identity}")

    @staticmethod
    def rows(cursor: Any, left_out: Any) -> Iterator[str]:
        columns: dict[str, list[str]] = {}
        for table, column in fetch(
            cursor,
            "SELECT attrelid::regclass::text, quote_ident(attname) FROM pg_attribute "
            "JOIN pg_class c ON c.oid = attrelid WHERE attnum > 0 "
            "AND NOT attisdropped AND relkind IN ('r', 'p', 'm') "
            "AND attrelid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace "
            "ORDER BY attrelid, attnum",
        ):
            columns.setdefault(table, [])
            if column not in left_out:
                columns[table].append(column)
        for table, names in columns.items():
            for row in fetch(
                cursor, f"SELECT ROW({', '.join(names)})::text FROM {table}"
            ):
                yield f"{table} {row}"

    @staticmethod
    def session(cursor: Any, left_out: Any) -> Iterator[str]:
        for name, setting in fetch(cursor, "SELECT name, setting FROM pg_settings"):
            yield f"{name} = {setting}"
        for row in fetch(
            cursor,
            "SELECT classid, objid, objsubid, mode FROM pg_locks "
            "WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        ):
            yield f"advisory lock {row}"
        for row in fetch(
            cursor,
            "SELECT relname, relkind::text FROM pg_class "
            "WHERE relnamespace = pg_my_temp_schema()",
        ):
            yield f"temporary {row}"
        yield f"autocommit {cursor.db.get_autocommit()}"
        yield f"in a transaction {cursor.db.in_atomic_block}"


# MariaDB and MySQL

#: Variables that say what the session has just done.
MOVING_VARIABLES = re.compile(
    r"timestamp|insert_id|identity|rand_seed|gtid|_count$|in_transaction|pseudo_"
    r"|statement_id|last_"
)


class MySQL:
    """What SHOW CREATE says, line by line."""

    @staticmethod
    def catalogue(cursor: Any, left_out: Any) -> Iterator[str]:
        for name, kind in fetch(
            cursor,
            "SELECT TABLE_NAME, CASE TABLE_TYPE WHEN 'VIEW' THEN 'VIEW' "
            "WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END "
            "FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
            "UNION ALL SELECT TRIGGER_NAME, 'TRIGGER' FROM information_schema.TRIGGERS "
            "WHERE TRIGGER_SCHEMA = DATABASE() "
            "UNION ALL SELECT ROUTINE_NAME, ROUTINE_TYPE "
            "FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() "
            "UNION ALL SELECT EVENT_NAME, 'EVENT' FROM information_schema.EVENTS "
            "WHERE EVENT_SCHEMA = DATABASE()",
        ):
            (row,) = fetch(cursor, f"SHOW CREATE {kind} `{name}`")
            # A trigger has its time of creation behind it.
            text = row[2] if kind == "TRIGGER" else row[1]
            when = row[6] if kind == "TRIGGER" else ""
            if kind != "TABLE":
                yield f"{kind} {name}: {text} {when}"
                continue
            for line in text.splitlines():
                yield f"{kind} {name}: {line.strip().rstrip(',')}"
        for table in ("tables_priv", "columns_priv", "procs_priv"):
            for row in fetch(
                cursor, f"SELECT * FROM mysql.{table} WHERE Db = DATABASE()"
            ):
                yield f"{table} {row}"
        if cursor.db.mysql_is_mariadb:
            for table in ("table_stats", "column_stats", "index_stats"):
                for row in fetch(
                    cursor, f"SELECT * FROM mysql.{table} WHERE db_name = DATABASE()"
                ):
                    yield f"{table} {row}"

    @staticmethod
    def identities(cursor: Any, left_out: Any) -> Iterator[str]:
        return MySQL.catalogue(cursor, left_out)

    @staticmethod
    def rows(cursor: Any, left_out: Any) -> Iterator[str]:
        columns: dict[str, list[str]] = {}
        for table, column in fetch(
            cursor,
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION",
        ):
            columns.setdefault(table, [])
            if column not in left_out:
                columns[table].append(f"HEX(`{column}`)")
        for table, names in columns.items():
            for row in fetch(cursor, f"SELECT {', '.join(names)} FROM `{table}`"):
                yield f"{table} {row}"

    @staticmethod
    def session(cursor: Any, left_out: Any) -> Iterator[str]:
        for name, value in fetch(cursor, "SHOW SESSION VARIABLES"):
            if not MOVING_VARIABLES.search(name):
                yield f"{name} = {value}"
        if cursor.db.mysql_is_mariadb:
            ((locks,),) = fetch(cursor, "SELECT RELEASE_ALL_LOCKS()")
            yield f"locks held: {locks}"
        yield f"in a transaction {cursor.db.in_atomic_block}"
        yield f"autocommit {cursor.db.get_autocommit()}"


# SQLite

PRAGMAS = [
    "application_id",
    "auto_vacuum",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cell_size_check",
    "checkpoint_fullfsync",
    "defer_foreign_keys",
    "encoding",
    "foreign_keys",
    "fullfsync",
    "ignore_check_constraints",
    "journal_mode",
    "legacy_alter_table",
    "locking_mode",
    "page_size",
    "query_only",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "synchronous",
    "temp_store",
    "trusted_schema",
    "user_version",
    "writable_schema",
]


class SQLite:
    """The texts of sqlite_master; that of a table part by part."""

    @staticmethod
    def catalogue(cursor: Any, left_out: Any) -> Iterator[str]:
        for schema in ("sqlite_master", "sqlite_temp_master"):
            for kind, name, table, sql in fetch(
                cursor, f"SELECT type, name, tbl_name, sql FROM {schema}"
            ):
                if kind != "table" or name.startswith("sqlite_"):
                    yield f"{schema} {kind} {name} on {table}: {sql}"
                    continue
                # A check says the same with and without the name of its table.
                sql = re.sub(rf'("?){name}\1\.', "", sql)
                for part in split_definition(sql):
                    yield f"{schema} {kind} {name}: {part}"
        names = {
            name for (name,) in fetch(cursor, "SELECT name FROM sqlite_master")
        } & {"sqlite_sequence", "sqlite_stat1"}
        for name in names:
            for row in fetch(cursor, f"SELECT * FROM {name}"):
                yield f"{name} {row}"

    @staticmethod
    def identities(cursor: Any, left_out: Any) -> Iterator[str]:
        return SQLite.catalogue(cursor, left_out)

    @staticmethod
    def rows(cursor: Any, left_out: Any) -> Iterator[str]:
        for (table,) in fetch(
            cursor,
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%%'",
            [],
        ):
            names = [
                name
                for (name,) in fetch(
                    cursor, "SELECT name FROM pragma_table_xinfo(%s)", [table]
                )
            ]
            ((without_rowid,),) = fetch(
                cursor, "SELECT wr FROM pragma_table_list(%s)", [table]
            )
            quoted = [
                '"' + name.replace('"', '""') + '"'
                for name in names
                if name not in left_out
            ]
            values = [f"typeof({name}) || quote({name})" for name in quoted]
            if not without_rowid:
                values.append("rowid")
            for row in fetch(cursor, f'SELECT {", ".join(values)} FROM "{table}"'):
                yield f"{table} {row}"

    @staticmethod
    def session(cursor: Any, left_out: Any) -> Iterator[str]:
        for name in PRAGMAS:
            yield f"{name} = {fetch(cursor, f'PRAGMA {name}')}"
        yield f"in a transaction {cursor.db.in_atomic_block}"
        yield f"in a transaction {cursor.db.connection.in_transaction}"


def split_definition(sql: str) -> Iterator[str]:
    """Yield the parts of a CREATE TABLE: columns, constraints, and what is behind."""
    tokens = ["".join(match) for match in SQLITE_TOKEN.findall(sql)]
    part: list[str] = []
    depth = 0
    # CREATE TABLE and the name, however they are spelled.
    for token in tokens[3:]:
        depth += (token == "(") - (token == ")")
        if (token == "," and depth == 1) or (token in "()" and depth == (token == "(")):
            yield " ".join(part)
            part = []
        else:
            part.append(token)
    yield "behind it: " + " ".join(part)


WITNESSES = {"mysql": MySQL, "postgresql": PostgreSQL, "sqlite": SQLite}
