"""MySQL and MariaDB: what is too long, and what no partitioned table has."""

from __future__ import annotations

from django.db import DatabaseError

from safefield.backends.base.preflight import Preflight
from safefield.backends.base.sql import fetch_value
from safefield.backends.mysql.catalogue import MySQLCatalogue

#: Error numbers: "Specified key was too long", "Column length too big", "Row size too
#: large", "BLOB/TEXT column used in key specification without a key length". Source:
#: mysqld_error.h.
TOO_LONG = {1071, 1074, 1118, 1170}


class MySQLPreflight(Preflight):
    """What may be in the way of one plan."""

    catalogue: MySQLCatalogue

    def check_table(self) -> None:
        super().check_table()
        self._check_lengths()
        self._check_partitions()

    def _check_lengths(self) -> None:
        """Refuse a column, or its index, that is longer than the server has them."""
        field = self.plan.final_field
        kind = str(field.db_type(self.connection))
        if "char" not in kind and "text" not in kind and "blob" not in kind:
            return
        index = ""
        if field.unique:
            index = ", UNIQUE (c)"
        elif self.catalogue.wanted.has_index():
            index = ", INDEX (c)"
        try:
            self.catalogue.probe_type(index=index)
        except DatabaseError as exc:
            if exc.args[0] in TOO_LONG:
                raise self.plan.error(
                    f"{self.plan.title} cannot be as it is to end: the database "
                    f"refuses a column of type {kind}"
                    f"{' with an index' if index else ''}: {exc.args[1]}. Make "
                    f"max_length smaller, or the index one that the database has, "
                    f"then run migrate again. Nothing was changed."
                ) from exc
            # A user that may not create temporary tables is not told beforehand.

    def _check_partitions(self) -> None:
        """Refuse what the server would, perhaps when all rows are filled."""
        has_key = self.catalogue.wanted.has_foreign_key()
        if not (has_key or self.plan.final_field.unique):
            return
        count = fetch_value(
            self.connection,
            "SELECT COUNT(PARTITION_NAME) FROM information_schema.PARTITIONS "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
            [self.plan.table],
        )
        if not count:
            return
        if has_key:
            raise self.plan.error(
                f"{self.plan.title} cannot be a foreign key: table {self.plan.table} "
                f"has partitions, and the database has no foreign keys there. Add "
                f"db_constraint=False to the field. Nothing was changed."
            )
        raise self.plan.error(
            f"{self.plan.title} cannot be unique: table {self.plan.table} has "
            f"partitions, and the database has no unique index there without the "
            f"columns by which it is partitioned. Leave unique out of the field, and "
            f"put a UniqueConstraint over {self.plan.field_name} and those columns "
            f"into the model. Nothing was changed."
        )
