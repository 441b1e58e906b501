"""PostgreSQL: what the role of a connection may not do."""

from __future__ import annotations

from safefield.backends.base.rights import Rights
from safefield.backends.base.sql import fetch_one, fetch_value
from safefield.exceptions import BackfillError
from safefield.plan import Plan

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

    def refuse_change(
        self, plan: Plan, *, makes_index: bool, refers_to: str | None
    ) -> None:
        """
        Refuse a change of the table that the server would refuse, perhaps later.

        Args:
            refers_to (str | None): The table that a new foreign key is to refer to.

        Raises:
            BackfillError: The role may not do it; the text has the statement that
                lets it.
        """
        found = fetch_one(
            self.connection,
            "SELECT quote_ident(current_user), quote_ident(pg_get_userbyid(relowner)), "
            "quote_ident(nspname), pg_has_role(relowner, 'USAGE'), "
            "has_schema_privilege(n.oid, 'CREATE') "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE c.oid = to_regclass(%s)",
            [self._quote(plan.table)],
        )
        if found is None:
            return
        role, owner, schema, is_owner, may_create = found
        if not is_owner:
            raise self._make_error(
                plan,
                f"only the owner of table {plan.table} may change it, and role {role} "
                f"is not {owner}. Run migrate as {owner}, or let {role} act as it: "
                f"GRANT {owner} TO {role}.",
            )
        if makes_index and not may_create:
            raise self._make_error(
                plan,
                f"it takes an index, and role {role} may create none in schema "
                f"{schema}. Let it: GRANT CREATE ON SCHEMA {schema} TO {role}.",
            )
        if refers_to is not None and not self._may_refer_to(refers_to):
            raise self._make_error(
                plan,
                f"role {role} may not refer to table {refers_to}. Let it: GRANT "
                f"REFERENCES ON {self._quote(refers_to)} TO {role}.",
            )

    def _may_refer_to(self, table: str) -> bool:
        sql = "SELECT has_table_privilege(to_regclass(%s), 'REFERENCES')"
        # NULL where there is no such table, which the server says better.
        return fetch_value(self.connection, sql, [self._quote(table)]) is not False

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    def _make_error(self, plan: Plan, text: str) -> BackfillError:
        return plan.error(
            f"{plan.title} cannot be changed: {text} Nothing was changed."
        )
