"""Sphinx: `tox -e docs` builds docs/_build/html."""

from __future__ import annotations

import re
from pathlib import Path

_package = Path(__file__).parent.parent / "safefield" / "__init__.py"

project = "safefield"
author = "The safefield maintainers"
release = re.findall(r'__version__ = "(.+)"', _package.read_text(encoding="utf-8"))[0]
version = release

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"safefield {release}"
