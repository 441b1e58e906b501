"""Show, on a copy of this site, what safefield does."""

from __future__ import annotations

import signal
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from demo.scratch import ScratchSite
from demo.screen import Screen
from demo.story import Story


class Command(BaseCommand):
    """Copies the site, tells the story on the copy, removes the copy."""

    help = (
        "Adds a required slug to 36,273 films and takes it away again, on SQLite, in "
        "a copy of this site that is removed at the end."
    )
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--keep",
            metavar="DIRECTORY",
            type=Path,
            help="Leave the site there, with its slugs, instead of removing it.",
        )

    def handle(self, *args, keep, **options):
        if keep is not None and keep.exists():
            raise CommandError(f"{keep} is there already: name a new directory.")
        screen = Screen(self.stdout, self.style)
        try:
            with stop_cleanly(), ScratchSite(is_colored=screen.is_colored) as site:
                Story(site, screen, keep).tell()
        except KeyboardInterrupt:
            raise CommandError(
                "The demo was stopped; its copy of the site is removed.",
                returncode=130,
            ) from None


class stop_cleanly:
    """Lets a terminal that is closed, or `kill`, end the demo as Ctrl-C does."""

    def __enter__(self):
        self.previous = {}
        for name in ("SIGHUP", "SIGTERM"):
            if number := getattr(signal, name, None):
                self.previous[number] = signal.signal(number, self.interrupt)

    def __exit__(self, *exc_info):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def interrupt(self, number, frame):
        raise KeyboardInterrupt
