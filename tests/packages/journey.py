"""
A project that uses a package: forwards, backwards and forwards, on one database.

prepare() makes the project and lets makemigrations write; travel() does the rest in
one process of its own for each database, which is this module.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import connections

from tests.packages import films
from tests.support import servers
from tests.support.site import Site
from tests.support.walk import list_blocks

SETTINGS = """
import json
import os

if "SITE_DATABASE" in os.environ:
    DATABASES = {"default": json.loads(os.environ["SITE_DATABASE"])}
"""


def read_functions(*names: str) -> dict[str, str]:
    """Return the source of these functions in docs/other-packages.md, by name."""
    texts = [block.text for block in list_blocks("other-packages.md")]
    sources = {
        node.name: ast.get_source_segment(text, node) or ""
        for text in texts
        if "def " in text
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }
    return {name: f"{sources[name]}\n" for name in names}


def read_file(name: str) -> dict[str, str]:
    """Return the text of a file in docs/other-packages.md, by its name."""
    blocks = list_blocks("other-packages.md")
    (text,) = (block.text for block in blocks if block.task == f"file {name}")
    return {name: text}


def prepare(
    path: Path,
    *,
    apps: Sequence[str],
    before: str,
    after: str,
    functions: Mapping[str, str],
    settings: str = "",
    files: Mapping[str, str] | None = None,
) -> Site:
    """
    Return a project whose migrations are written, and the functions in them.

    Args:
        path (Path): An empty directory.
        apps (Sequence[str]): The package, as INSTALLED_APPS has it.
        before (str): The models that have rows.
        after (str): The same with the fields to come.
        functions (Mapping[str, str]): By name, the source of each function that
            makemigrations asks for. No more and no less than it asks for.
        settings (str): Python to go behind the settings.
        files (Mapping[str, str]): Other files of the project.
    """
    site = Site(
        path,
        installed_apps=["safefield", *apps, "films"],
        settings=SETTINGS + settings,
        # replace_addition() reads what it has formatted.
        has_black=True,
    )
    for name, text in (files or {}).items():
        site.write(name, text)
    for models in (before, after):
        site.write_models(models)
        films.run(site, "makemigrations", "films", "-v0")
    missing = dict(functions)
    for name, text in site.read_migrations().items():
        for function in list(missing):
            stub = re.search(
                rf"^def {function}\(.*?raise NotImplementedError\(.*?\)\n(?=\n\n)",
                text,
                re.MULTILINE | re.DOTALL,
            )
            if stub is not None:
                text = text.replace(stub[0], missing.pop(function))
        assert "NotImplementedError" not in text, text
        site.write(f"films/migrations/{name}", text)
    assert not missing
    return site


def replace_addition(site: Site, model_name: str, name: str, function: str) -> None:
    """
    Put a backfill in the place of an AddField, as a developer does by hand.

    Args:
        site (Site): From prepare().
        model_name (str): As the operation has it.
        name (str): The field.
        function (str): Source of `populate_…`.
    """
    start = rf'migrations\.AddField\(\n +model_name="{model_name}",\n +name="{name}",\n'
    (path,) = (
        f"films/migrations/{file}"
        for file, text in site.read_migrations().items()
        if re.search(start, text)
    )
    text = site.read(path)
    found = re.search(rf"{start}.*?\n(?=        \),\n)", text, re.DOTALL)
    assert found is not None
    operation = found[0].replace("migrations.AddF", "safefield.operations.AddF")
    operation = operation.replace("AddField(", "AddFieldWithBackfill(")
    populate = re.match(r"def (\w+)", function)
    assert populate is not None
    operation += f"            populate={populate[1]},\n"
    text = text.replace(found[0], operation)
    head, _, rest = text.partition("class Migration(migrations.Migration):\n\n")
    site.write(
        path,
        f"import safefield.operations\n{head}{function}\n\n"
        f"class Migration(migrations.Migration):\n\n    atomic = False\n\n{rest}",
    )


def travel(site: Site, alias: str, script: str) -> dict[str, Any]:
    """
    Migrate the project forwards, backwards and forwards on a database.

    Args:
        site (Site): From prepare().
        alias (str): Of the database, which is empty.
        script (str): Python with two functions. `add_rows(apps)` is called where the
            first migration of the films has run, with the models of that time.
            `look()` is called after each way, with the project's own models in
            place, and returns what JSON can hold.

    Returns:
        dict[str, Any]: What look() returned, by "forwards" and "again", and the
            columns of each table of the films by "before" and "backwards".
    """
    site.write("script.py", f"from films.models import *\n{script}")
    database = servers.get_connection_settings(connections[alias])
    process = subprocess.run(
        [site.python, "-m", "tests.packages.journey"],
        cwd=site.path,
        env=site.get_environment() | {"SITE_DATABASE": json.dumps(database)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    answers: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert answers["before"] == answers["backwards"]
    assert answers["forwards"] == answers["again"]
    return answers


def resave(model: Any, change: Callable[[Any], None]) -> tuple[Any, Any]:
    """
    Return the rows of a table, and what they are when save() has written them.

    Args:
        model (type[Model]): Of the project, with all that its package does.
        change (Callable): Assigns to one row what populate returned.
    """
    from django.db import transaction

    with transaction.atomic():
        filled = read(model._meta.db_table)
        for row in model._base_manager.all():
            change(row)
            row.save()
        saved = read(model._meta.db_table)
        transaction.set_rollback(True)
    return filled, saved


def read(table: str) -> list[list[str]]:
    """Return what the server has in a table, as texts, by its first column."""
    from django.db import connection

    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(table)
        cursor.execute(f"SELECT * FROM {quoted} ORDER BY 1")
        return [[repr(value) for value in row] for row in cursor.fetchall()]


def describe() -> dict[str, list[str]]:
    """Return the columns of each table of the films."""
    from django.db import connection

    introspection = connection.introspection
    with connection.cursor() as cursor:
        return {
            table: sorted(
                f"{column.name} {column.type_code} {column.null_ok}"
                for column in introspection.get_table_description(cursor, table)
            )
            for table in introspection.table_names(cursor)
            if table.startswith("films_")
        }


def main() -> None:
    """Run the script of the project in the current directory."""
    import django

    servers.install_mysql_driver()
    sys.path.insert(0, os.getcwd())
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    script = importlib.import_module("script")
    answers: dict[str, Any] = {}

    def migrate(*arguments: str) -> None:
        call_command("migrate", *arguments, verbosity=0)

    migrate("films", "0001")
    answers["before"] = describe()
    state = MigrationLoader(connection).project_state(("films", "0001_initial"))
    script.add_rows(state.apps)
    migrate("films")
    answers["forwards"] = script.look()
    migrate("films", "0001")
    answers["backwards"] = describe()
    migrate("films")
    answers["again"] = script.look()
    call_command(
        "makemigrations", "films", check=True, verbosity=0, stdout=io.StringIO()
    )
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
