"""The steps of a backfill, each of which looks before it acts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Model, QuerySet

from safefield.backends import get_backend
from safefield.backends.base.column import LiveColumn
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.filling.assignment import refuse_assignment
from safefield.filling.backfill import Backfill
from safefield.filling.deduplicate import Deduplication
from safefield.filling.endings import Ending
from safefield.filling.expressions import DeduplicatedExpression, ExpressionBackfill
from safefield.filling.marker import Marker
from safefield.filling.narrowing import Narrowing, make_refusal, turn_round
from safefield.filling.origins import refuse_applied
from safefield.filling.queries import not_kept
from safefield.filling.reversal import Reversal
from safefield.filling.verify import Problem, verify
from safefield.filling.violations import Violation, find_violation, is_about_values
from safefield.plan import Plan
from safefield.populate import is_unwritten, unwritten_message
from safefield.progress import Run, note, show_progress, show_statements, step
from safefield.reports import MAX_BAD_ROWS, count_rows, list_keys


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
    run = Run(plan.title)
    with ending.told(), show_progress(), show_statements(editor):
        with not_kept(editor.connection), schema.in_transaction():
            if plan.old_field is None and schema.add_at_once():
                return
            with schema.claim_table():
                refuse_applied(plan, schema.connection)
                rows = _forwards(plan, schema)
        run.finish(f"{count_rows(rows)} filled")


def _forwards(plan: Plan, schema: Schema) -> int:
    """Do what forwards() does on a table with rows; return how many were filled."""
    # Of a run that was killed: it need not stand until the rows are filled.
    schema.drop_guard()
    column = find_column(plan, schema)
    refuse_broken_transaction(plan, schema)
    narrowing = Narrowing(plan, schema)
    narrowing.begin()
    narrowing.refuse()
    backfill = get_backfill(plan.reloaded(), schema)

    def prepare() -> None:
        if column is None:
            schema.preflight.warn_of_locks()
            with step(f"Adding {plan.title}"):
                schema.add()
            schema.check_bare()
        elif plan.old_field is None:
            backfill.note_resuming()
        else:
            try:
                narrowing.refuse_changed()
                schema.change_type(narrowing.refuse_changed)
            except DatabaseError as exc:
                raise make_refusal(plan, exc) from exc

    fill_and_check(backfill, column, prepare)

    late = False

    def sweep() -> None:
        nonlocal late
        backfill.sweep()
        late = late or backfill.count > 0
        if plan.field.unique:
            backfill.resolve()

    def check() -> None:
        is_unique = plan.field.unique and plan.deduplicate is None
        if is_unique or schema.wanted.has_foreign_key():
            verify(plan, schema, backfill.filled)

    # A savepoint where nothing commits, so that rows can be looked for afterwards.
    whole = (
        nullcontext() if schema.commits else transaction.atomic(schema.connection.alias)
    )
    try:
        with step(f"Setting the constraints of {plan.title}"), whole:
            schema.enforce(sweep, check)
            if plan.field.null and (schema.commits or plan.old_field is not None):
                # What the application inserted behind the fill: no NOT NULL finds it.
                sweep()
    except DatabaseError as exc:
        if not is_about_values(exc):
            raise
        raise refused(plan, schema, exc, backfill) from exc
    if plan.unique_with and late:
        # No index has found those, and a look at all rows is not for a time in
        # which writers are kept away.
        backfill.resolve()
        verify(plan, schema, backfill.filled)
    return backfill.handled_rows


def refuse_broken_transaction(plan: Plan, schema: Schema) -> None:
    """
    Refuse to go on in a transaction that could not be committed.

    Raises:
        BackfillError: What came before breaks a constraint that waits for the end.
    """
    try:
        schema.settle()
    except DatabaseError as exc:
        said = ""
        if get_configuration().SHOW_VALUES:
            said = f" It said: {str(exc).partition(chr(10))[0]}."
        raise BackfillError(
            f"{plan.title} cannot be filled: what this transaction did before it "
            f"breaks a constraint that waits for its end, and the database refuses "
            f"it.{said} Correct it in an operation before this one, then run migrate "
            f"again. Nothing was changed.",
            model=plan.label,
            field=plan.field_name,
        ) from exc


def find_column(plan: Plan, schema: Schema) -> LiveColumn | None:
    """
    Return what the catalogue says of the column; None if it is not there.

    Raises:
        BackfillError: The table cannot have the column, or has another one.
    """
    schema.preflight.check_table()
    column = schema.catalogue.find_column()
    if column is not None and plan.old_field is None:
        schema.preflight.check_column(column)
    return column


def fill_and_check(
    backfill: Backfill, column: LiveColumn | None, prepare: Callable[[], None]
) -> None:
    """
    Do what migrate and a rehearsal both do, up to the final definition.

    Args:
        backfill (Backfill): The engine.
        column (LiveColumn | None): What the catalogue says of the column.
        prepare (Callable[[], None]): Makes room for the values.

    Raises:
        BackfillError: Rows cannot be filled, or constraints would refuse them.
    """
    plan, schema = backfill.plan, backfill.schema
    if column is None:
        backfill.preflight()
    prepare()
    if column is None or column.null:
        backfill.fill()
    with step(f"Checking {plan.title}"):
        backfill.resolve()
        verify(
            plan,
            schema,
            backfill.filled,
            leaves_duplicates=(
                schema.commits and schema.is_unique_first and not plan.unique_with
            ),
        )


def get_backfill(plan: Plan, schema: Schema) -> Backfill:
    """Return the engine for a plan."""
    engine: type[Backfill]
    if plan.is_expression:
        engine = DeduplicatedExpression if plan.deduplicate else ExpressionBackfill
    else:
        engine = Deduplication if plan.deduplicate else Backfill
    return engine(plan, schema)


def refused(
    plan: Plan, schema: Schema, exc: DatabaseError, backfill: Backfill
) -> BackfillError:
    """Return what to say of a constraint that the database refused to set."""
    violation = find_violation(exc)
    others = []
    if (
        violation is Violation.TOO_LONG_FOR_INDEX
        and (is_too_long := schema.too_long_for_index(exc)) is not None
    ):
        rows: QuerySet[Any] = QuerySet(plan.new_model, using=schema.connection.alias)
        others.append(
            Problem(violation.value, rows.filter(is_too_long), plan.field.attname)
        )
    # Rows share a value, or somebody else's row came in between: find them.
    try:
        verify(plan, schema, backfill.filled, others=others)
    except BackfillError as found:
        return found
    what = violation.value if violation else "it gave no reason that safefield knows"
    empty = find_empty_rows(plan, schema) if schema.commits else []
    advice = "Fix that, then run migrate again." if schema.commits else ""
    if empty:
        keys = list_keys([row.pk for row in empty], len(empty))
        advice = (
            f"{count_rows(len(empty))} came in meanwhile without a value ({keys}). Run "
            f"migrate again: they are filled then."
        )
    said = ""
    if get_configuration().SHOW_VALUES:
        # What PostgreSQL says below its first line may be a whole row.
        first_line = str(exc).partition("\n")[0]
        said = f" It said: {first_line}."
    return BackfillError(
        f"{plan.title}: the database refused to enforce the final definition of "
        f"column {plan.field.column}: {what}.{said} {advice or 'Nothing was changed.'}",
        model=plan.label,
        field=plan.field_name,
        rows=empty,
    )


def find_empty_rows(plan: Plan, schema: Schema) -> list[BadRow]:
    """Return the first rows that have no value, and ought to have one."""
    if plan.field.null:
        return []
    rows: QuerySet[Model] = QuerySet(plan.new_model, using=schema.connection.alias)
    empty = rows.filter(**{f"{plan.field.attname}__isnull": True}).order_by("pk")
    keys = list(empty.values_list("pk", flat=True)[:MAX_BAD_ROWS])
    return [BadRow(pk, "there is no value") for pk in keys]


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
    run = Run(plan.title)
    with ending.told(), show_progress(), show_statements(editor):
        with not_kept(editor.connection), schema.in_transaction(), schema.claim_table():
            rows = _backwards(plan, schema)
        run.finish(
            f"{count_rows(rows)} reversed" if plan.reverse else "nothing to reverse"
        )


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
        reversal = Reversal(plan, schema)
        reversal.run()
        rows = reversal.handled_rows
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
    """
    Refuse a way back to a type that does not keep each value.

    Raises:
        BackfillError: There are such rows. Nothing was changed.
    """
    back = turn_round(schema.plan)
    narrowing = Narrowing(back, type(schema)(schema.editor, back))
    narrowing.begin()
    narrowing.refuse()
    return narrowing


def restore(schema: Schema, narrowing: Narrowing) -> None:
    """
    Give an altered column back the definition from before.

    Raises:
        BackfillError: The database refuses it, or values have come that it would
            change.
    """
    try:
        narrowing.refuse_changed()
        schema.restore(narrowing.refuse_changed)
    except DatabaseError as exc:
        raise make_refusal(narrowing.plan, exc) from exc


def drop_marker(plan: Plan, schema: Schema) -> None:
    """Drop what says which rows are reversed."""
    if plan.reverse is not None and schema.commits:
        Marker(plan, schema).drop()


def refuse_plan(plan: Plan) -> None:
    """
    Refuse what cannot be done, whatever is in the database.

    Raises:
        BackfillError: The text says why, and what to do.
    """
    refuse_unwritten(plan)
    refuse_another_column(plan)
    refuse_unknown_names(plan)
    refuse_assignment(plan)


def refuse_unwritten(plan: Plan) -> None:
    """
    Refuse a populate that is still as makemigrations wrote it.

    Also on an empty table: a green run on an empty test database must not
    hide it.
    """
    if callable(plan.populate) and is_unwritten(plan.populate):
        raise BackfillError(
            f"{plan.title} cannot be backfilled: {unwritten_message(plan.populate)} "
            f"Make it return the value of one existing row, then run migrate "
            f"again. Nothing was changed.",
            model=plan.label,
            field=plan.field_name,
        )


def refuse_another_column(plan: Plan) -> None:
    """Refuse to fill one column while another one is to be required."""
    if plan.old_field is None or plan.old_field.column == plan.field.column:
        return
    raise BackfillError(
        f"{plan.title} cannot be altered: its column is {plan.old_field.column}, and "
        f"is to be {plan.field.column}. Rename it with migrations.AlterField in a "
        f"migration before this one. Nothing was changed.",
        model=plan.label,
        field=plan.field_name,
    )


def refuse_unknown_names(plan: Plan) -> None:
    """Refuse a unique_with of which no constraint of the table can be made."""
    # What Model._check_local_fields() asks of a constraint.
    fields = {field.name: field for field in plan.new_model._meta.local_concrete_fields}
    names = [
        name
        for name in plan.unique_with
        if name not in fields or name == plan.field_name
    ]
    if names:
        raise BackfillError(
            f"{plan.title}: unique_with names {', '.join(names)}, and each name in it "
            f"must be another field of {plan.label} that has a column in its table. "
            f"Correct unique_with, then run migrate again. Nothing was changed.",
            model=plan.label,
            field=plan.field_name,
        )
