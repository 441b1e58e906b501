"""The one place that chooses by database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.backends.base import misfits
from safefield.backends.base.census import Census
from safefield.backends.base.conversion import Conversion
from safefield.backends.base.rights import Rights
from safefield.backends.base.schema import Schema
from safefield.backends.base.script import Script
from safefield.backends.base.shadow import Shadow
from safefield.backends.base.values_table import ValuesTable
from safefield.backends.base.writer import Writer
from safefield.backends.mysql import misfits as mysql_misfits
from safefield.backends.mysql.conversion import MySQLConversion
from safefield.backends.mysql.rights import MySQLRights
from safefield.backends.mysql.schema import MySQLSchema
from safefield.backends.mysql.script import MySQLScript
from safefield.backends.mysql.shadow import MySQLShadow
from safefield.backends.mysql.values_table import MySQLValuesTable
from safefield.backends.mysql.writer import MySQLWriter
from safefield.backends.postgresql.census import PostgreSQLCensus
from safefield.backends.postgresql.conversion import PostgreSQLConversion
from safefield.backends.postgresql.rights import PostgreSQLRights
from safefield.backends.postgresql.schema import PostgreSQLSchema
from safefield.backends.postgresql.script import PostgreSQLScript
from safefield.backends.postgresql.shadow import PostgreSQLShadow
from safefield.backends.postgresql.writer import PostgreSQLWriter
from safefield.backends.sqlite import misfits as sqlite_misfits
from safefield.backends.sqlite.conversion import SQLiteConversion
from safefield.backends.sqlite.rights import SQLiteRights
from safefield.backends.sqlite.schema import SQLiteSchema
from safefield.backends.sqlite.shadow import SQLiteShadow
from safefield.fields import AnyField


class Backend(NamedTuple):
    """What safefield does its own way on one database."""

    schema: type[Schema]
    writer: type[Writer]
    script: type[Script] = Script
    census: type[Census] = Census
    shadow: type[Shadow] = Shadow
    values_table: type[ValuesTable] = ValuesTable
    conversion: type[Conversion] = Conversion
    rights: type[Rights] = Rights
    find_misfits: Callable[[Any, AnyField], Any] = misfits.find_misfits


#: By connection.vendor. MariaDB's vendor is "mysql".
BACKENDS = {
    "mysql": Backend(
        MySQLSchema,
        MySQLWriter,
        script=MySQLScript,
        shadow=MySQLShadow,
        values_table=MySQLValuesTable,
        conversion=MySQLConversion,
        rights=MySQLRights,
        find_misfits=mysql_misfits.find_misfits,
    ),
    "postgresql": Backend(
        PostgreSQLSchema,
        PostgreSQLWriter,
        script=PostgreSQLScript,
        census=PostgreSQLCensus,
        shadow=PostgreSQLShadow,
        conversion=PostgreSQLConversion,
        rights=PostgreSQLRights,
    ),
    "sqlite": Backend(
        SQLiteSchema,
        Writer,
        shadow=SQLiteShadow,
        conversion=SQLiteConversion,
        rights=SQLiteRights,
        find_misfits=sqlite_misfits.find_misfits,
    ),
}

#: Every other database: Django's own schema editor and plain SQL.
PORTABLE = Backend(Schema, Writer)


def get_backend(connection: BaseDatabaseWrapper) -> Backend:
    """Return what to use on `connection`."""
    return BACKENDS.get(connection.vendor, PORTABLE)
