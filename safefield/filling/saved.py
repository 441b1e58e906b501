"""An expression as UPDATE stores it."""

from __future__ import annotations

from typing import Any


class Saved:
    """An expression whose values are prepared for a column, as UPDATE has them."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: Any = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Any:
        """Return the expression as for an UPDATE, whatever the query is."""
        return self.expression.resolve_expression(
            query, allow_joins, reuse, summarize, True
        )


def has_subquery(expression: Any) -> bool:
    """Return whether a query is part of a resolved expression."""
    return bool(getattr(expression, "subquery", False)) or any(
        has_subquery(part)
        for part in expression.get_source_expressions()
        if part is not None
    )
