"""What Django's autodetector is told of the order of operations."""

from __future__ import annotations

from typing import NamedTuple

from django.db.migrations.operations.base import Operation


class OnOperation(NamedTuple):
    """
    A dependency on one operation, in the place of Django's OperationDependency.

    Args:
        app_label (str): App of the operation.
        operation (Operation): It has to run before.
    """

    app_label: str
    operation: Operation
