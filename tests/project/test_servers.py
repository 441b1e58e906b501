from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from safefield.operations import AddFieldWithBackfill, AlterFieldWithBackfill
from tests.support import servers

ROOT = Path(__file__).resolve().parents[2]

# Nothing listens there.
NO_MARIADB = {"SAFEFIELD_MARIADB_HOST": "127.0.0.1", "SAFEFIELD_MARIADB_PORT": "1"}


def run_python(*arguments, **environment):
    # What the run around this one was told (-n 2, for one) is not meant for the run
    # that a test starts: its output would be another one.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **inherited,
            "SAFEFIELD_DATABASES": "all",
            "SAFEFIELD_REQUIRE_DATABASES": "",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def run_pytest(*arguments, **environment):
    return run_python(
        "-m", "pytest", "tests/test_fixtures.py", *arguments, **environment
    )


class TestMissingDatabase:
    def test_is_skipped_and_reported(self):
        run = run_pytest(SAFEFIELD_DATABASES="sqlite,mariadb", **NO_MARIADB)

        header, _, summary = run.stdout.partition("collected 13 items")
        assert "\nmariadb: NOT TESTED, no usable server at 127.0.0.1:1 (" in header
        assert "\nmariadb: NOT TESTED (no usable server at 127.0.0.1:1 (" in summary
        assert (
            "\npostgresql: NOT TESTED "
            "(left out by SAFEFIELD_DATABASES=sqlite,mariadb)\n" in summary
        )
        assert "3 passed, 10 skipped" in summary
        assert run.returncode == 0

    def test_fails_the_run_when_required(self):
        run = run_pytest(SAFEFIELD_REQUIRE_DATABASES="mariadb", **NO_MARIADB)

        assert (
            "SAFEFIELD_REQUIRE_DATABASES is not met. "
            "mariadb: no usable server at 127.0.0.1:1 (" in run.stdout + run.stderr
        )
        assert run.returncode == 1

    def test_fails_the_run_when_required_and_not_exercised(self):
        run = run_pytest(
            "-m",
            "sqlite and not mariadb",
            SAFEFIELD_REQUIRE_DATABASES="sqlite,mariadb",
        )

        if "mariadb" in {
            s.alias for s in servers.find_servers().values() if s.settings
        }:
            assert "\nmariadb: required, but no test ran on it (" in run.stdout
            assert "3 passed" in run.stdout
        assert run.returncode == 1


class TestReadLabels:
    @pytest.mark.parametrize(
        ("value", "labels"),
        [
            ("", set()),
            ("all", {"sqlite", "postgresql", "mariadb", "mysql"}),
            (" sqlite, mariadb,", {"sqlite", "mariadb"}),
        ],
    )
    def test_reads_a_list(self, monkeypatch, value, labels):
        monkeypatch.setenv("SAFEFIELD_REQUIRE_DATABASES", value)

        assert servers.get_required_labels() == labels

    def test_refuses_an_unknown_name(self, monkeypatch):
        monkeypatch.setenv("SAFEFIELD_REQUIRE_DATABASES", "oracle,sqlite")

        with pytest.raises(ValueError) as caught:
            servers.get_required_labels()

        assert str(caught.value) == (
            "SAFEFIELD_REQUIRE_DATABASES names ['oracle']. Use 'all' or a "
            "comma-separated list of ['mariadb', 'mysql', 'postgresql', 'sqlite']."
        )


class TestGetConnectionSettings:
    def test_leads_another_process_to_the_same_database(self, alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("CREATE TABLE shared (id integer)")
            cursor.execute("INSERT INTO shared VALUES (42)")
        settings = servers.get_connection_settings(connections[alias])
        code = (
            "import json, sys, django\n"
            "from tests.support import servers\n"
            "servers.install_mysql_driver()\n"
            "from django.conf import settings\n"
            "from django.db import connection\n"
            "settings.configure(DATABASES={'default': json.loads(sys.argv[1])})\n"
            "django.setup()\n"
            "with connection.cursor() as cursor:\n"
            "    cursor.execute('SELECT id FROM shared')\n"
            "    print(cursor.fetchone())\n"
        )

        run = run_python("-c", code, json.dumps(settings))

        assert run.stderr == ""
        assert run.stdout == "(42,)\n"


class TestProcesses:
    @pytest.mark.thorough
    @pytest.mark.parametrize(
        ("arguments", "cores", "processes"),
        [
            (["tests/typing"], "2", "3 workers [0 items]"),
            (["tests/typing"], "1", "collected 0 items"),
            (["tests/typing", "-n", "0"], "2", "collected 0 items"),
            (["tests/typing", "-p", "no:xdist"], "2", "collected 0 items"),
            (["tests/typing/wrong_migration.py"], "2", "collected 0 items"),
        ],
    )
    def test_are_more_than_cores_for_a_folder(self, arguments, cores, processes):
        """There are no tests in that folder: what counts is who would run them."""
        environment = {
            "PYTEST_XDIST_AUTO_NUM_WORKERS": cores,
            "SAFEFIELD_DATABASES": "sqlite",
        }

        run = run_python("-m", "pytest", *arguments, **environment)

        assert processes in run.stdout


class TestThorough:
    """What stands for others: a test that is marked on two of the four databases."""

    @pytest.mark.parametrize(
        ("arguments", "labels"),
        [
            (["tests/project"], ["sqlite", "postgresql"]),
            (["tests/project", "-m", "thorough"], ["mariadb", "mysql"]),
            (
                ["tests/project/test_films.py"],
                ["sqlite", "postgresql", "mariadb", "mysql"],
            ),
        ],
    )
    def test_is_left_out_of_a_folder(self, arguments, labels):
        name = "test_films_there_and_back_and_there_again"

        run = run_python(
            *[
                "-m",
                "pytest",
                "--collect-only",
                "-q",
                "-n",
                "0",
                "-p",
                "no:randomly",
                "-k",
            ],
            name,
            *arguments,
        )

        assert [line for line in run.stdout.splitlines() if name in line] == [
            f"tests/project/test_films.py::{name}[{label}]" for label in labels
        ]


def test_atomic_makes_no_difference(mysql_alias):
    """Fails if what tests/conftest.py leaves out is not what runs instead."""
    connection = connections[mysql_alias]

    with connection.schema_editor(atomic=True) as editor:
        assert editor.atomic_migration is False
        assert connection.in_atomic_block is False
    # Migration.apply() opens no block for them, either.
    assert AddFieldWithBackfill.atomic is False
    assert AlterFieldWithBackfill.atomic is False


def test_atomic_is_left_out(request):
    ids = {
        item.callspec.id
        for item in request.session.items
        if hasattr(item, "callspec") and "atomic" in item.callspec.id.split("-")
    }

    assert {id for id in ids if "mariadb" in id or "mysql" in id} == set()
