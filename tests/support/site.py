"""A throwaway Django project, whose manage.py runs in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import interpreter
from tests.support.interpreter import Result

#: What safefield puts before such a line.
INDENT = "    "

REPOSITORY = Path(__file__).parents[2]

MANAGE = """\
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
{prelude}
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

SETTINGS = """\
SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = {installed_apps!r}
DATABASES = {databases!r}
"""

# mysqlclient is not in every environment: PyMySQL stands in for it.
PRELUDE = """\

sys.path.insert(0, {repository!r})
from tests.support import servers

servers.install_mysql_driver()
"""


def drop_progress(text: str) -> str:
    """Return `text` without the lines that say what a backfill does."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(INDENT))


@dataclass
class Site:
    """
    A Django project in a directory of its own.

    Args:
        path (Path): An empty directory, such as pytest's tmp_path.
        apps (Sequence[str]): Apps to make, each with an empty models.py.
        installed_apps (Sequence[str] or None): The whole setting; None for
            "safefield" and then `apps`.
        database (Mapping or None): Entry for DATABASES["default"]; None for a
            SQLite file within the directory.
        settings (str): Python to go behind the settings.
        has_black (bool): Whether Django finds black on the PATH, which formats what
            makemigrations writes, and takes longer than all else.
        environment (dict[str, str]): Variables to set in its processes.
        python (str): The Python that runs them.
    """

    path: Path
    apps: Sequence[str] = ("films",)
    installed_apps: Sequence[str] | None = None
    database: Mapping[str, Any] | None = None
    settings: str = ""
    has_black: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    def __post_init__(self) -> None:
        database = self.database or {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self.path / "db.sqlite3"),
        }
        is_mysql = database["ENGINE"].endswith("mysql")
        prelude = PRELUDE.format(repository=str(REPOSITORY)) if is_mysql else ""
        installed_apps = self.installed_apps
        if installed_apps is None:
            installed_apps = ["safefield", *self.apps]
        self.write("manage.py", MANAGE.format(prelude=prelude))
        self.write(
            "settings.py",
            SETTINGS.format(
                installed_apps=list(installed_apps),
                databases={"default": dict(database)},
            )
            + self.settings,
        )
        for app in self.apps:
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/migrations/__init__.py", "")
            self.write_models("", app=app)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        """Return the text of a file of the project."""
        return (self.path / name).read_text(encoding="utf-8")

    def write_models(self, text: str, *, app: str = "films") -> None:
        """Write models.py; `models` is imported already."""
        self.write(f"{app}/models.py", f"from django.db import models\n\n{text}")

    def list_migrations(self, app: str = "films") -> list[str]:
        """Return the file names of the migrations of an app, in order."""
        names = (path.name for path in (self.path / app / "migrations").glob("*.py"))
        return sorted(name for name in names if name != "__init__.py")

    def read_migrations(self, app: str = "films") -> dict[str, str]:
        """Return the text of each migration of an app by its file name."""
        return {
            name: self.read(f"{app}/migrations/{name}")
            for name in self.list_migrations(app)
        }

    def manage(
        self,
        *arguments: str,
        stdin: str | None = None,
        keeps_progress: bool = False,
    ) -> Result:
        """
        Run `manage.py` and wait for it.

        Args:
            arguments (str): Command and options, such as "migrate", "films".
            stdin (str or None): What is typed; None closes standard input.
            keeps_progress (bool): Whether the result has what migrate says of steps.
        """
        environment = self.get_environment()
        if self.python == sys.executable and not self.environment:
            result = interpreter.run(self.path, arguments, environment, stdin or "")
        else:
            process = subprocess.run(
                [self.python, "-Werror", "manage.py", *arguments],
                cwd=self.path,
                env=environment,
                capture_output=True,
                text=True,
                input=stdin or "",
                check=False,
            )
            result = Result(process.stdout, process.stderr, process.returncode)
        if keeps_progress or arguments[0] != "migrate":
            return result
        return result._replace(err=drop_progress(result.err))

    def succeed(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `manage.py`, which must not fail; return what it prints."""
        result = self.manage(*arguments, stdin=stdin)
        assert (result.err, result.code) == ("", 0), (arguments, result.out)
        return result.out

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `manage.py` and do not wait for it."""
        return subprocess.Popen(
            [self.python, "-Werror", "manage.py", *arguments],
            cwd=self.path,
            env=self.get_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def get_environment(self) -> dict[str, str]:
        """Return the environment for a process of this project."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "PYTHON"))
        }
        directory = str(Path(self.python).parent)
        paths = environment.get("PATH", os.defpath).split(os.pathsep)
        if self.has_black:
            paths.insert(0, directory)
        else:
            paths = [path for path in paths if not shutil.which("black", path=path)]
        environment["PATH"] = os.pathsep.join(paths)
        environment["PYTHONPATH"] = str(REPOSITORY)
        # A module that is written anew within a second would be taken from the
        # cache of the old one.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return environment | self.environment
