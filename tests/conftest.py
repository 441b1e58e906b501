"""Fixtures and reports of the test run. CONTRIBUTING.md says how to use them."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import filterfalse
from typing import Any

import pytest
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from tests.support import cleanup, servers

# So that what they assert is shown as in a test.
pytest.register_assert_rewrite(
    *(
        f"tests.support.{name}"
        for name in ("half_way", "kills", "rehearsals", "site", "stops")
    )
)

ALIASES = [pytest.param(alias, id=label) for alias, label in servers.LABELS.items()]

#: A server takes a hundred connections or so, and each process a few of them.
MOST_PROCESSES = 8

passed_by_label: Counter[str] = Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run a folder of tests in half as many processes again as there are cores."""
    options = config.option
    is_told = getattr(options, "numprocesses", 0) is not None
    is_watched = options.usepdb or options.capture == "no"
    is_worker = hasattr(config, "workerinput")
    if is_told or is_watched or is_worker or not runs_folder(config):
        return
    count = config.hook.pytest_xdist_auto_num_workers(config=config)
    if count > 1:
        # While one waits for a database, the others have the cores.
        options.numprocesses = min(count + count // 2, MOST_PROCESSES)
        # One may have got most of what takes long.
        options.dist = "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    """Stop at once when a required database is missing."""
    missing = servers.get_missing_required()
    if missing:
        reasons = "; ".join(f"{server.label}: {server.note}" for server in missing)
        pytest.exit(f"SAFEFIELD_REQUIRE_DATABASES is not met. {reasons}.", returncode=1)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As a shell starts what runs in the background. Tests press Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """
    Mark each test with its database, and leave out what runs twice or takes long.

    What is thorough runs where a file is named, or the mark itself. The other marks are
    for -m mysql, which takes all that run there.
    """
    for item in items:
        labels = find_labels(item)
        for label in labels:
            item.add_marker(label)
        places = [mark.args for mark in item.iter_markers("thorough_on")]
        if labels and any(map(labels.issubset, places)):
            item.add_marker("thorough")
    is_quick = runs_folder(config) and "thorough" not in config.option.markexpr

    def is_left_out(item: pytest.Item) -> bool:
        is_thorough = item.get_closest_marker("thorough") is not None
        return is_run_twice(item) or (is_quick and is_thorough)

    config.hook.pytest_deselected(items=list(filter(is_left_out, items)))
    items[:] = filterfalse(is_left_out, items)


def runs_folder(config: pytest.Config) -> bool:
    """Return whether a folder of tests is run, not only files that are named."""
    folder = config.invocation_params.dir
    return any((folder / argument).is_dir() for argument in config.args)


def is_run_twice(item: pytest.Item) -> bool:
    """
    Return whether another test does the same in the same way.

    Where DDL commits, a migration that is to be atomic is none, so that "atomic" is
    "own-commits": tests/project/test_servers.py asserts it.
    """
    callspec = getattr(item, "callspec", None)
    return (
        callspec is not None
        and "atomic" in callspec.id.split("-")
        and not find_labels(item).isdisjoint({"mariadb", "mysql"})
    )


def find_labels(item: pytest.Item) -> set[str]:
    """Return the labels of the databases that a test asks for."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec is not None else {}
    labels = {
        servers.LABELS[parameters[name]]
        for name in ("alias", "mysql_alias", "place")
        if parameters.get(name) in servers.LABELS
    }
    fixtures = getattr(item, "fixturenames", ())
    return labels | {
        label for label in servers.LABELS.values() if f"{label}_alias" in fixtures
    } - ({"mysql"} if "mysql_alias" in parameters else set())


def pytest_collection_finish() -> None:
    """Keep the collected tests out of what the garbage collector looks through."""
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return one line about each database."""
    return [
        f"{server.label}: {'NOT TESTED, ' if server.settings is None else ''}"
        f"{server.note}"
        for server in servers.find_servers().values()
    ]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the passed tests of each database."""
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name == "database":
                passed_by_label[str(value)] += 1


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that passes without having exercised a required database."""
    required = servers.get_required_labels()
    if exitstatus == pytest.ExitCode.OK and required - set(passed_by_label):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was exercised, and in red what was not."""
    terminalreporter.section("databases")
    for server in servers.find_servers().values():
        count = passed_by_label[server.label]
        is_required = server.label in servers.get_required_labels()
        is_bad = server.settings is None or (is_required and not count)
        line = f"{server.label}: {count} passed ({server.note})"
        if server.settings is None:
            line = f"{server.label}: NOT TESTED ({server.note})"
        elif is_bad:
            line = f"{server.label}: required, but no test ran on it ({server.note})"
        terminalreporter.write_line(line, red=is_bad, bold=is_bad)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any
) -> Iterator[None]:
    """
    Create the test databases and leave them empty, without even Django's tables.

    A test that runs `migrate` must not collide with tables that no migration made.
    """
    with django_db_blocker.unblock():
        created = setup_databases(verbosity=0, interactive=False)
        for connection in connections.all():
            if connection.vendor == "postgresql":
                servers.let_commits_not_wait(connection)
            cleanup.empty_database(connection)
    yield
    with django_db_blocker.unblock():
        for connection in connections.all():
            cleanup.reset_connection(connection)
            cleanup.empty_database(connection)
        teardown_databases(created, verbosity=0)


@pytest.fixture
def clean_databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give access to every database, in autocommit, and empty those that were used."""
    with django_db_blocker.unblock():
        yield
        for connection in connections.all():
            if connection.connection is not None:
                cleanup.reset_connection(connection, may_stay_open=True)
                cleanup.empty_database(connection)


@pytest.fixture(params=ALIASES)
def alias(
    request: pytest.FixtureRequest,
    record_property: Any,
    clean_databases: None,
) -> Iterator[str]:
    """Return the alias of an empty database: the test runs on each of the four."""
    yield from use_alias(request.param, record_property)


@pytest.fixture
def sqlite_alias(record_property: Any, clean_databases: None) -> Iterator[str]:
    """Return the alias of an empty SQLite database."""
    yield from use_alias("default", record_property)


@pytest.fixture
def postgresql_alias(record_property: Any, clean_databases: None) -> Iterator[str]:
    """Return the alias of an empty PostgreSQL database."""
    yield from use_alias("postgresql", record_property)


@pytest.fixture
def mariadb_alias(record_property: Any, clean_databases: None) -> Iterator[str]:
    """Return the alias of an empty MariaDB database."""
    yield from use_alias("mariadb", record_property)


@pytest.fixture(params=["mariadb", "mysql"])
def mysql_alias(
    request: pytest.FixtureRequest, record_property: Any, clean_databases: None
) -> Iterator[str]:
    """Return the alias of an empty database: the test runs on MariaDB and on MySQL."""
    yield from use_alias(request.param, record_property)


def use_alias(alias: str, record_property: Any) -> Iterator[str]:
    """Yield the alias, or skip the test when its database was not found."""
    server = servers.find_servers()[alias]
    if server.settings is None:
        pytest.skip(f"{server.label} is NOT TESTED, the header says why")
    record_property("database", server.label)
    yield alias
    # Opened now, so that it is emptied also after a test that let another
    # process write to it, or closed the connection itself.
    if not connections[alias].in_atomic_block:
        connections[alias].ensure_connection()
