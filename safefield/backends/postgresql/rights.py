"""PostgreSQL: what the role of a connection may not do."""

from __future__ import annotations

from safefield.backends.base.rights import Rights
from safefield.backends.base.sql import fetch_one, fetch_value

#: SQLSTATEs of insufficient_privilege and read_only_sql_transaction. Source:
#: PostgreSQL's appendix A.
REFUSAL = "42501"
READ_ONLY = "25006"


def get_state(exc: BaseException) -> str | None:
    """Return the SQLSTATE of an error."""
    # psycopg 3 has sqlstate, psycopg2 has pgcode.
    cause = exc.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


class PostgreSQLRights(Rights):
    """The rights of the role of a connection."""

    def is_refusal(self, exc: BaseException) -> bool:
        return get_state(exc) == REFUSAL

    def is_read_only(self, exc: BaseException) -> bool:
        return get_state(exc) == READ_ONLY

    def spell_temporary(self) -> str:
        # Not asked of the server: the transaction may be broken.
        info = self.connection.connection.info
        options = self.connection.settings_dict["OPTIONS"]
        role = self._quote(options.get("assume_role") or info.user)
        return f"GRANT TEMPORARY ON DATABASE {self._quote(info.dbname)} TO {role}"

    def find_missing(
        self, table: str, *, makes_index: bool, refers_to: str | None
    ) -> str:
        """
        Return which right to change a table is missing, and what gives it; else empty.

        Args:
            table (str): Unquoted name of the table.
            makes_index (bool): Whether the change takes a new index.
            refers_to (str | None): Another table that it makes a foreign key to.
        """
        found = fetch_one(
            self.connection,
            "SELECT quote_ident(current_user), quote_ident(pg_get_userbyid(relowner)), "
            "quote_ident(nspname), pg_has_role(relowner, 'USAGE'), "
            "has_schema_privilege(n.oid, 'CREATE') "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE c.oid = to_regclass(%s)",
            [self._quote(table)],
        )
        if found is None:
            return ""
        role, owner, schema, is_owner, may_create = found
        if not is_owner:
            return (
                f"only the owner of table {table} may change it, and role {role} is "
                f"not {owner}. Run migrate as {owner}, or let {role} act as it: GRANT "
                f"{owner} TO {role}."
            )
        if makes_index and not may_create:
            return (
                f"it takes an index, and role {role} may create none in schema "
                f"{schema}. Let it: GRANT CREATE ON SCHEMA {schema} TO {role}."
            )
        if refers_to is not None and not self._may_refer_to(refers_to):
            return (
                f"role {role} may not refer to table {refers_to}. Let it: GRANT "
                f"REFERENCES ON {self._quote(refers_to)} TO {role}."
            )
        return ""

    def _may_refer_to(self, table: str) -> bool:
        sql = "SELECT has_table_privilege(to_regclass(%s), 'REFERENCES')"
        # NULL where there is no such table, which the server says better.
        return fetch_value(self.connection, sql, [self._quote(table)]) is not False

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))
