"""
Changes to safefield that a test has to notice, one file for each module.

A file has the path of its module, the tests that are run, the databases they run on
(names as in SAFEFIELD_DATABASES), and the mutants, each of which may have tests and
databases of its own. `python -m tests.mutants` runs them;
tests/project/test_mutants.py looks whether they still fit the code.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

__all__ = ["FOLDER", "ROOT", "Mutant", "read_mutants"]

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent

KEYS = {"name", "harm", "old", "new", "tests", "databases", "equivalent"}


@dataclass(frozen=True)
class Mutant:
    """
    One change to the code.

    Args:
        group: Name of the file that it is in, without the suffix.
        module: Path of the module, from the root of the repository.
        name: Its name in the group.
        harm: What goes wrong with it, in one sentence.
        old: Text of the module, which has it once.
        new: What stands in its place.
        tests: What is handed to pytest.
        databases: Where they run, as SAFEFIELD_DATABASES has it.
        equivalent: Why no test can tell; empty where one can.
    """

    group: str
    module: str
    name: str
    harm: str
    old: str
    new: str
    tests: tuple[str, ...]
    databases: str
    equivalent: str = ""

    @property
    def label(self) -> str:
        """Its group and its name."""
        return f"{self.group} {self.name}"

    def change(self, text: str) -> str:
        """
        Return the text of the module with the change.

        Raises:
            ValueError: The old text is not there, or more than once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.label}: its old text is {count} times in "
                f"{self.module}, not once:\n{self.old}"
            )
        return text.replace(self.old, self.new)


def read_mutants(group: str) -> list[Mutant]:
    """Return the mutants of one group, in order."""
    data: dict[str, Any] = tomllib.loads((FOLDER / f"{group}.toml").read_text())
    mutants = []
    for entry in data["mutant"]:
        if unknown := entry.keys() - KEYS:
            raise ValueError(f"{group} {entry.get('name')}: unknown {sorted(unknown)}")
        mutants.append(
            Mutant(
                group=group,
                module=data["module"],
                name=entry["name"],
                harm=entry["harm"],
                old=entry["old"],
                new=entry["new"],
                tests=tuple(entry.get("tests", data["tests"])),
                databases=entry.get("databases", data["databases"]),
                equivalent=entry.get("equivalent", ""),
            )
        )
    return mutants
