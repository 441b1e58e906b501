"""States of models, and what makemigrations makes of two of them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState

from safefield.authoring.autodetector import wrap_autodetector


class NoQuestions(MigrationQuestioner):
    """Fails when Django asks for a value."""

    def fail(self, *args: Any) -> Any:
        raise AssertionError(f"Django asked about {args}.")

    ask_not_null_addition = fail
    ask_not_null_alteration = fail
    ask_auto_now_add_addition = fail
    ask_unique_callable_default_addition = fail


def model(name: str, /, app: str = "films", **attributes: Any) -> ModelState:
    """Return the state of a model with these fields."""
    options = attributes.pop("options", {})
    bases = attributes.pop("bases", (models.Model,))
    return ModelState(app, name, list(attributes.items()), options, bases)


def pk() -> models.Field[Any, Any]:
    """Return a primary key."""
    return models.BigAutoField(primary_key=True)


def text(**options: Any) -> models.Field[Any, Any]:
    """Return a field for a short text."""
    return models.CharField(max_length=50, **options)


def state(*model_states: ModelState) -> ProjectState:
    """Return the state of a project with these models."""
    project_state = ProjectState()
    for model_state in model_states:
        project_state.add_model(model_state.clone())
    return project_state


def detect(
    before: list[ModelState],
    after: list[ModelState],
    *,
    questioner: MigrationQuestioner | None = None,
    name: str | None = None,
    base: type[MigrationAutodetector] = MigrationAutodetector,
    two_phase: bool = False,
    apps: set[str] | None = None,
) -> dict[str, list[Any]]:
    """Return the migrations from one state to another, by app."""
    graph = MigrationGraph()
    for app_label in {model_state.app_label for model_state in before}:
        graph.add_node((app_label, "0001_initial"), None)
    if questioner is None:
        questioner = NoQuestions({"ask_initial": True})
    autodetector = wrap_autodetector(base, two_phase=two_phase)
    return autodetector(state(*before), state(*after), questioner).changes(
        graph, trim_to_apps=apps, migration_name=name
    )
