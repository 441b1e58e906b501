"""What a person reads while migrate runs: on a terminal, in a pipe, in a log."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import connections

from tests.support import servers
from tests.support.site import Site

MIGRATIONS = {
    "0001_initial": """\
from django.db import migrations, models


def create_movies(apps, editor):
    movies = apps.get_model("films", "Movie").objects.using(editor.connection.alias)
    for number in range(3):
        movies.create(title=f"film {number}")


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Movie",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=50)),
            ],
        ),
        migrations.RunPython(create_movies, migrations.RunPython.noop),
    ]
""",
    "0002_movie_slug": """\
from django.db import migrations, models

import safefield.operations


def populate_movie_slug(movie):
    return movie.title.replace(" ", "-")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("films", "0001_initial")]
    operations = [
        safefield.operations.AddFieldWithBackfill(
            "movie",
            "slug",
            models.CharField(max_length=50, unique=True),
            populate_movie_slug,
        ),
    ]
""",
}

MODELS = """\
class Movie(models.Model):
    title = models.CharField(max_length=50)
    slug = models.CharField(max_length=50, unique=True)
"""

BEFORE = """\
Operations to perform:
  Apply all migrations: films
Running migrations:
  Applying films.0002_movie_slug...
"""

#: The steps, each as it begins and as it ends.
STEPS = """\
    Adding films.Movie.slug.
    Adding films.Movie.slug: done in N s.
    Filling films.Movie.slug: about 3 rows.
    Filling films.Movie.slug: done, 3 rows in N s, N a second.
    Checking films.Movie.slug.
    Checking films.Movie.slug: done in N s.
    Setting the constraints of films.Movie.slug.
    Setting the constraints of films.Movie.slug: done in N s.
    films.Movie.slug: done, 3 rows filled in N s."""

#: A terminal keeps the ends alone: while a step runs, its line is drawn.
LASTING = """\
    Adding films.Movie.slug: done in N s.
    Filling films.Movie.slug: done, 3 rows in N s, N a second.
    Checking films.Movie.slug: done in N s.
    Setting the constraints of films.Movie.slug: done in N s.
    films.Movie.slug: done, 3 rows filled in N s. OK
"""

INDEX = """\
    Setting the constraints of films.Movie.slug.
    Building index films_movie_slug_e73823af_uniq of films.Movie.slug.
    Building index films_movie_slug_e73823af_uniq of films.Movie.slug: done in N s.
    Building index films_movie_slug_e73823af_like of films.Movie.slug.
    Building index films_movie_slug_e73823af_like of films.Movie.slug: done in N s.
    Checking constraint films_movie_slug_e73823af_notnull of films.Movie.slug.
    Checking constraint films_movie_slug_e73823af_notnull of films.Movie.slug: done in N s.
"""  # noqa: E501 - a line is a line

LOGGING = """
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"safefield": {"handlers": ["console"], "level": "INFO"}},
}
"""

LOGGING_TO_A_FILE = """
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "log"}},
    "loggers": {"safefield": {"handlers": ["file"], "level": "INFO"}},
}
"""


def make_site(path: Path, **kwargs: Any) -> Site:
    """Return a site with three films, whose next migration is that of the slug."""
    site = Site(path, **kwargs)
    for name, text in MIGRATIONS.items():
        site.write(f"films/migrations/{name}.py", text)
    site.write_models(MODELS)
    assert site.succeed("migrate", "films", "0001", "-v0") == ""
    return site


def pipe(site: Site, *arguments: str) -> str:
    """Return what migrate writes to `2>&1 | cat`, without the times."""
    with site.start("migrate", *arguments) as process:
        assert process.stdout is not None
        return hide_times(process.stdout.read())


def hide_times(text: str) -> str:
    return re.sub(r"[\d,.]+ (s\b|a second|min|h)", r"N \1", text)


def test_in_a_pipe(tmp_path: Path) -> None:
    """Fails if anything has to be configured, or a line goes behind migrate's own."""
    site = make_site(tmp_path)

    assert pipe(site) == f"{BEFORE}{STEPS} OK\n"


def test_on_postgresql(postgresql_alias: str, tmp_path: Path) -> None:
    settings = servers.get_connection_settings(connections[postgresql_alias])
    site = make_site(tmp_path, database=settings)
    line = "    Setting the constraints of films.Movie.slug.\n"

    assert pipe(site) == f"{BEFORE}{STEPS.replace(line, INDEX)} OK\n"


def test_on_mariadb(mariadb_alias: str, tmp_path: Path) -> None:
    settings = servers.get_connection_settings(connections[mariadb_alias])
    site = make_site(tmp_path, database=settings)

    assert pipe(site) == f"{BEFORE}{STEPS} OK\n"


def test_in_two_files(tmp_path: Path) -> None:
    """What goes elsewhere than the line of migrate does not end that line."""
    site = make_site(tmp_path)

    result = site.manage("migrate", keeps_progress=True)

    assert result.out == f"{BEFORE.removesuffix(chr(10))} OK\n"
    assert hide_times(result.err) == f"{STEPS}\n"


def test_verbosity_0(tmp_path: Path) -> None:
    site = make_site(tmp_path)

    assert pipe(site, "-v0") == ""


def test_verbosity_2_has_the_statements(tmp_path: Path) -> None:
    site = make_site(tmp_path)

    said = pipe(site, "-v2")

    adding = (
        "    Adding films.Movie.slug.\n"
        '    ALTER TABLE "films_movie" ADD COLUMN "slug" varchar(50) NULL\n'
        "    Adding films.Movie.slug: done in N s.\n"
    )
    assert adding in said
    assert '    ALTER TABLE "new__films_movie" RENAME TO "films_movie"\n' in said
    assert said.count('    UPDATE "films_movie" SET "slug"') == 1


@pytest.mark.parametrize("alias", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_verbosity_2_has_the_first_statement_that_fills(
    alias: str, tmp_path: Path
) -> None:
    """Fails if it is left out, is said of each batch, or has a value in it."""
    settings = servers.get_connection_settings(connections[alias])
    site = make_site(tmp_path, database=settings)
    path = "films/migrations/0002_movie_slug.py"
    argument = "            populate_movie_slug,\n"
    batched = argument + "            batch_size=1,\n"
    site.write(path, site.read(path).replace(argument, batched))

    lines = pipe(site, "-v2").splitlines()

    (line,) = (line for line in lines if "UPDATE" in line)
    assert line.startswith("    ")
    assert line.endswith("; and so on")
    assert "film-" not in line


def test_way_back(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.manage("migrate", "-v0")

    said = pipe(site, "films", "0001")

    assert said.partition("Unapplying")[2] == (
        " films.0002_movie_slug...\n"
        "    Dropping films.Movie.slug.\n"
        "    Dropping films.Movie.slug: done in N s.\n"
        "    films.Movie.slug: done, column dropped in N s. OK\n"
    )


def test_error_is_on_a_line_of_its_own(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    path = "films/migrations/0002_movie_slug.py"
    site.write(path, site.read(path).replace("movie.title.replace", "movie.name"))

    said = pipe(site)

    assert said.startswith(
        f"{BEFORE}BackfillError: films.Movie.slug cannot be filled. "
    )


@pytest.mark.skipif(
    django.VERSION >= (6, 1), reason="FETCH_PEERS leaves nothing to warn about"
)
def test_warning_is_on_a_line_of_its_own(tmp_path: Path) -> None:
    """It is also where nothing is said of steps: fails if it follows `Applying …`."""
    site = make_site(tmp_path)
    name = "films/migrations/0001_initial.py"
    other = """\
        migrations.CreateModel("Studio", [("id", models.AutoField(primary_key=True))]),
        migrations.CreateModel("""
    field = """\
                ("title", models.CharField(max_length=50)),
                ("studio", models.ForeignKey("films.Studio", models.CASCADE)),
"""
    text = site.read(name).replace("        migrations.CreateModel(", other, 1)
    text = text.replace("range(3)", "range(10)")
    text = text.replace(
        'create(title=f"film {number}")',
        'create(title=f"film {number}", studio=apps.get_model("films", "Studio")'
        ".objects.create())",
    )
    site.write(name, text.replace(field.splitlines(True)[0], field))
    second = "films/migrations/0002_movie_slug.py"
    code = 'str(movie.studio.pk) + movie.title.replace(" ", "-")'
    site.write(second, site.read(second).replace('movie.title.replace(" ", "-")', code))
    (tmp_path / "db.sqlite3").unlink()
    site.manage("migrate", "films", "0001", "-v0")

    lines = pipe(site).splitlines()

    (index,) = (i for i, line in enumerate(lines) if "makes a query" in line)
    assert lines[index].startswith("populate_movie_slug() makes a query for each row,")
    assert lines[index - 1].startswith("    Filling films.Movie.slug")


def test_table_without_rows_needs_no_lines(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.manage(
        "shell",
        "-v0",
        "-c",
        "from django.db import connection as c;"
        "c.cursor().execute('DELETE FROM films_movie')",
    )

    assert pipe(site) == f"{BEFORE.removesuffix(chr(10))} OK\n"


@pytest.mark.parametrize("debug", ["False", "True"])
def test_logging_of_startproject(tmp_path: Path, debug: str) -> None:
    """Fails if the lines go to a logger that Django's own LOGGING leaves silent."""
    site = make_site(tmp_path, settings=f"DEBUG = {debug}\n")

    assert pipe(site) == f"{BEFORE}{STEPS} OK\n"


def test_logging_to_the_terminal_says_each_line_once(tmp_path: Path) -> None:
    site = make_site(tmp_path, settings=LOGGING)

    lines = STEPS.replace("    ", "")
    assert pipe(site) == f"{BEFORE}{lines}\n OK\n"


def test_logging_to_a_file_has_the_lines_too(tmp_path: Path) -> None:
    site = make_site(tmp_path, settings=LOGGING_TO_A_FILE)

    assert pipe(site) == f"{BEFORE}{STEPS} OK\n"
    assert hide_times(site.read("log")) == STEPS.replace("    ", "") + "\n"


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_on_a_terminal(tmp_path: Path, columns: int) -> None:
    """Fails if a line is drawn over that of migrate, or does not fit."""
    site = make_site(tmp_path)

    written = watch(site, columns)

    assert hide_times(replay(written)) == BEFORE + LASTING
    drawn = re.findall(r"\x1b\[2K([^\r\n ][^\r\n]*)", written)
    assert all(len(line) < columns for line in drawn)
    filling = next(line for line in drawn if line.startswith("Filling"))
    dots = {60: 23, 80: 40, 200: 40}[columns]
    assert filling == f"Filling films.Movie.slug [{'.' * dots}]   0% 0/3"
    steps = {line.partition(":")[0].partition(" [")[0] for line in drawn}
    assert steps == {
        "Adding films.Movie.slug",
        "Filling films.Movie.slug",
        "Checking films.Movie.slug",
        "Setting the constraints of films.Movie.slug",
    }


def watch(site: Site, columns: int) -> str:
    """Return all that migrate writes to a terminal."""
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    terminal, other_end = os.openpty()
    # Rows, columns, and two numbers that nobody reads.
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    environment = site.get_environment() | {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor"}
    # They would say another size.
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    parts = []
    with subprocess.Popen(
        [sys.executable, "-Werror", "manage.py", "migrate"],
        cwd=site.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=other_end,
        stderr=other_end,
    ):
        os.close(other_end)
        while part := read(terminal):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 10_000)
    except OSError:
        # Linux says EIO where other systems say that the file has ended.
        return b""


def replay(written: str) -> str:
    """Return what is on the screen in the end."""
    return re.sub(r"[^\n]*\r\x1b\[2K", "", written)
