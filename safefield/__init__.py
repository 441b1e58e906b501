"""Add required fields to tables that already have rows."""

from __future__ import annotations

from safefield.exceptions import BackfillError, BadRow
from safefield.numbering import numbered

__version__ = "0.1.0"

__all__ = ["BackfillError", "BadRow", "numbered"]
