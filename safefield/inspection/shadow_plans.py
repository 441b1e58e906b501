"""The plan of a backfill on the temporary table of a rehearsal."""

from __future__ import annotations

from dataclasses import replace

from django.db.migrations.state import ProjectState
from django.db.models import Model

from safefield.inspection.entries import Entry
from safefield.plan import Plan

#: The model of the temporary table, among the historical ones.
SHADOW_MODEL = "SafefieldRehearsal"


def make_shadow_plan(entry: Entry, plan: Plan, table: str, *, is_instead: bool) -> Plan:
    """
    Return the plan of a backfill on another table than that of its model.

    Args:
        plan (Plan): The plan on the table of the model.
        table (str): Name of the other one.
        is_instead (bool): Whether all models find the rows in the other table, and
            none in that of the model.
    """
    if is_instead:
        return entry.operation.make_plan(
            entry.migration.app_label,
            redirect(entry.before, entry.key, table),
            redirect(entry.after, entry.key, table),
        )
    return replace(
        plan,
        model=_make_shadow_model(entry.before, entry.key, table),
        new_model=_make_shadow_model(entry.after, entry.key, table),
    )


def redirect(state: ProjectState, key: tuple[str, str], table: str) -> ProjectState:
    """Return a copy of a state, in which a model has another table."""
    copy = _clone(state)
    model = copy.models[key]
    model.options = {**model.options, "db_table": table}
    return copy


def _make_shadow_model(
    state: ProjectState, key: tuple[str, str], table: str
) -> type[Model]:
    """Return a model of another table, beside that of its own."""
    app_label, _ = key
    state = _clone(state)
    real = state.models[key]
    copy = real.clone()
    copy.name = SHADOW_MODEL
    copy.options = {**copy.options, "db_table": table, "indexes": []}
    for name, field in copy.fields.items():
        if field.remote_field and field.remote_field.model == "self":
            field = field.clone()
            field.remote_field.model = f"{app_label}.{real.name}"
            copy.fields[name] = field
    state.add_model(copy)
    model: type[Model] = state.apps.get_model(app_label, SHADOW_MODEL)
    return model


def _clone(state: ProjectState) -> ProjectState:
    """Return a copy of a state that can be changed while its models are in use."""
    return ProjectState(
        {key: model.clone() for key, model in state.models.items()},
        real_apps=state.real_apps,
    )
