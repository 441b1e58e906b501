"""Random pairs of model states, as two commits of a project have them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from django.core.exceptions import FieldError
from django.db import models
from django.db.migrations.state import ModelState, ProjectState

#: Rows of each table; those of a child are those of its parent.
ROWS = 3

#: Few names, so that a field comes back elsewhere, or as a relation.
NAMES = ["code", "slug", "note", "movie", "studio", "person", "studio_id"]

#: Model by name: its app and the model that it is a child of.
MODELS: dict[str, tuple[str, str]] = {
    "Studio": ("films", ""),
    "Movie": ("films", ""),
    "Special": ("films", "Movie"),
    "Person": ("people", ""),
}


#: Kinds of fields that have unique=True.
UNIQUE_KINDS = ("text", "blank", "number", "token")


@dataclass(frozen=True)
class Spec:
    """
    A field.

    Args:
        kind (str): "text", "blank", "number", "token", "key", "one" or "many".
        target (str): Model that a key is to.
        related_name (str): How the other side calls a key.
        null (bool): Whether it takes NULL.
        unique (bool): Whether no two rows have the same value.
    """

    kind: str
    target: str = ""
    null: bool = False
    unique: bool = False
    related_name: str | None = None

    @property
    def has_column(self) -> bool:
        """Whether it can be part of a constraint."""
        return self.kind != "many"

    def make(self) -> Any:
        """Return the field."""
        options: dict[str, Any] = {"null": self.null}
        if self.kind == "text":
            return models.CharField(max_length=40, unique=self.unique, **options)
        if self.kind == "blank":
            # Of which AddField makes the empty text in each row.
            return models.CharField(max_length=40, blank=True, unique=self.unique)
        if self.kind == "token":
            # Of which AddField makes one value for all rows.
            return models.UUIDField(default=uuid.uuid4, unique=self.unique)
        if self.kind == "number":
            return models.IntegerField(unique=self.unique, **options)
        to = f"{MODELS[self.target][0]}.{self.target}"
        if self.kind == "many":
            return models.ManyToManyField(to, related_name=self.related_name)
        options["related_name"] = self.related_name
        if self.kind == "one":
            return models.OneToOneField(to, models.CASCADE, **options)
        return models.ForeignKey(to, models.CASCADE, **options)


@dataclass
class Project:
    """The models of a project: fields and options of each."""

    fields: dict[str, dict[str, Spec]] = field(default_factory=dict)
    together: dict[str, tuple[str, ...]] = field(default_factory=dict)
    constraints: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def copy(self) -> Project:
        return Project(
            {name: dict(specs) for name, specs in self.fields.items()},
            dict(self.together),
            dict(self.constraints),
        )

    def make_state(self) -> ProjectState:
        state = ProjectState()
        for name, specs in self.fields.items():
            app_label, parent = MODELS[name]
            fields: list[tuple[str, Any]] = []
            if not parent:
                fields.append(("id", models.BigAutoField(primary_key=True)))
            fields += [(each, spec.make()) for each, spec in specs.items()]
            options: dict[str, Any] = {}
            if name in self.together:
                options["unique_together"] = {self.together[name]}
            if name in self.constraints:
                options["constraints"] = [
                    models.UniqueConstraint(
                        fields=self.constraints[name], name=f"{name.lower()}_one"
                    )
                ]
            bases = (f"{app_label}.{parent}",) if parent else (models.Model,)
            state.add_model(ModelState(app_label, name, fields, options, bases))
        return state

    def is_valid(self) -> bool:
        """Return whether Django takes the models, and they are what they seem."""
        for specs in self.fields.values():
            spec = specs.get("studio_id")
            if spec is not None and spec.kind in ("key", "one", "many"):
                return False
        try:
            apps = self.make_state().apps
        except FieldError:
            return False
        found = [apps.get_model(MODELS[name][0], name) for name in self.fields]
        return not any(
            error.is_serious() and error.id != "fields.E300"
            for model in found
            for error in model.check(databases=[])
        )


@dataclass(frozen=True)
class Pair:
    """
    Two commits.

    Args:
        old (Project): The models whose tables have rows.
        new (Project): What they become.
        renames (set): Model, old name and new name of the fields that are renamed.
        texts (list[str]): What changes, a line each.
    """

    old: Project
    new: Project
    renames: set[tuple[str, str, str]]
    texts: list[str]


def make_pair(random: Random) -> Pair:
    """Return a pair of states that Django takes, which differ."""
    while True:
        old = make_project(random)
        if not old.is_valid():
            continue
        for _ in range(5):
            renames: set[tuple[str, str, str]] = set()
            new, texts = old.copy(), []
            for _ in range(random.randint(2, 6)):
                texts.append(change(random, new, renames))
            if new != old and new.is_valid():
                return Pair(old, new, renames, texts)


def make_project(random: Random) -> Project:
    project = Project()
    for name in MODELS:
        names = random.sample(NAMES, random.randint(1, 3))
        project.fields[name] = {each: make_spec(random, project) for each in names}
    return project


def make_spec(random: Random, project: Project) -> Spec:
    kind = random.choice(["text", "blank", "number", "token", "key", "one", "many"])
    if kind in ("blank", "token"):
        return Spec(kind, unique=random.random() < 0.5)
    if kind in ("text", "number"):
        return Spec(kind, "", random.random() < 0.3, random.random() < 0.3)
    target = random.choice([n for n in MODELS if n in project.fields] or ["Studio"])
    is_null = kind != "many" and random.random() < 0.3
    # So that a field may be called as the other side of a key is.
    related_name = random.choice([None, "+", *NAMES[:-1]])
    return Spec(kind, target, is_null, related_name=related_name)


def change(random: Random, project: Project, renames: set[Any]) -> str:
    """Change a project; return what was done."""
    name = random.choice(list(project.fields))
    fields = project.fields[name]
    what = random.choice(
        ["add", "add", "add", "remove", "rename", "move", "require", "unique", "relate"]
        + ["together", "constrain", "delete"]
    )
    chosen = random.choice(list(fields)) if fields else ""
    free = random.choice(NAMES)
    if what == "add" and free not in fields:
        fields[free] = make_spec(random, project)
        return f"add {name}.{free} {fields[free]}"
    if not chosen:
        return "nothing"
    spec = fields[chosen]
    groups = (project.together.get(name, ()), project.constraints.get(name, ()))
    is_grouped = any(chosen in group for group in groups)
    if what == "remove" and not is_grouped:
        del fields[chosen]
        return f"remove {name}.{chosen}"
    if what == "rename" and free not in fields and not is_grouped:
        project.fields[name] = {
            free if each == chosen else each: spec for each, spec in fields.items()
        }
        renames.add((name.lower(), chosen, free))
        return f"rename {name}.{chosen} to {free}"
    if what == "move" and not is_grouped:
        other = {"Movie": "Special", "Special": "Movie"}.get(name)
        if other in project.fields and chosen not in project.fields[other]:
            project.fields[other][chosen] = fields.pop(chosen)
            return f"move {name}.{chosen} to {other}"
    if what == "require" and spec.null:
        fields[chosen] = replace(spec, null=False)
        return f"require {name}.{chosen}"
    if what == "unique" and spec.kind in UNIQUE_KINDS and not spec.unique:
        fields[chosen] = replace(spec, unique=True)
        return f"unique {name}.{chosen}"
    if what == "relate" and spec.kind == "number" and not is_grouped:
        new = make_spec(random, project)
        if new.kind == "key" and not spec.unique:
            # Under its own name, or so that its column is that of the number.
            del fields[chosen]
            fields[chosen.removesuffix("_id")] = replace(new, null=False)
            return f"replace {name}.{chosen} by a key"
    columns = sorted(each for each, spec in fields.items() if spec.has_column)
    if what == "together" and name not in project.together and len(columns) > 1:
        project.together[name] = tuple(random.sample(columns, 2))
        return f"{name} unique together {project.together[name]}"
    if what == "constrain" and name not in project.constraints and len(columns) > 1:
        project.constraints[name] = tuple(random.sample(columns, 2))
        return f"{name} constraint {project.constraints[name]}"
    if what == "delete" and name in ("Special", "Person"):
        del project.fields[name]
        for specs in project.fields.values():
            for each in [n for n, s in specs.items() if s.target == name]:
                del specs[each]
        return f"delete {name}"
    return "nothing"
