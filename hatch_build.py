"""
What the package's page shows: the README, with links that work there.

The address of the repository stands in pyproject.toml, and nowhere else. As long as
there is none, links into the repository become their text, and pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]+\)\n\n?")
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:)([^)]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Fills in what pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, and the addresses if there is one."""
        address = self.config["address"].rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": make_readme(text, address),
        }
        metadata["urls"] = make_urls(address)


def make_readme(text: str, address: str) -> str:
    """Return the README for a page that is not in the repository."""
    if not address:
        return LINK.sub(r"\2", PICTURE.sub("", text))
    return LINK.sub(
        lambda link: (
            f"{link[1]}[{link[2]}]"
            f"({address}/{'raw' if link[1] else 'blob'}/main/{link[3]})"
        ),
        text,
    )


def make_urls(address: str) -> dict[str, str]:
    """Return the links beside the page."""
    if not address:
        return {}
    return {
        "Source": address,
        "Documentation": f"{address}/blob/main/docs/index.md",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
