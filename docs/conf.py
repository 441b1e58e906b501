"""Sphinx: `tox -e docs` builds docs/_build/html."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import tomllib

_docs = Path(__file__).parent
_package = _docs.parent / "safefield" / "__init__.py"

project = "safefield"
author = "The safefield maintainers"
project_copyright = author
release = re.findall(r'__version__ = "(.+)"', _package.read_text(encoding="utf-8"))[0]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings name them

# Without a network the docs are built all the same, without links to Django: this
# inventory of nothing is there to be found in any case.
_nothing = _docs / "_build" / "nothing.inv"
_nothing.parent.mkdir(exist_ok=True)
_nothing.write_bytes(
    b"# Sphinx inventory version 2\n# Project: nothing\n# Version: 0\n"
    b"# The remainder of this file is compressed using zlib.\nx\x9c\x03\0\0\0\0\x01"
)
intersphinx_mapping = {
    "django": ("https://docs.djangoproject.com/en/stable/", (None, str(_nothing))),
    "python": ("https://docs.python.org/3/", (None, str(_nothing))),
}
intersphinx_timeout = 5

# Our own names have to lead somewhere; those of others need the network.
nitpicky = True
nitpick_ignore_regex = [(r"py:\w+", r"(?!safefield\b).*")]

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"safefield {release}"
with (_docs.parent / "pyproject.toml").open("rb") as _file:
    _hooks = tomllib.load(_file)["tool"]["hatch"]["metadata"]["hooks"]
if _address := _hooks["custom"]["address"]:
    html_theme_options = {
        "source_repository": _address,
        "source_branch": "main",
        "source_directory": "docs/",
    }
html_static_path = ["static"]
html_css_files = ["docs.css"]
html_show_sphinx = False


def show_init(app, what, name, obj, options, signature, return_annotation):
    """Show the arguments of __init__(), and not of Django's Operation.__new__()."""
    if what not in {"class", "exception"}:
        return None
    found = inspect.signature(obj)
    bare = [
        parameter.replace(annotation=parameter.empty)
        for parameter in found.parameters.values()
    ]
    plain = found.replace(parameters=bare, return_annotation=found.empty)
    return str(plain), None


def setup(app):
    app.connect("autodoc-process-signature", show_init)
