"""Copies of a project state in which a model has another table."""

from __future__ import annotations

from django.db.migrations.state import ProjectState


def redirect(state: ProjectState, key: tuple[str, str], table: str) -> ProjectState:
    """
    Return a copy of a state, in which a model has another table.

    Args:
        key (tuple[str, str]): App label and lower-case name of the model.
    """
    copy = clone(state)
    model = copy.models[key]
    model.options = {**model.options, "db_table": table}
    return copy


def clone(state: ProjectState) -> ProjectState:
    """Return a copy of a state that can be changed while its models are in use."""
    return ProjectState(
        {key: model.clone() for key, model in state.models.items()},
        real_apps=state.real_apps,
    )
