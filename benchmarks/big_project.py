"""
Compare what commands cost in a big project, with safefield in it and without.

    python benchmarks/big_project.py

It makes a project of 30 apps with 10 models and 20 migrations each, a tenth of which
are backfills, and runs `makemigrations --check` and `check` in processes of their own:
without safefield, where the backfills are AddField, and with it, in turns. Measured is
the CPU time of a process, which a busy machine leaves alone more than the clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.site import Site  # noqa: E402 # needs the path

COMMANDS = {
    "makemigrations --check": ["makemigrations", "--check"],
    "check": ["check"],
}
MODELS = 10

#: The 20th, 10th, ... of an app is a backfill.
EVERY = 10

ID = '("id", models.AutoField(primary_key=True, serialize=False))'


def make_site(path: Path, app_count: int, migration_count: int, has_it: bool) -> Site:
    """Return a project whose models are those of its migrations."""
    names = [f"app{number}" for number in range(app_count)]
    installed_apps = (["safefield"] if has_it else []) + names
    site = Site(path, apps=names, installed_apps=installed_apps)
    fields: list[list[str]] = [[] for _ in range(MODELS)]
    for number in range(2, migration_count + 1):
        fields[number % MODELS].append(f"field{number}")
    models = "".join(
        f"class Model{number}(models.Model):\n"
        + "".join(f"    {name} = models.IntegerField(default=1)\n" for name in of_model)
        + "    id = models.AutoField(primary_key=True)\n\n\n"
        for number, of_model in enumerate(fields)
    )
    for app in names:
        site.write_models(models, app=app)
        for number in range(1, migration_count + 1):
            text = spell_migration(number, app, has_it)
            site.write(f"{app}/migrations/{number:04}_m.py", text)
    return site


def spell_migration(number: int, app: str, has_it: bool) -> str:
    """Return the text of a migration."""
    head = "from django.db import migrations, models\n\n"
    dependencies, kind, populate = "", "migrations.AddField", ""
    if has_it and number % EVERY == 0:
        head = f"import safefield.operations\n{head}"
        head += "\ndef populate(row):\n    return row.pk\n\n\n"
        kind = "safefield.operations.AddFieldWithBackfill"
        populate = ", populate"
    if number == 1:
        operations = "".join(
            f'        migrations.CreateModel("Model{model}", [{ID}]),\n'
            for model in range(MODELS)
        )
    else:
        dependencies = f'("{app}", "{number - 1:04}_m")'
        operations = (
            f'        {kind}("model{number % MODELS}", "field{number}", '
            f"models.IntegerField(default=1){populate}),\n"
        )
    return (
        f"{head}class Migration(migrations.Migration):\n"
        f"    dependencies = [{dependencies}]\n"
        f"    operations = [\n{operations}    ]\n"
    )


def measure(site: Site, arguments: list[str]) -> float:
    """Return the CPU seconds of one run of manage.py, which has to succeed."""
    command = [sys.executable, "manage.py", *arguments]
    environment = site.get_environment()
    # As a user's project, which is not compiled again for each command.
    del environment["PYTHONDONTWRITEBYTECODE"]
    pid = os.fork()
    if pid == 0:
        os.chdir(site.path)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.execvpe(command[0], command, environment)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed in {site.path}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Make the projects, measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=30)
    parser.add_argument("--migrations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        sites = {
            has_it: make_site(
                Path(directory) / str(has_it),
                options.apps,
                options.migrations,
                has_it,
            )
            for has_it in (False, True)
        }
        for title, arguments in COMMANDS.items():
            seconds: dict[bool, list[float]] = {False: [], True: []}
            # The first round writes the .pyc files.
            for number in range(options.rounds + 1):
                for has_it, site in sites.items():
                    taken = measure(site, arguments)
                    if number:
                        seconds[has_it].append(taken)
            plain, ours = median(seconds[False]), median(seconds[True])
            print(
                f"{title}: {plain:.2f} s of CPU without safefield, {ours:.2f} s with "
                f"it, x {ours / plain:.2f}"
            )


if __name__ == "__main__":
    main()
