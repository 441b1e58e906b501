"""The story that the demo tells, step by step."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from django.core.management.base import CommandError

from demo.changes import (
    ADD_SLUG_TO_ADMIN,
    ADD_SLUG_TO_MODEL,
    ADD_SLUG_TO_SEARCH,
    IMPORT_SLUGIFY,
    MIGRATION,
    WRITE_FUNCTION,
    Change,
)
from demo.scratch import Column, ScratchSite
from demo.screen import Screen

#: Makes the one who may log in to a site that is kept.
MAKE_USER = """\
from django.contrib.auth.models import User

User.objects.create_superuser("demo", password="demo")
"""

#: Rows of data/movies.csv. Source: data/README.md.
FILMS = 36_273

#: Films that a slug made of title, or of title and year, could not tell apart,
#: and one whose title is not ASCII.
SHOWN_FILMS = (8150, 11909, 23934, 23935, 24116)


class Story:
    """
    Tells the story; stops with a CommandError where something does not hold.

    Args:
        site (ScratchSite): The copy that it happens on.
        screen (Screen): Where it is told.
        kept (Path or None): Where the site is to stay, with its slugs.
    """

    def __init__(
        self, site: ScratchSite, screen: Screen, kept: Path | None = None
    ) -> None:
        self.site = site
        self.screen = screen
        self.kept = kept
        self.films_before: list[object] = []
        self.table_before = ""

    def tell(self) -> None:
        """Take all steps, and write how long each took."""
        steps = [
            ("A site with films", self.load_films),
            ("The model gets a required, unique slug", self.change_model),
            ("makemigrations asks nothing", self.make_migrations),
            ("An unwritten function cannot slip through", self.migrate_too_soon),
            ("One function says what one film gets", self.write_function),
            ("migrate fills every row", self.migrate),
            ("Each film has its own slug", self.look),
        ]
        if self.kept is None:
            steps.append(("And back again", self.go_back))
        self.screen.say(
            f"This is a copy of example_project, in {self.site.path}. All that follows "
            f"happens there, on SQLite, and the copy is removed at the end."
        )
        seconds = []
        for number, (title, take_step) in enumerate(steps, 1):
            self.screen.begin_step(number, title)
            started = time.perf_counter()
            take_step()
            seconds.append(time.perf_counter() - started)
        self.show_times([title for title, _ in steps], seconds)
        self.screen.write()
        if self.kept is None:
            self.screen.say("To look at it with its slugs, keep a copy and start that:")
            demo = f"{sys.executable} {sys.argv[0]} demo --keep films-site"
            start = f"{sys.executable} films-site/manage.py runserver"
            self.screen.show_command(f"{demo} && {start}")
        else:
            self.keep(self.kept)

    def keep(self, path: Path) -> None:
        """Leave the site where it is asked for, and say how to start it."""
        self.site.run("shell", "-c", MAKE_USER)
        self.site.copy_to(path)
        self.screen.say(
            f"The site stays in {path}. Start it, and open http://127.0.0.1:8000/"
            f"?q=treasure-island, or http://127.0.0.1:8000/admin/ as the user demo "
            f"with the password demo:"
        )
        self.screen.show_command(f"{sys.executable} {path}/manage.py runserver")

    # The steps

    def load_films(self) -> None:
        self.screen.show_file("films/models.py", self.read_model())
        self.manage("migrate", "--verbosity", "0")
        self.manage("load_films")
        self.films_before = self.site.read_films()
        self.table_before = self.site.read_statement()
        self.screen.confirm(f"{FILMS:,} films", len(self.films_before), FILMS)
        self.show_films("id", "year", "title")
        self.screen.write()
        self.screen.say(
            """A slug cannot be made of the title alone: nine films are called
            "Treasure Island", and two of them are of the same year."""
        )

    def change_model(self) -> None:
        self.edit(ADD_SLUG_TO_MODEL)
        self.edit(ADD_SLUG_TO_ADMIN)
        self.edit(ADD_SLUG_TO_SEARCH)

    def make_migrations(self) -> None:
        self.manage("makemigrations")
        self.screen.confirm(
            f"{MIGRATION} is there", (self.site.path / MIGRATION).exists(), True
        )
        self.screen.show_file(MIGRATION, self.site.read(MIGRATION))

    def migrate_too_soon(self) -> None:
        self.manage("migrate", must_fail=True)
        self.confirm_untouched("Nothing has changed")

    def write_function(self) -> None:
        self.edit(IMPORT_SLUGIFY, WRITE_FUNCTION)

    def migrate(self) -> None:
        self.manage("migrate", shows_progress=True)

    def look(self) -> None:
        self.show_films("id", "year", "title", "slug")
        self.screen.write()
        ((filled, different),) = self.site.query(
            "SELECT count(slug), count(DISTINCT slug) FROM films_movie WHERE slug <> ''"
        )
        self.screen.confirm(f"{FILMS:,} films have a slug", filled, FILMS)
        self.screen.confirm(f"{FILMS:,} slugs are different", different, FILMS)
        self.screen.confirm(
            "the column is as the model says: varchar(420) NOT NULL",
            self.site.read_columns()[-1],
            Column("slug", "varchar(420)", True),
        )
        self.screen.confirm(
            "the column is UNIQUE", ("slug", True) in self.site.read_indexes(), True
        )
        self.screen.confirm(
            "every other value is what it was",
            self.site.read_films() == self.films_before,
            True,
        )
        self.manage("makemigrations", "--check")

    def go_back(self) -> None:
        self.manage("migrate", "films", "0001", shows_progress=True)
        self.confirm_untouched("The table is what it was before")

    # What steps are made of

    def manage(
        self, *arguments: str, must_fail: bool = False, shows_progress: bool = False
    ) -> None:
        """
        Run a command and show what it writes.

        Raises:
            CommandError: It failed, or it should have and did not.
        """
        command = " ".join(["python", "manage.py", *arguments])
        self.screen.show_command(command)
        result = self.site.run(*arguments, shows_progress=shows_progress)
        self.screen.show_output(result.output)
        if must_fail:
            self.screen.confirm("refused", result.code, 1)
        elif result.code != 0:
            raise CommandError(f"`{command}` failed with exit code {result.code}.")

    def edit(self, *changes: Change) -> None:
        """Make changes to one file and show them."""
        path = changes[0].path
        old = self.site.read(path)
        for change in changes:
            self.site.apply(change)
        self.screen.show_difference(path, old, self.site.read(path))

    def read_model(self) -> str:
        """Return models.py from its class on."""
        text = self.site.read("films/models.py")
        return text[text.index("class Movie") :]

    def show_films(self, *columns: str) -> None:
        """Write the shown films as a table."""
        marks = ", ".join("?" * len(SHOWN_FILMS))
        self.screen.show_table(
            columns,
            self.site.query(
                f"SELECT {', '.join(columns)} FROM films_movie "
                f"WHERE id IN ({marks}) ORDER BY id",
                SHOWN_FILMS,
            ),
        )

    def confirm_untouched(self, claim: str) -> None:
        """Check table and rows against those from the start."""
        self.screen.confirm(
            f"{claim}: the columns are {self.describe_columns()}",
            self.site.read_statement(),
            self.table_before,
        )
        self.screen.confirm(
            f"{claim}: all {FILMS:,} rows",
            self.site.read_films() == self.films_before,
            True,
        )

    def describe_columns(self) -> str:
        """Return the names of the columns."""
        return ", ".join(column.name for column in self.site.read_columns())

    def show_times(self, titles: list[str], seconds: list[float]) -> None:
        """Write how long each step took, and all of them."""
        rows = [
            (f"{taken:5.1f} s", f"{number}. {title}")
            for number, (title, taken) in enumerate(
                zip(titles, seconds, strict=True), 1
            )
        ]
        self.screen.show_table(
            ("   took", "step"), [*rows, (f"{sum(seconds):5.1f} s", "in all")]
        )
