"""Whatever Django has done with a field and its keys, or does later, works."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support.catalogue import without_names
from tests.support.history import History

FIELDS = [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=200)),
]
STUDIO = migrations.CreateModel("Studio", FIELDS)

#: The field before an alteration, and as it ends.
FIELDS_BY_NAME: dict[str, tuple[Any, Any]] = {
    "unique text": (
        models.CharField(max_length=80, null=True),
        models.CharField(max_length=80, unique=True),
    ),
    "indexed text": (
        models.CharField(max_length=80, null=True),
        models.CharField(max_length=80, db_index=True),
    ),
    "unique integer": (
        models.IntegerField(null=True),
        models.PositiveIntegerField(unique=True),
    ),
    "foreign key": (
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.ForeignKey("films.Studio", models.CASCADE),
    ),
    "one to one": (
        models.ForeignKey("films.Studio", models.CASCADE, null=True),
        models.OneToOneField("films.Studio", models.CASCADE),
    ),
}


def make_plain(field: Any) -> Any:
    """Return what the field is when nothing but its values is left."""
    if field.remote_field is not None:
        return models.BigIntegerField(null=True, db_column="code_id")
    if isinstance(field, models.CharField):
        return models.CharField(max_length=80, null=True)
    return models.IntegerField(null=True)


def list_operations(field: Any) -> dict[str, list[Any]]:
    """Return what is done later, in one migration each, on Movie."""
    return {
        "plain": [migrations.AlterField("Movie", "code", make_plain(field))],
        "renamed": [
            migrations.RenameField("Movie", "code", "number"),
            migrations.AlterField("Movie", "number", field.clone()),
        ],
        "table renamed": [
            migrations.RenameModel("Movie", "Film"),
            migrations.RenameModel("Film", "Movie"),
        ],
        "together": [
            migrations.AlterUniqueTogether("Movie", {("code", "title")}),
            migrations.AlterUniqueTogether("Movie", set()),
        ],
        "in Meta": [
            migrations.AddIndex("Movie", models.Index(fields=["code"], name="by_code")),
            migrations.AddConstraint(
                "Movie", models.UniqueConstraint(fields=["code"], name="code_once")
            ),
            migrations.RemoveConstraint("Movie", "code_once"),
            migrations.RemoveIndex("Movie", "by_code"),
        ],
        "removed": [migrations.RemoveField("Movie", "code")],
    }


@pytest.mark.thorough_on("mariadb", "mysql")
@pytest.mark.parametrize("is_added", [True, False], ids=["added", "altered"])
@pytest.mark.parametrize("name", FIELDS_BY_NAME)
def test_later_operations(alias: str, name: str, is_added: bool) -> None:
    """Fails if a key has a name, or is of a kind, that Django does not find."""
    old, field = FIELDS_BY_NAME[name]
    for later, operations in list_operations(field).items():
        history = History(alias)
        history.apply(STUDIO, migrations.CreateModel("Movie", FIELDS))
        for model in ("Studio", "Movie"):
            history.rows(model).bulk_create(
                history.model(model)(id=n, title=f"{n}") for n in (1, 2, 3)
            )
        populate = (
            (lambda movie: movie.title)
            if isinstance(field, models.CharField)
            else (lambda movie: movie.pk)
        )
        if is_added:
            operation: Any = AddFieldWithBackfill
            twin = [migrations.AddField("Twin", "code", field.clone())]
        else:
            operation = AlterFieldWithBackfill
            history.apply(migrations.AddField("Movie", "code", old.clone()))
            twin = [
                migrations.AddField("Twin", "code", old.clone()),
                migrations.AlterField("Twin", "code", field.clone()),
            ]
        history.apply(operation("Movie", "code", field.clone(), populate))
        history.apply(*operations)

        # The same from Django alone, on a table without rows.
        history.apply(migrations.CreateModel("Twin", FIELDS))
        for step in [*twin, *map(rename, operations)]:
            history.apply(step)
        assert describe(history, "Movie") == describe(history, "Twin"), later
        drop_all(history)


#: The field when it gets another name, and as it ends.
RENAMED_FIELDS: dict[str, tuple[Any, Any]] = {
    "indexed text": (
        models.SlugField(max_length=80, null=True),
        models.SlugField(max_length=80),
    ),
    "unique text": (
        models.CharField(max_length=80, null=True, unique=True),
        models.CharField(max_length=80, unique=True),
    ),
    "indexed integer": (
        models.IntegerField(null=True, db_index=True),
        models.IntegerField(db_index=True),
    ),
    "foreign key": FIELDS_BY_NAME["foreign key"],
    "one to one": (
        models.OneToOneField("films.Studio", models.CASCADE, null=True),
        models.OneToOneField("films.Studio", models.CASCADE),
    ),
}


@pytest.mark.parametrize("is_atomic", [False, True], ids=["own-commits", "atomic"])
@pytest.mark.parametrize("name", RENAMED_FIELDS)
def test_earlier_names(alias: str, name: str, is_atomic: bool) -> None:
    """Fails if a key is looked for by a name that it has not, and is made again."""
    old, field = RENAMED_FIELDS[name]
    for rename_it in (
        migrations.RenameField("Movie", "number", "code"),
        migrations.AlterModelTable("Movie", "film"),
    ):
        history = History(alias, atomic=is_atomic)
        history.apply(STUDIO)
        is_field = isinstance(rename_it, migrations.RenameField)
        described = []
        for backfill in (AlterFieldWithBackfill, None):
            history.apply(migrations.CreateModel("Movie", FIELDS))
            first = "number" if is_field else "code"
            history.apply(migrations.AddField("Movie", first, old.clone()))
            history.apply(rename_it)
            operation = migrations.AlterField("Movie", "code", field.clone())
            if backfill is not None:
                history.rows("Movie").bulk_create([history.model("Movie")(title="a")])
                studio = history.model("Studio")
                history.rows("Studio").bulk_create([studio(id=1, title="a")])
                operation = backfill("Movie", "code", field.clone(), lambda movie: 1)
            history.apply(operation)
            found = [history.describe("Movie")]
            history.unapply()
            found.append(history.describe("Movie"))
            for check in (check for each in found for check in each["checks"]):
                check.pop("level", None)
            described.append(found)
            history.apply(migrations.DeleteModel("Movie"))
        assert described[0] == described[1]
        history.apply(migrations.DeleteModel("Studio"))


def describe(history: History, name: str) -> Any:
    found = without_names(history.describe(name), name.lower())
    for check in found["checks"]:
        # MODIFY makes of a check of the table on MariaDB one of the column.
        check.pop("level", None)
    return found


def rename(operation: Any) -> Any:
    """Return the operation on Twin in place of Movie."""
    name, args, kwargs = operation.deconstruct()
    kwargs = {
        key: {"Movie": "Twin", "Film": "Other"}.get(value, value)
        if isinstance(value, str)
        else value
        for key, value in kwargs.items()
    }
    return type(operation)(*args, **kwargs)


def drop_all(history: History) -> None:
    history.apply(
        *(migrations.DeleteModel(name) for name in ("Movie", "Twin", "Studio"))
    )
