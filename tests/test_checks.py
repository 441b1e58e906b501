from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.site import Site

MODELS = """\
class Movie(models.Model):
    title = models.CharField(max_length=200)
"""

HINT = (
    "\tHINT: Return the value of one existing row, then run migrate. If every row "
    "should get the same value, delete the migration and run makemigrations "
    "--one-off-default.\n"
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a project with one migration that has an unwritten function."""
    site = Site(tmp_path)
    site.write_models(MODELS)
    site.manage("makemigrations")
    site.write_models(MODELS + "    slug = models.SlugField()\n")
    site.manage("makemigrations", "--no-header")
    return site


def e001(site: Site, name: str = "0002_movie_slug", line: int = 5) -> str:
    return (
        f"films.{name}: (safefield.E001) populate_movie_slug() in "
        f"{site.path}/films/migrations/{name}.py:{line} is not written yet.\n"
        f"{HINT}"
    )


def write_function(site: Site, body: str) -> None:
    name = "films/migrations/0002_movie_slug.py"
    text = site.read(name)
    line = '    raise NotImplementedError("Write populate_movie_slug() before running'
    assert line in text
    site.write(name, text.replace(line, f"    {body}\n{line}"))


def test_check_names_file_and_function(site: Site) -> None:
    result = site.manage("check")

    assert result.code == 1
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        + e001(site)
        + "\nSystem check identified 1 issue (0 silenced).\n"
    )


def test_migrate_refuses_on_an_empty_table_before_any_change(site: Site) -> None:
    result = site.manage("migrate")

    assert result.code == 1
    assert result.out == ""
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        + e001(site)
    )
    shown = site.manage("showmigrations", "--plan", "--skip-checks")
    assert shown.out == "[ ]  films.0001_initial\n[ ]  films.0002_movie_slug\n"


def test_makemigrations_goes_on(site: Site) -> None:
    result = site.manage("makemigrations")

    assert result == ("No changes detected\n", "", 0)


def test_written_function_is_accepted(site: Site) -> None:
    write_function(site, 'return "x"')

    result = site.manage("check")

    assert result == ("System check identified no issues (0 silenced).\n", "", 0)


def test_function_that_refuses_some_rows_is_written(site: Site) -> None:
    write_function(site, "if movie.title:\n        return movie.title")

    result = site.manage("check")

    assert result == ("System check identified no issues (0 silenced).\n", "", 0)


def test_check_of_one_app_looks_at_that_app_alone(site: Site) -> None:
    assert site.manage("check", "safefield").code == 0
    assert site.manage("check", "films").code == 1


def test_operation_inside_another_is_found(site: Site) -> None:
    name = "films/migrations/0002_movie_slug.py"
    text = site.read(name)
    start = text.index("        safefield.operations")
    end = text.rindex("    ]")
    site.write(
        name,
        text[:start]
        + "        migrations.SeparateDatabaseAndState(database_operations=[\n"
        + text[start:end]
        + "        ]),\n"
        + text[end:],
    )

    result = site.manage("check")

    assert result.code == 1
    assert e001(site) in result.err


# Fails if files are looked for in a folder without __init__.py: Django's witness is
# showmigrations, which knows of no migration there.
def test_folder_that_django_does_not_load_is_left_alone(site: Site) -> None:
    (site.path / "films/migrations/__init__.py").unlink()

    check = site.manage("check")
    shown = site.manage("showmigrations", "films")

    assert check == ("System check identified no issues (0 silenced).\n", "", 0)
    assert shown == ("films\n (no migrations)\n", "", 0)


# Fails if a file that is no module is opened or imported. Django's witness is
# showmigrations, which passes over both: an editor's lock, and a copy.
def test_files_that_django_does_not_load_are_left_alone(site: Site) -> None:
    folder = site.path / "films/migrations"
    folder.joinpath("0002_movie_slug.old.py").write_text("import safefield\n1 / 0\n")
    folder.joinpath(".#0002_movie_slug.py").symlink_to("user@host.1234")

    check = site.manage("check", "films")
    shown = site.manage("showmigrations", "films", "--skip-checks")

    assert check.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        + e001(site)
        + "\nSystem check identified 1 issue (0 silenced).\n"
    )
    assert shown.out == "films\n [ ] 0001_initial\n [ ] 0002_movie_slug\n"


def test_broken_migration_is_reported_and_does_not_stop_the_check(site: Site) -> None:
    site.write("films/migrations/0003_broken.py", "import safefield\n1 / 0\n")

    result = site.manage("check")

    assert result.code == 1
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        + e001(site)
        + "films.0003_broken: (safefield.E002) It cannot be imported: "
        "ZeroDivisionError: division by zero.\n"
        "\tHINT: Fix the file: migrate cannot import it either.\n"
        "\nSystem check identified 2 issues (0 silenced).\n"
    )


def test_migration_with_a_syntax_error_is_reported(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("films/migrations/0001_initial.py", "import safefield\ndef\n")

    result = site.manage("check")

    assert result.code == 1
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        "films.0001_initial: (safefield.E002) It cannot be imported: SyntaxError: "
        "invalid syntax (0001_initial.py, line 2).\n"
        "\tHINT: Fix the file: migrate cannot import it either.\n"
        "\nSystem check identified 1 issue (0 silenced).\n"
    )


def test_migrations_that_do_not_mention_safefield_are_not_imported(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.write("films/migrations/0001_initial.py", "1 / 0\n")

    result = site.manage("check")

    assert result == ("System check identified no issues (0 silenced).\n", "", 0)


@pytest.mark.parametrize(
    "settings",
    [
        'MIGRATION_MODULES = {"films": None}\n',
        'MIGRATION_MODULES = {"films": "nowhere.migrations"}\n',
    ],
)
def test_app_without_migrations_is_skipped(tmp_path: Path, settings: str) -> None:
    site = Site(tmp_path, settings=settings)

    result = site.manage("check")

    assert result == ("System check identified no issues (0 silenced).\n", "", 0)


OTHER_COMMAND = """\
from django.core.management.commands import makemigrations


class Command(makemigrations.Command):
    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument("--other", action="store_true")

    def handle(self, *args, other, **options):
        self.stdout.write(f"other: {other}")
        super().handle(*args, **options)
"""


def make_other(tmp_path: Path, installed_apps: list[str], command: str) -> Site:
    site = Site(tmp_path, apps=["films", "other"], installed_apps=installed_apps)
    for directory in ("other/management", "other/management/commands"):
        site.write(f"{directory}/__init__.py", "")
    site.write("other/management/commands/makemigrations.py", command)
    site.write_models(MODELS)
    site.manage("makemigrations", "films")
    site.write_models(MODELS + "    slug = models.SlugField()\n")
    return site


def test_shadowed_command_is_reported(tmp_path: Path) -> None:
    site = make_other(tmp_path, ["other", "safefield", "films"], OTHER_COMMAND)

    result = site.manage("check")

    assert result.code == 0
    assert result.err == (
        "System check identified some issues:\n\nWARNINGS:\n"
        "?: (safefield.W001) The makemigrations command of 'other' is used instead of "
        "safefield's, so it asks for one-off defaults.\n"
        "\tHINT: Put 'safefield' before 'other' in INSTALLED_APPS: safefield then uses "
        "that command too. Where 'other' has to come first, derive its Command from "
        "safefield.management.commands.makemigrations.Command.\n"
        "\nSystem check identified 1 issue (0 silenced).\n"
    )


def test_next_command_is_used_on_top_of_safefields(tmp_path: Path) -> None:
    site = make_other(tmp_path, ["safefield", "other", "films"], OTHER_COMMAND)

    assert site.manage("check").err == ""
    result = site.manage("makemigrations", "--other")

    assert result.code == 0
    assert result.out == (
        "other: True\n"
        "Migrations for 'films':\n"
        "  films/migrations/0002_movie_slug.py\n"
        "    + Add field slug to movie, backfilled by populate_movie_slug\n"
        "Next: write populate_movie_slug() in films/migrations/0002_movie_slug.py, "
        "then run migrate.\n"
    )


def test_command_derived_from_safefields_is_accepted(tmp_path: Path) -> None:
    command = OTHER_COMMAND.replace(
        "django.core.management.commands", "safefield.management.commands"
    )
    site = make_other(tmp_path, ["other", "safefield", "films"], command)

    assert site.manage("check").err == ""
    result = site.manage("makemigrations")

    assert result.code == 0
    assert site.list_migrations() == ["0001_initial.py", "0002_movie_slug.py"]


@pytest.mark.parametrize("command", ["check", "makemigrations", "migrate"])
def test_wrong_argument_is_one_sentence(tmp_path: Path, command: str) -> None:
    """Fails if a warning goes before Django's traceback of the same."""
    site = Site(tmp_path)
    site.write(
        "films/migrations/0001_initial.py",
        "from django.db import models\nimport safefield.operations\n"
        "safefield.operations.AddFieldWithBackfill(\n"
        '    "movie", "slug", models.SlugField(), chunk_size=3\n)\n',
    )

    result = site.manage(command)

    assert result.code == 1
    assert result.err == (
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        "films.0001_initial: (safefield.E002) It cannot be imported: TypeError: "
        "BackfillOperation.__init__() got an unexpected keyword argument "
        "'chunk_size'.\n"
        "\tHINT: Fix the file: migrate cannot import it either.\n"
        + ("\nSystem check identified 1 issue (0 silenced).\n" * (command == "check"))
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            "{'PAUSE': 1}",
            "SAFEFIELD has unknown keys ['PAUSE']; the known ones are "
            "['PAUSE_RATIO', 'SHOW_VALUES', 'TWO_PHASE'].",
        ),
        (
            "{'SHOW_VALUES': 0}",
            "SAFEFIELD['SHOW_VALUES'] must be True or False, not 0.",
        ),
        ("[]", "SAFEFIELD must be a dict, not []."),
    ],
    ids=["key", "type", "no dict"],
)
def test_wrong_setting_is_an_error(tmp_path: Path, value: str, text: str) -> None:
    """Fails if only migrate, in the deployment, finds a wrong setting."""
    site = Site(tmp_path, settings=f"SAFEFIELD = {value}\n")

    result = site.manage("check")

    assert (result.code, result.err) == (
        1,
        "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
        f"?: (safefield.E003) {text}\n"
        "\nSystem check identified 1 issue (0 silenced).\n",
    )
