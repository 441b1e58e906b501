"""How far each backfill of a project is, as far as a database tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from django.db import DatabaseError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

from safefield.backends import get_backend
from safefield.backends.base.catalogue import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.backends.base.tally import Tally
from safefield.exceptions import SafefieldError, escape
from safefield.inspection.entries import Entry
from safefield.inspection.history import BackfillMigration, History


class State(Enum):
    """How far a backfill is, as --json names it."""

    NOT_STARTED = "not_started"
    #: An altered column looks the same before and during the fill.
    PENDING = "pending"
    FILLING = "filling"
    FILLED = "filled"
    DONE = "done"
    #: The database routers keep the model away.
    ELSEWHERE = "not_on_this_database"
    UNKNOWN = "unknown"

    @property
    def text(self) -> str:
        """How a line names it."""
        if self is State.FILLED:
            return "filled, not enforced"
        return str(self.value).replace("_", " ")


#: What stands for a state that contradicts the record in django_migrations.
CONTRADICTIONS = {
    State.NOT_STARTED: "applied, but the column is not there",
    State.PENDING: "applied, but not enforced",
    State.FILLING: "applied, but not enforced",
    State.FILLED: "applied, but not enforced",
}


@dataclass(frozen=True)
class Status:
    """How far one backfill is."""

    #: Such as "films.0002_movie_slug".
    migration: str
    #: Such as "films.Movie.slug"; empty for a migration that cannot be read.
    field: str
    #: Whether the migration is recorded as applied.
    is_applied: bool
    state: State
    #: How many rows have a value, where that matters.
    tally: Tally | None = None
    #: Why the state is unknown.
    reason: str = ""
    #: What a run that was killed has left, which refuses rows without a value.
    guard: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do for it on this database."""
        if self.state is State.DONE:
            return self.is_applied
        return self.state is State.ELSEWHERE

    def describe(self) -> str:
        """Return such as "filling: about 412,000 of 1,000,000 rows (41%)"."""
        text = self.state.text
        if self.is_applied:
            text = CONTRADICTIONS.get(self.state, text)
        elif self.state is State.DONE:
            text = "done, not recorded: run migrate"
        if self.tally is not None:
            text += f": {self.tally}"
            if self.state is State.PENDING or self.is_applied:
                text += " have a value"
        if self.reason:
            text += f": {self.reason}"
        if self.guard:
            text += (
                f". A run was killed: {self.guard} refuses each INSERT without a "
                f"value. migrate and abandonbackfill drop it"
            )
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return what --json prints."""
        rows = asdict(self.tally) if self.tally else dict.fromkeys(TALLY_KEYS)
        return {
            "migration": self.migration,
            "field": self.field,
            "is_applied": self.is_applied,
            "state": self.state.value,
            **rows,
            "guard": self.guard or None,
            "text": self.describe(),
        }


TALLY_KEYS = ("rows", "filled", "is_exact")


def read_statuses(
    connection: BaseDatabaseWrapper, app_label: str | None = None
) -> Iterator[Status]:
    """
    Yield how far each backfill is, of the project or of an app, in migrate's order.

    Only migrations that migrate would run next, or undo next, are looked for
    in the catalogue: the others cannot have begun, or cannot be half undone.

    Raises:
        SafefieldError: There is no such app, or it has no migrations.
    """
    history = History(connection)
    if app_label is not None:
        history.check_app(app_label)
    for found in history.walk(history.is_next):
        if app_label in (None, found.migration.app_label):
            yield from _read(found, history)


def _read(found: BackfillMigration, history: History) -> Iterator[Status]:
    is_applied = history.is_applied(found.migration)
    for entry in found.entries:
        label = str(found.migration)
        field = entry.operation.name
        with suppress(Exception):
            field = f"{entry.model_label}.{field}"
        try:
            state, tally, guard = _read_entry(entry, history, is_applied)
        except Exception as exc:  # noqa: BLE001 - the others can be read
            yield _report_unknown(label, field, is_applied, exc)
        else:
            yield Status(label, field, is_applied, state, tally, guard=guard)
    if found.error is not None:
        yield _report_unknown(str(found.migration), "", is_applied, found.error)


def _report_unknown(
    migration: str, field: str, is_applied: bool, exc: Exception
) -> Status:
    reason = str(exc)
    if not isinstance(exc, SafefieldError):
        reason = f"{type(exc).__name__}: {reason}"
    reason = escape(" ".join(reason.split()))
    return Status(migration, field, is_applied, State.UNKNOWN, reason=reason)


def _read_entry(
    entry: Entry, history: History, is_applied: bool
) -> tuple[State, Tally | None, str]:
    """Return the state, the rows that have a value, and what refuses others."""
    migration, connection = entry.migration, history.connection
    if not entry.is_allowed(connection):
        return State.ELSEWHERE, None, ""
    if not history.is_next(migration):
        return State.DONE if is_applied else State.NOT_STARTED, None, ""
    # Not entered: it only spells SQL here.
    editor: Any = connection.schema_editor(atomic=False)
    schema = entry.make_schema(connection, editor)
    column = read_column(schema)
    if is_applied and entry.is_changed_later():
        # Such as by an AlterField that was squashed into the same migration.
        return State.DONE, None, ""
    if column is None:
        return State.NOT_STARTED, None, ""
    # Once the column is required, the guard refuses nothing more.
    guard = schema.guard_title if column.null and not is_applied else ""
    return *_read_live(schema, column, is_applied), guard


def read_column(schema: Schema) -> LiveColumn | None:
    """Return what the catalogue says of a column; None also without its table."""
    try:
        return schema.catalogue.find_column()
    except ProgrammingError:
        return None


def _read_live(
    schema: Schema, column: LiveColumn, is_applied: bool
) -> tuple[State, Tally | None]:
    is_added = schema.plan.old_field is None
    if is_added and not is_applied:
        # Who may do nothing but read cannot ask for the type that it is to have.
        with suppress(DatabaseError):
            schema.preflight.check_column(column, may_make_tables=False)
    is_enforced = schema.is_enforced(column)
    if is_enforced and (is_applied or not column.null):
        return State.DONE, None
    tally = get_backend(schema.connection).census(schema).count()
    if not tally.is_full:
        return State.FILLING if is_added else State.PENDING, tally
    return (State.DONE, None) if is_enforced else (State.FILLED, tally)
