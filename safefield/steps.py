"""The steps of a backfill, each of which looks before it acts."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial

from django.db import DatabaseError, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from safefield.backends import get_backend
from safefield.backends.base.catalogue import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.fields import refer_otherwise
from safefield.filling.endings import Ending
from safefield.filling.fill import Fill
from safefield.filling.marker import Marker
from safefield.filling.narrowing import Narrowing, make_refusal, turn_round
from safefield.filling.origins import refuse_applied
from safefield.filling.queries import not_kept
from safefield.filling.refusals import (
    find_column,
    refuse_broken_transaction,
    refuse_plan,
)
from safefield.filling.refused_constraints import refused
from safefield.filling.reversal import Reversal
from safefield.filling.rows import sort_by_key
from safefield.filling.table_walk import Walked
from safefield.filling.target import Target, has_no_value
from safefield.filling.verify import verify
from safefield.filling.violations import is_about_values
from safefield.plan import Plan
from safefield.progress import (
    finish,
    is_heard,
    note,
    show_progress,
    show_statements,
    step,
)
from safefield.reports import count_rows, list_keys


def forwards(plan: Plan, editor: BaseDatabaseSchemaEditor) -> None:
    """
    Add or alter the column, fill it, and enforce the final definition.

    Steps: preflight, add, fill, verify, enforce.

    Re-run: each step reads the catalogue, so a run that was stopped is
    finished by the same call.

    Raises:
        BackfillError: Rows cannot be filled, or the column that is there is
            another one.
    """
    backend = get_backend(editor.connection)
    if editor.collect_sql:
        backend.script(editor, plan).forwards()
        return
    schema = backend.schema(editor, plan)
    refuse_plan(plan)
    ending = Ending(plan, schema, "The rows that are filled stay.", is_forwards=True)
    started = time.monotonic()
    with ending.told(), show_progress(), show_statements(editor):
        with not_kept(editor.connection), schema.in_transaction():
            if plan.old_field is None and schema.add_at_once():
                return
            with schema.claim_table():
                column, narrowing = look(plan, schema)
                fill = Fill(Target(plan.reloaded(), schema, has_no_value(plan)))
                rows = fill.fill_and_check(
                    column, partial(make_room, plan, schema, column, narrowing)
                )
                rows += enforce(plan, schema, fill)
                note_renumbered(plan, fill)
        finish(plan.title, f"{count_rows(rows)} filled", started)


def look(plan: Plan, schema: Schema) -> tuple[LiveColumn | None, Narrowing]:
    """
    Refuse rows that cannot be filled, before anything is changed.

    Returns what the catalogue says of the column, and what compares its values with
    the new type.
    """
    refuse_applied(plan, schema.connection)
    # Of a run that was killed: it need not stand until the rows are filled.
    schema.drop_guard()
    column = find_column(plan, schema)
    refuse_broken_transaction(plan, schema)
    narrowing = Narrowing(plan, schema)
    narrowing.begin()
    narrowing.refuse()
    return column, narrowing


def make_room(
    plan: Plan, schema: Schema, column: LiveColumn | None, narrowing: Narrowing
) -> int | None:
    """Add the column, or change its type; return how many rows there are, if known."""
    if column is None:
        schema.preflight.warn_of_locks()
        with step(f"Adding {plan.title}"):
            schema.add()
        schema.check_bare()
    elif plan.old_field is None:
        return note_resuming(plan, schema)
    else:
        try:
            narrowing.refuse_changed()
            schema.change_type(narrowing.refuse_changed)
        except DatabaseError as exc:
            raise make_refusal(plan, exc) from exc
    return None


def note_resuming(plan: Plan, schema: Schema) -> int | None:
    """Say how much an earlier run has done; return how many rows there are."""
    if not is_heard():
        return None
    tally = get_backend(schema.connection).census(schema).count()
    note(
        "Resuming %s: %s. Rows that have a value keep it.",
        plan.title,
        tally.describe_filled(),
    )
    return tally.rows


def enforce(plan: Plan, schema: Schema, fill: Fill) -> int:
    """
    Give the column its final definition; return how many rows were filled meanwhile.
    """
    swept: list[Walked] = []

    def sweep() -> None:
        swept.append(fill.sweep())
        if plan.field.unique:
            fill.resolve()

    def check() -> None:
        is_unique = plan.field.unique and plan.deduplicate is None
        if is_unique or schema.wanted.has_foreign_key():
            verify(plan, schema, fill.filled)

    # A savepoint where nothing commits, so that rows can be looked for afterwards.
    whole = (
        nullcontext() if schema.commits else transaction.atomic(schema.connection.alias)
    )
    try:
        with step(f"Setting the constraints of {plan.title}"), whole:
            schema.enforce(sweep, check)
            if plan.field.null and (schema.commits or plan.old_field is not None):
                # What the application inserted after the fill: no NOT NULL finds it.
                sweep()
    except DatabaseError as exc:
        if not is_about_values(exc):
            raise
        raise refused(plan, schema, exc, fill.filled) from exc
    if plan.unique_with and any(each.filled for each in swept):
        # No index has found those, and a look at all rows is not for a time in
        # which writers are kept away.
        fill.resolve()
        verify(plan, schema, fill.filled)
    return sum(each.filled for each in swept)


def note_renumbered(plan: Plan, fill: Fill) -> None:
    """Say which rows have another value than populate gave, or than they had."""
    if fill.collisions is None or not (keys := sort_by_key(fill.collisions.originals)):
        return
    note(
        "%s: %s got another value, because an earlier row has the same (%s).",
        plan.title,
        count_rows(len(keys)),
        list_keys(keys, len(keys)),
    )


def backwards(plan: Plan, editor: BaseDatabaseSchemaEditor) -> None:
    """
    Write back what reverse says, then remove the column.

    Steps: relax, reverse, drop.

    Re-run: rows that are reversed are known, see Reversal, so a run that was
    stopped goes on with the others.

    Raises:
        BackfillError: Rows cannot be reversed.
    """
    backend = get_backend(editor.connection)
    if editor.collect_sql:
        backend.script(editor, plan).backwards()
        return
    schema = backend.schema(editor, plan)
    ending = Ending(
        plan, schema, "The rows that are reversed stay so.", is_forwards=False
    )
    started = time.monotonic()
    with ending.told(), show_progress(), show_statements(editor):
        with not_kept(editor.connection), schema.in_transaction(), schema.claim_table():
            rows = _backwards(plan, schema)
        done = "column dropped" if plan.old_field is None else "column restored"
        if plan.reverse:
            done = f"{count_rows(rows)} reversed, {done}"
        finish(plan.title, done, started)


def _backwards(plan: Plan, schema: Schema) -> int:
    """Do what backwards() does; return how many rows were reversed."""
    if plan.old_field is None and schema.catalogue.find_column() is None:
        note("%s: the column is gone already.", plan.title)
        drop_marker(plan, schema)
        return 0
    schema.preflight.check_rights(goes_back=True)
    if plan.old_field is None:
        schema.preflight.check_drop()
    else:
        narrowing = compare_back(schema)
    rows = 0
    if plan.reverse is not None:
        schema.preflight.check_rows()
        if plan.old_field is None:
            schema.relax()
        rows = Reversal(plan, schema).run()
    if plan.old_field is None:
        with step(f"Dropping {plan.title}"):
            schema.drop()
    else:
        with step(f"Giving {plan.title} its definition from before"):
            restore(schema, narrowing)
    # Last: without it, rows would be reversed again.
    drop_marker(plan, schema)
    return rows


def compare_back(schema: Schema) -> Narrowing:
    """Refuse a way back to a type, or a foreign key, that does not keep each value."""
    back = turn_round(schema.plan)
    schema_back = type(schema)(schema.editor, back)
    narrowing = Narrowing(back, schema_back)
    narrowing.begin()
    narrowing.refuse()
    if refer_otherwise(back.old_field, back.field):
        # Before the foreign key goes that is there.
        verify(back, schema_back)
    return narrowing


def restore(schema: Schema, narrowing: Narrowing) -> None:
    """Give an altered column back the definition from before."""
    try:
        narrowing.refuse_changed()
        schema.restore(narrowing.refuse_changed)
    except DatabaseError as exc:
        raise make_refusal(narrowing.plan, exc) from exc


def drop_marker(plan: Plan, schema: Schema) -> None:
    """Drop what says which rows are reversed."""
    if plan.reverse is not None and schema.commits:
        Marker(plan, schema).drop()
