"""
Make the pictures beside this file: python docs/pictures/make.py

demo.svg            what `manage.py demo` leaves on a terminal, its steps 5 to 7
filling.svg         the same terminal while the rows are being filled
admin-before.png    films in the admin of the example site, without a slug
admin-after.png     the same page when each film has its slug
films.png           the films of the example site, searched by a slug

Nothing in them is edited: the demo runs in a terminal, and the admin is that of a copy
of the example site, in a browser. CONTRIBUTING.md says what has to be installed.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

import pyte
from rich import console, style, text

PICTURES = Path(__file__).resolve().parent
EXAMPLE = PICTURES.parent.parent / "example_project"

sys.path.insert(0, str(EXAMPLE))
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

from demo import changes  # noqa: E402 # needs the path
from demo.scratch import ScratchSite  # noqa: E402 # needs the path

DEMO = "python example_project/manage.py demo"

#: The terminal is so tall that nothing scrolls away.
COLUMNS, LINES = 100, 400

#: pyte calls two of the eight colours otherwise than rich.
COLORS = {"default": None, "brown": "yellow"}

#: One state of the bar, with the percentage.
BAR = re.compile(r"\r\x1b\[2KFilling [^\r]*?(\d+)%[^\r]*")

#: What would have each page fetch a font from elsewhere; the next one named will do.
FONT = re.compile(r"@font-face \{.*?\}\s*", re.S)

#: All films of that name, so that the page shows why a title is no slug.
ADMIN_PAGE = "/admin/films/movie/?q=treasure+island"
FILMS_PAGE = "/?q=treasure-island"

#: Pixels, width and height. Below 1025 Django lays the page out for tablets; the height
#: is that of the page.
ADMIN_WINDOW = "1025,742"
FILMS_WINDOW = "700,811"

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

#: Files beside those of the example site: whoever comes is logged in, and sees the
#: films without the list of all models at their left.
FILES = {
    "config/picture_settings.py": """\
from config.settings import *

MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.RemoteUserMiddleware"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
ROOT_URLCONF = "config.picture_urls"
""",
    "config/picture_urls.py": """\
from config.urls import admin, urlpatterns

admin.site.enable_nav_sidebar = False
""",
}
USER = "editor"

#: Seconds until the development server has to answer.
SERVER_SECONDS = 60


def main() -> None:
    """Make all pictures."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"There is no browser: install one of {', '.join(BROWSERS)}.")
    draw_terminals(run_demo())
    photograph_admin(browser)


# The terminal


def draw_terminals(output: str) -> None:
    """Draw what the demo leaves on the screen, and the screen in the midst of it."""
    screen = show_on_screen(output)
    draw(screen, "demo.svg", "5. ", "8. ")
    half = min(BAR.finditer(output), key=lambda bar: abs(int(bar[1]) - 50))
    screen = show_on_screen(output[: half.end()])
    draw(screen, "filling.svg", "6. ")


def run_demo() -> str:
    """Return all that the demo writes to a terminal, control sequences and all."""
    # Less what would lead away from the usual site and from this terminal.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "FILMS_"))
        and name not in {"COLUMNS", "LINES", "NO_COLOR"}
    }
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    demo = subprocess.Popen(
        [sys.executable, *DEMO.split()[1:]],
        cwd=EXAMPLE.parent,
        env=environment | {"TERM": "xterm-256color"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    output = b"".join(read_terminal(terminal)).decode()
    os.close(terminal)
    if demo.wait() != 0:
        sys.exit(f"The demo failed:\n{output}")
    return output


def read_terminal(terminal: int) -> Iterator[bytes]:
    """Yield what is written to the terminal until nobody has it open any more."""
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # how Linux says that the other end is closed
            return
        if not data:
            return
        yield data


def show_on_screen(output: str) -> pyte.Screen:
    """Return a terminal that has got `output`."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.Stream(screen).feed(output)
    return screen


def draw(screen: pyte.Screen, name: str, first: str, following: str = "") -> None:
    """Draw the lines from the one that begins with `first` to before `following`."""
    lines = [line.rstrip() for line in screen.display]
    end = find_line(lines, following) if following else len(lines)
    while not lines[end - 1]:
        end -= 1
    # The console of rich is there to be recorded: what it writes goes nowhere.
    recorder = console.Console(record=True, width=COLUMNS, file=io.StringIO())
    for row in range(find_line(lines, first), end):
        recorder.print(read_line(screen, row), no_wrap=True)
    recorder.print()  # or the tails of the last line's letters are cut off
    drawing = recorder.export_svg(title=DEMO, unique_id="terminal")
    write(name, FONT.sub("", drawing).encode())


def find_line(lines: list[str], beginning: str) -> int:
    """Return the number of the one line that begins so."""
    (row,) = [row for row, line in enumerate(lines) if line.startswith(beginning)]
    return row


def read_line(screen: pyte.Screen, row: int) -> text.Text:
    """Return one line of the screen with its colours."""
    width = len(screen.display[row].rstrip())
    cells = [screen.buffer[row][column] for column in range(width)]
    line = text.Text()
    for (color, is_bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        look = style.Style(color=COLORS.get(color, color), bold=is_bold)
        line.append("".join(cell.data for cell in run), look)
    return line


# The admin


def photograph_admin(browser: str) -> None:
    """Go with a copy of the site from before the slug to after it."""
    with ScratchSite(is_colored=False) as site:
        for path, content in FILES.items():
            (site.path / path).write_text(content, encoding="utf-8")
        manage(site, "migrate")
        manage(site, "load_films")
        user = ("--username", USER, "--email", "editor@example.com")
        manage(site, "createsuperuser", "--noinput", *user)
        photograph(site, browser, "admin-before.png", ADMIN_PAGE, ADMIN_WINDOW)
        site.apply(changes.ADD_SLUG_TO_MODEL)
        site.apply(changes.ADD_SLUG_TO_ADMIN)
        site.apply(changes.ADD_SLUG_TO_SEARCH)
        manage(site, "makemigrations")
        site.apply(changes.IMPORT_SLUGIFY)
        site.apply(changes.WRITE_FUNCTION)
        manage(site, "migrate")
        photograph(site, browser, "admin-after.png", ADMIN_PAGE, ADMIN_WINDOW)
        photograph(site, browser, "films.png", FILMS_PAGE, FILMS_WINDOW)


def manage(site: ScratchSite, *arguments: str) -> None:
    """Run a command of the copy; it has to succeed."""
    result = site.run(*arguments)
    if result.code != 0:
        sys.exit(f"manage.py {' '.join(arguments)} failed:\n{result.output}")


def photograph(
    site: ScratchSite, browser: str, name: str, page: str, window: str
) -> None:
    """Take a page of the site as a browser shows it."""
    with serve(site) as address, tempfile.TemporaryDirectory() as directory:
        picture = Path(directory) / name
        command = [
            browser,
            "--headless",
            "--no-sandbox",  # it cannot have one as root; the page is our own
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={directory}/profile",
            f"--window-size={window}",
            f"--screenshot={picture}",
            address + page,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        write(name, picture.read_bytes())


@contextmanager
def serve(site: ScratchSite) -> Iterator[str]:
    """Run the development server on a free port, and yield its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    address = f"127.0.0.1:{port}"
    options = ["--noreload", "--settings", "config.picture_settings"]
    server = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", address, *options],
        cwd=site.path,
        # The server's environment is part of each request's.
        env=site.get_environment() | {"REMOTE_USER": USER},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(server, port)
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait()


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + SERVER_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("The development server does not answer.")


def write(name: str, picture: bytes) -> None:
    """Write one of the pictures."""
    (PICTURES / name).write_bytes(picture)
    print(f"{name}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
