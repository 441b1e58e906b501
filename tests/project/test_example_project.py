"""The example site and its demo, each command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import safefield
from tests.support.site import Result

EXAMPLE = Path(__file__).parents[2] / "example_project"

STORY = """\
1. A site with films
$ python manage.py migrate --verbosity 0
$ python manage.py load_films
  OK  36,273 films
2. The model gets a required, unique slug
3. makemigrations asks nothing
$ python manage.py makemigrations
  OK  films/migrations/0002_movie_slug.py is there
4. An unwritten function cannot slip through
$ python manage.py migrate
  OK  refused
  OK  Nothing has changed: the columns are id, title, year, genres
  OK  Nothing has changed: all 36,273 rows
5. One function says what one film gets
6. migrate fills every row
$ python manage.py migrate
7. Each film has its own slug
  OK  36,273 films have a slug
  OK  36,273 slugs are different
  OK  the column is as the model says: varchar(420) NOT NULL
  OK  the column is UNIQUE
  OK  every other value is what it was
$ python manage.py makemigrations --check
8. And back again
$ python manage.py migrate films 0001
  OK  The table is what it was before: the columns are id, title, year, genres
  OK  The table is what it was before: all 36,273 rows
$ python manage.py demo --keep films-site && python films-site/manage.py runserver
"""

MODEL_CHANGE = """
films/models.py
        year = models.PositiveSmallIntegerField()
        genres = models.CharField(max_length=100, blank=True)
  +     slug = models.SlugField(max_length=420, unique=True)

        def __str__(self):

films/admin.py
    @admin.register(Movie)
    class MovieAdmin(admin.ModelAdmin):
  -     list_display = ["title", "year", "genres"]
  +     list_display = ["title", "year", "genres", "slug"]
  +     prepopulated_fields = {"slug": ["title", "year"]}
        search_fields = ["title"]

films/views.py
        queryset = Movie.objects.order_by("-year", "title", "pk")
        paginate_by = 50
  -     search_fields = ["title"]
  +     search_fields = ["title", "slug"]

        def get_queryset(self):
"""

FUNCTION_CHANGE = """
films/migrations/0002_movie_slug.py
    import safefield.operations
    from django.db import migrations, models
  + from django.utils.text import slugify
  ...
        Fields to build it from: id, title, year, genres.
        \"\"\"
  -     raise NotImplementedError("Write populate_movie_slug() before running migrate.")
  +     return slugify(f"{movie.title} {movie.year} {movie.id}")
"""

BEFORE = """
     id  year  title
  -----  ----  ----------------
   8150  1926  The Yankee Señor
  11909  1934  Treasure Island
  23934  1972  Treasure Island
  23935  1972  Treasure Island
  24116  1973  Treasure Island
"""

AFTER = """
     id  year  title             slug
  -----  ----  ----------------  --------------------------
   8150  1926  The Yankee Señor  the-yankee-senor-1926-8150
  11909  1934  Treasure Island   treasure-island-1934-11909
  23934  1972  Treasure Island   treasure-island-1972-23934
  23935  1972  Treasure Island   treasure-island-1972-23935
  24116  1973  Treasure Island   treasure-island-1973-24116
"""

TIMES = """
     took  step
  -------  --------------------------------------------
    0.0 s  1. A site with films
    0.0 s  2. The model gets a required, unique slug
    0.0 s  3. makemigrations asks nothing
    0.0 s  4. An unwritten function cannot slip through
    0.0 s  5. One function says what one film gets
    0.0 s  6. migrate fills every row
    0.0 s  7. Each film has its own slug
    0.0 s  8. And back again
    0.0 s  in all

To look at it with its slugs, keep a copy and start that:

$ python manage.py demo --keep films-site && python films-site/manage.py runserver
"""


class ExampleSite:
    """
    The example site, or a copy of it.

    Args:
        path (Path): Directory of its manage.py.
        temporary (Path): Directory for temporary files.
    """

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path = path
        self.temporary = temporary
        temporary.mkdir()

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start `manage.py`, warnings as errors, and nobody to answer it."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "FILMS_", "PYTHON", "COLUMNS"))
        }
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=self.path,
            env=environment
            | {
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(Path(safefield.__file__).parent.parent),
                "PYTHONUTF8": "1",
                "PYTHONWARNINGS": "error",
                "TMPDIR": str(self.temporary),
            },
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stdout,
            # A shell starts a job in the background with Ctrl+C ignored, and so
            # would be all that the tests start there.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            encoding="utf-8",
        )

    def manage(self, *arguments: str) -> Result:
        """Run `manage.py` and wait for it."""
        process = self.start(*arguments)
        out, err = process.communicate()
        return Result(out, err, process.returncode)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the site; it has to be there once."""
        path = self.path / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> ExampleSite:
    """Return a copy of the example site, without a database."""
    shutil.copytree(
        EXAMPLE,
        tmp_path / "copy",
        ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"),
    )
    return ExampleSite(tmp_path / "copy", tmp_path / "temporary")


@pytest.fixture
def finished_site(copy: ExampleSite) -> ExampleSite:
    """Return a copy of the site with the changes that the demo makes, migrated."""
    copy.edit(
        "films/models.py",
        "blank=True)\n",
        "blank=True)\n    slug = models.SlugField(max_length=420, unique=True)\n",
    )
    copy.edit(
        "films/admin.py",
        '"genres"]\n',
        '"genres", "slug"]\n    prepopulated_fields = {"slug": ["title", "year"]}\n',
    )
    assert copy.manage("makemigrations").code == 0
    copy.edit(
        "films/migrations/0002_movie_slug.py",
        'raise NotImplementedError("Write populate_movie_slug() before running '
        'migrate.")',
        'return f"film-{movie.id}"',
    )
    assert copy.manage("migrate").code == 0
    return copy


def list_files(path: Path) -> Iterator[Any]:
    return (
        (str(file.relative_to(path)), file.stat().st_mtime_ns)
        for file in sorted(path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    )


def read_terminal(terminal: int) -> Iterator[str]:
    """Yield what is written to a terminal until nobody has it open."""
    # Linux says EIO where other systems say that the file has ended.
    with (
        open(terminal, encoding="utf-8", newline="") as file,
        contextlib.suppress(OSError),
    ):
        yield from file


def test_demo_tells_its_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    site = ExampleSite(EXAMPLE, tmp_path / "temporary")
    files = list(list_files(EXAMPLE))

    result = site.manage("demo")

    assert (result.code, result.err) == (0, "")
    out = result.out.replace(sys.executable, "python")
    told = [
        line
        for line in out.splitlines(keepends=True)
        if re.match(r"\d\. |\$ |  OK  ", line)
    ]
    assert "".join(told) == STORY
    assert MODEL_CHANGE in result.out
    assert FUNCTION_CHANGE in result.out
    assert BEFORE in result.out
    assert AFTER in result.out
    assert "  Applying films.0002_movie_slug...\n    Adding films.Movie." in result.out
    assert "    films.Movie.slug: done, 36,273 rows filled in " in result.out
    assert "  Unapplying films.0002_movie_slug...\n    Dropping " in result.out
    assert re.sub(r"[ \d]+\.\d s", "    0.0 s", out).endswith(TIMES)
    assert list(site.temporary.iterdir()) == []
    assert list(list_files(EXAMPLE)) == files


@pytest.mark.thorough
def test_demo_keeps_a_site_that_can_be_started(tmp_path: Path) -> None:
    site = ExampleSite(EXAMPLE, tmp_path / "temporary")
    kept = tmp_path / "kept"

    result = site.manage("demo", "--keep", str(kept))
    shown = ExampleSite(kept, tmp_path / "other").manage("shell", "-c", SHOW_KEPT)

    assert (result.code, result.err) == (0, "")
    assert "8. And back again" not in result.out
    # Where lines end depends on the length of the path.
    assert " ".join(result.out.split()).endswith(
        f" The site stays in {kept}. Start it, and open "
        "http://127.0.0.1:8000/?q=treasure-island, or http://127.0.0.1:8000/admin/ "
        "as the user demo with the password demo: "
        f"$ {sys.executable} {kept}/manage.py runserver"
    )
    assert (shown.code, shown.err) == (0, "")
    assert "<h1>12 films</h1>" in shown.out
    assert "<code>treasure-island-1934-11909</code>" in shown.out
    assert '<td class="field-slug">treasure-island-1934-11909</td>' in shown.out


def test_demo_keeps_nothing_over_what_is_there(tmp_path: Path) -> None:
    result = ExampleSite(EXAMPLE, tmp_path / "temporary").manage(
        "demo", "--keep", str(tmp_path)
    )

    assert result == (
        "",
        f"CommandError: {tmp_path} is there already: name a new directory.\n",
        1,
    )


@pytest.mark.thorough
def test_demo_shows_colours_and_progress_on_a_terminal(tmp_path: Path) -> None:
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    site = ExampleSite(EXAMPLE, tmp_path / "temporary")
    terminal, other_end = os.openpty()
    # Rows, columns, and two numbers that nobody reads.
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("4H", 40, 100, 0, 0))

    with site.start("demo", stdout=other_end) as process:
        os.close(other_end)
        shown = "".join(read_terminal(terminal))

    assert process.returncode == 0
    assert "\x1b[36;1m6. migrate fills every row\x1b[0m\r\n" in shown
    assert "\x1b[2KFilling films.Movie.slug [" in shown
    assert list(site.temporary.iterdir()) == []


@pytest.mark.thorough
def test_demo_fails_when_a_command_fails(copy: ExampleSite) -> None:
    copy.edit("demo/changes.py", "{movie.title} {movie.year} {movie.id}", "a film")

    result = copy.manage("demo")

    assert result.code == 1
    assert result.err == (
        "CommandError: `python manage.py migrate` failed with exit code 1.\n"
    )
    # The text of the error is for the tests of the engine to compare.
    assert "  Applying films.0002_movie_slug..." in result.out
    assert "7. Each film has its own slug" not in result.out
    assert list(copy.temporary.iterdir()) == []


def test_demo_fails_when_a_film_is_missing(copy: ExampleSite) -> None:
    copy.edit("data/movies.csv", "The Yankee Señor,1926,Western|Silent\n", "")

    result = copy.manage("demo")

    assert result.code == 1
    assert result.err == (
        "CommandError: This should be so, and is not: 36,273 films. Found 36272, "
        "expected 36273.\n"
    )
    assert list(copy.temporary.iterdir()) == []


def test_demo_says_when_the_site_is_another(copy: ExampleSite) -> None:
    copy.edit("films/models.py", "genres = ", "kinds = ")
    copy.edit("films/admin.py", '"genres"', '"kinds"')
    copy.edit("films/migrations/0001_initial.py", '"genres"', '"kinds"')
    copy.edit("data/movies.csv", "title,year,genres", "title,year,kinds")
    copy.edit("demo/scratch.py", "typeof(genres), ", "typeof(kinds), ")
    copy.edit("demo/scratch.py", '"genres FROM', '"kinds FROM')

    result = copy.manage("demo")

    assert result.code == 1
    assert result.err == (
        "CommandError: films/models.py should hold these lines once, and holds them 0 "
        "times:\n"
        "    genres = models.CharField(max_length=100, blank=True)\n"
        "The demo edits the example site as it was committed: undo changes to it, if "
        "there are any, and run the demo again.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_demo_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    site = ExampleSite(EXAMPLE, tmp_path / "temporary")

    with site.start("demo") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while process.stdout.readline() != "$ python manage.py load_films\n":
            assert process.poll() is None
        process.send_signal(number)
        error = process.stderr.read()

    assert error == (
        "CommandError: The demo was stopped; its copy of the site is removed.\n"
    )
    assert process.returncode == 130
    assert list(site.temporary.iterdir()) == []


def test_load_films_loads_once(copy: ExampleSite) -> None:
    copy.manage("migrate", "films")

    first = copy.manage("load_films")
    second = copy.manage("load_films")

    assert first == ("Loaded 36,273 films.\n", "", 0)
    assert second == (
        "There are 36,273 films already; nothing was loaded.\n",
        "",
        0,
    )


def test_load_films_loads_all_or_nothing(copy: ExampleSite) -> None:
    copy.manage("migrate", "films")
    rows = "".join(f"Film {n},1990,\n" for n in range(6_000))
    (copy.path / "few.csv").write_text(f"title,year,genres\n{rows}Film,soon,\n")

    broken = copy.manage("load_films", "few.csv")
    whole = copy.manage("load_films")

    assert broken.code == 1
    assert whole.out == "Loaded 36,273 films.\n"


def test_site_is_as_it_should_be(copy: ExampleSite) -> None:
    assert copy.manage("check", "--fail-level", "WARNING").code == 0
    assert copy.manage("makemigrations", "--check") == ("No changes detected\n", "", 0)


SHOW_PAGES = """\
from django.contrib.auth.models import User
from django.test import Client
from films.models import Movie

client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("editor"))
paths = ["/", "/?q=casablanca+1930"]
for path in [*paths, "/admin/films/movie/", "/admin/films/movie/add/"]:
    response = client.get(path)
    assert response.status_code == 200, path
    print(response.text if hasattr(response, "text") else response.content.decode())
"""


SHOW_KEPT = """\
from django.test import Client

client = Client(SERVER_NAME="localhost")
assert client.login(username="demo", password="demo")
for path in ["/?q=treasure-island", "/admin/films/movie/?q=treasure+island"]:
    response = client.get(path)
    assert response.status_code == 200, path
    print(response.content.decode())
"""


def test_pages_of_the_site(copy: ExampleSite) -> None:
    (copy.path / "few.csv").write_text("title,year,genres\nCasablanca,1942,Drama\n")
    copy.manage("migrate")
    copy.manage("load_films", "few.csv")

    result = copy.manage("shell", "-c", SHOW_PAGES)

    assert (result.code, result.err) == (0, "")
    assert "<h1>1 film</h1>" in result.out
    assert "<li>Casablanca (1942)<small>Drama</small></li>" in result.out
    assert "<li>No film has these words.</li>" in result.out
    assert '<td class="field-year">1942</td>' in result.out
    assert 'name="slug"' not in result.out


def test_admin_of_the_finished_site_prepopulates_the_slug(
    finished_site: ExampleSite,
) -> None:
    result = finished_site.manage("shell", "-c", SHOW_PAGES)

    assert (result.code, result.err) == (0, "")
    assert 'name="slug"' in result.out
    assert "id_slug" in result.out
    assert "data-prepopulated-fields=" in result.out
