"""Names that a column's indexes and constraints will have, and that others may have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from safefield.plan import Plan

#: How Django's CREATE INDEX names another method than the usual one.
METHOD = re.compile(r" USING (\w+)")


class WantedName(NamedTuple):
    """A name that the final field needs."""

    #: Not quoted.
    name: str
    #: "unique constraint", "index" or "foreign key".
    kind: str
    #: Of an index.
    method: str = "btree"


def find_wanted_names(editor: Any, plan: Plan) -> list[WantedName]:
    """Return the names that Django gives to what the final field has, and had not."""
    final, model, old = plan.final_field, plan.model, plan.old_field
    names = []
    if final.unique and not (old is not None and old.unique):
        name = editor._unique_constraint_name(plan.table, [final.column])
        names.append(WantedName(_unquote(name), "unique constraint"))
    had = [] if old is None else _get_index_parts(editor, model, old)
    for parts in _get_index_parts(editor, model, final):
        if parts not in had:
            method = METHOD.search(parts.get("using", ""))
            names.append(
                WantedName(
                    _unquote(parts["name"]),
                    "index",
                    method[1].lower() if method else "btree",
                )
            )
    if (
        editor.sql_create_fk
        and final.remote_field
        and getattr(final, "db_constraint", False)
        and not getattr(old, "db_constraint", False)
    ):
        statement = editor._create_fk_sql(
            model, final, "_fk_%(to_table)s_%(to_column)s"
        )
        names.append(WantedName(_unquote(statement.parts["name"]), "foreign key"))
    return names


def refuse_taken_names(plan: Plan, taken: Iterable[str]) -> None:
    """Refuse indexes and constraints that could not have their names in the end."""
    found = list(taken)
    if not found:
        return
    names, them = ("a name", "it") if len(found) == 1 else ("names", "them")
    raise plan.error(
        f"{plan.title} needs {names} that something else has: {', '.join(found)}. "
        f"Rename or drop {them}, then run migrate again. Nothing was changed."
    )


def _get_index_parts(editor: Any, model: Any, field: Any) -> list[dict[str, str]]:
    """Return what the statements for the indexes of `field` are made of."""
    # Not the statements: those of another package's backend may be several in one.
    return [
        {name: str(part) for name, part in statement.parts.items()}
        for statement in editor._field_indexes_sql(model, field)
        # Those of geometries are texts already.
        if hasattr(statement, "parts")
    ]


def _unquote(name: Any) -> str:
    return str(name).strip('"`')
