"""How many rows have a value, exactly or about, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tally:
    """How many rows have a value."""

    rows: int
    #: None where only counting them all would tell.
    filled: int | None
    is_exact: bool

    @property
    def is_full(self) -> bool:
        """Whether no row without a value was found."""
        return self.filled == self.rows

    def __str__(self) -> str:
        """Return such as "about 412,000 of 1,000,000 rows (41%)"."""
        about = "" if self.is_exact else "about "
        if self.filled is None:
            return f"{about}{self.rows:,} rows (how many of them is not known)"
        if self.is_full:
            return f"{about}{self.rows:,} rows"
        percent = 100 * self.filled // self.rows
        return f"{about}{self.filled:,} of {self.rows:,} rows ({percent}%)"

    def describe_filled(self) -> str:
        """Return such as "412,000 of about 1,000,000 rows are filled"."""
        about = "" if self.is_exact else "about "
        if self.filled is None:
            return f"how many of {about}{self.rows:,} rows are filled is not known"
        return f"{self.filled:,} of {about}{self.rows:,} rows are filled"


def extrapolate(rows: int, seen: int, filled: int) -> Tally:
    """Return the tally of a table from that of a sample."""
    rows = round_about(rows)
    if not seen:
        return Tally(rows, None, is_exact=False)
    return Tally(
        rows,
        rows if filled == seen else round_about(rows * filled // seen),
        is_exact=False,
    )


def round_about(number: int) -> int:
    """Return `number` with three digits that mean something."""
    return round(number, min(0, 3 - len(str(number))))
