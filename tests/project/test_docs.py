"""What docs/ shows is what happens: tests/support/walk.py says how a page is walked."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.db import connections

import safefield.checks
from safefield.conf import Configuration
from safefield.inspection.rehearsed import Rehearsal
from safefield.inspection.status import State
from safefield.management.commands.rehearsebackfill import as_dict
from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support import servers
from tests.support.site import REPOSITORY
from tests.support.walk import (
    DOCS,
    ILLUSTRATIONS,
    list_blocks,
    list_rows,
    make_walk,
    read_page,
)

PICTURE = re.compile(r"\[([^\]]*)\]\(([^)]+\.(?:png|svg))\)")


def list_pages() -> list[str]:
    return sorted(path.name for path in DOCS.glob("*.md"))


#: Pages that a test of their own walks; tests/packages runs other-packages.md.
OTHER_PAGES = {
    "errors.md",
    "other-packages.md",
    "testing.md",
    "troubleshooting.md",
    "what-runs.md",
}


@pytest.mark.parametrize(
    "page",
    [page for page in list_pages() if list_blocks(page) and page not in OTHER_PAGES],
)
def test_page(page: str, tmp_path: Path) -> None:
    make_walk(page, tmp_path).walk()


def test_troubles_on_postgresql(postgresql_alias: str, tmp_path: Path) -> None:
    database = servers.get_connection_settings(connections[postgresql_alias])

    make_walk("troubleshooting.md", tmp_path, database=database).walk()


def test_testing(tmp_path: Path) -> None:
    if find_spec("django_test_migrations") is None:
        pytest.skip("django-test-migrations is not installed: tox -e docs has it")

    make_walk("testing.md", tmp_path).walk()


#: How the pages call the databases.
DATABASES = {
    "default": "sqlite",
    "postgresql": "postgresql",
    "mariadb": "mariadb",
    "mysql": "mariadb",
}


def test_statements(alias: str, tmp_path: Path) -> None:
    database = servers.get_connection_settings(connections[alias])
    walk = make_walk("what-runs.md", tmp_path, database=database)
    (models,) = [
        block for block in list_blocks(walk.page) if block.task.startswith("models")
    ]
    walk.do(models)
    walk.site.manage("makemigrations")
    written = "raise NotImplementedError", "return str"
    for name, text in walk.site.read_migrations().items():
        walk.site.write(f"films/migrations/{name}", text.replace(*written))

    shown = {
        block.task: block.text
        for block in list_blocks(walk.page)
        if block.task.startswith(f"{DATABASES[alias]} ")
    }
    printed = {
        task: walk.manage("sqlmigrate", "films", task.partition(" ")[2])
        for task in shown
    }

    assert shown
    assert {
        task: "".join(re.findall(r"^(?!--\n|-- Add field).*\n", text, re.M))
        for task, text in printed.items()
    } == shown


def list_names(page: str, heading: str) -> list[str]:
    return [cells[0].strip("`") for cells in list_rows(read_page(page), heading)]


def list_texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the package with "…" for what is filled in, and its use."""
    for path in (REPOSITORY / "safefield").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, (ast.Constant, ast.JoinedStr)):
                    is_call = isinstance(node, ast.Call) and child in node.args[:1]
                    name = ast.unparse(node.func) if is_call else ""  # type: ignore[attr-defined]
                    yield flatten(child), name


def flatten(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(flatten, node.values))
    return "…"


def test_errors_are_those_of_the_code() -> None:
    texts = list(list_texts())
    shown = [
        name
        for heading in ("text", "reason")
        for name in list_names("errors.md", heading)
    ]

    invented = [name for name in shown if not any(name in text for text, _ in texts)]
    missing = [
        text
        for text, call in texts
        if call.rpartition(".")[2] in {"BackfillError", "SafefieldError", "error"}
        and text.strip("…:. ")
        and not any(name in text for name in shown)
    ]

    assert (invented, missing) == ([], []), (
        "docs/errors.md has to be brought up to date"
    )


def test_keys_are_those_of_the_rehearsal() -> None:
    # Fails if --json prints what the documents do not know.
    shown = list_names("commands.md", "key")

    names = [name for key in shown for name in key.replace("`", "").split(", ")]
    assert sorted(names) == sorted(as_dict(Rehearsal("films.Movie.slug", "slug_of()")))


def test_arguments_are_those_of_the_operations() -> None:
    # docs/operations.md is made of the docstring.
    documentation = inspect.getdoc(AddFieldWithBackfill) or ""

    assert re.findall(r"^    (\w+) \(", documentation, re.M) == list(
        inspect.signature(AddFieldWithBackfill).parameters
    )
    assert inspect.signature(AlterFieldWithBackfill) == (
        inspect.signature(AddFieldWithBackfill)
    )


def test_settings_are_those_of_the_configuration() -> None:
    shown = {
        name: default
        for name, _, default, _ in list_rows(read_page("settings.md"), "key")
    }

    assert shown == {
        f"`{field.name}`": f"`{field.default}`"
        for field in dataclasses.fields(Configuration)
    }


def test_checks_are_those_of_the_code() -> None:
    source = inspect.getsource(safefield.checks)

    assert list_names("settings.md", "check") == sorted(
        set(re.findall(r"safefield\.[EW]\d{3}", source))
    )


def test_states_are_those_of_the_code() -> None:
    shown = [
        [cell.strip("`") for cell in cells[:2]]
        for cells in list_rows(read_page("commands.md"), "state")
    ]
    assert shown == [[state.text, state.value] for state in State]


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.M | re.S)
    listed = [name for tree in trees for name in re.findall(r"^[-\w]+$", tree, re.M)]

    assert sorted(f"{name}.md" for name in [*listed, "index"]) == list_pages()


def test_pictures_are_there_and_are_shown() -> None:
    texts = [REPOSITORY / "README.md", REPOSITORY / "example_project/README.md"]
    shown = {
        (path.parent / target).resolve(): alternative
        for path in [*texts, *DOCS.glob("*.md")]
        for alternative, target in PICTURE.findall(path.read_text(encoding="utf-8"))
    }
    folders = DOCS, DOCS / "pictures"
    made = {
        path.resolve()
        for folder in folders
        for path in folder.iterdir()
        if path.suffix in {".png", ".svg"}
    }

    assert set(shown) == made
    assert all(shown.values())


def test_illustrations_are_there() -> None:
    """A name that is left on the list would let a new block pass unseen."""
    blocks = {
        (page, block.text.partition("\n")[0])
        for page in [*list_pages(), "README.md"]
        for block in list_blocks(page)
    }

    assert blocks >= ILLUSTRATIONS
