"""PostgreSQL: rows whose value does not fit into an index."""

from __future__ import annotations

import re
from typing import Any

from django.db import DatabaseError
from django.db.models import BooleanField, F, Func, IntegerField, Q
from django.db.models.expressions import RawSQL
from django.db.models.lookups import GreaterThan

#: Bytes of a value as it is stored, compressed, for which a B-tree has room: a third
#: of a page of 8 kB, less what is around it. Source: BTMaxItemSize in
#: src/include/access/nbtree.h.
MAX_BYTES = 2_692

#: Where the row is that an index refused: "Index row references tuple (0,7) in …".
PLACE = re.compile(r"\(\d+,\d+\)")


def is_too_long(table: str, column: str, exc: DatabaseError) -> Any:
    """
    Return the condition on the rows that are too long, as `exc` says of one of them.
    """
    size = Func(F(column), function="pg_column_size", output_field=IntegerField())
    condition = Q(GreaterThan(size, MAX_BYTES))
    detail = getattr(getattr(exc.__cause__, "diag", None), "message_detail", None)
    if place := PLACE.search(detail or ""):
        condition |= Q(
            RawSQL(
                f"{table.replace('%', '%%')}.ctid = %s::tid",
                [place.group()],
                output_field=BooleanField(),
            )
        )
    return condition
