"""
Run the `migrations` tests of Django's own test suite against safefield.

    python -m tests.django_suite.run              the Django that is installed
    python -m tests.django_suite.run 5.2 6.0 6.1  the newest of each, not installed

Django's source distribution is fetched with pip. Each version runs three times, on
SQLite: with safefield's makemigrations, with its autodetector and writer in the
tests of Django's own, and with --one-off-default. A failure has to be one of
expected.py, and each of those has to fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import django

from tests.django_suite.expected import EXPECTED, LABELS
from tests.django_suite.runner import REPORT, WITNESS

ROOT = Path(__file__).resolve().parent.parent.parent


def main(versions: list[str]) -> None:
    requirements = [f"django=={version}.*" for version in versions]
    is_content = True
    with tempfile.TemporaryDirectory() as directory:
        for requirement in requirements or [f"django=={django.get_version()}"]:
            source = fetch_source(requirement, Path(directory))
            for witness in LABELS:
                report = run_witness(witness, source)
                is_content &= judge(source.name, witness, report)
    if not is_content:
        sys.exit(1)


def fetch_source(requirement: str, directory: Path) -> Path:
    """Return the unpacked source distribution of Django."""
    target = Path(tempfile.mkdtemp(dir=directory))
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        + ["--disable-pip-version-check", "--no-binary", "django"]
        + ["--dest", str(target), requirement],
        check=True,
    )
    (archive,) = target.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(target, filter="data")
    return target / archive.name.removesuffix(".tar.gz")


def run_witness(witness: str, source: Path) -> dict[str, Any]:
    """Return the report of one run of Django's runtests.py."""
    report = source / f"{witness}.json"
    command = [sys.executable, "runtests.py", *LABELS[witness], "--parallel=1"]
    command += ["--settings=tests.django_suite.settings"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        WITNESS: witness,
        REPORT: str(report),
    }
    # Django's suite has warnings of its own under the development mode of tox.
    environment.pop("PYTHONDEVMODE", None)
    process = subprocess.run(
        command,
        cwd=source / "tests",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        sys.exit(f"{' '.join(command)} ended early:\n{process.stdout}{process.stderr}")
    result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return result


def judge(name: str, witness: str, report: dict[str, Any]) -> bool:
    """Print what a run came to, return whether it is what was expected."""
    expected, failed = EXPECTED[witness], report["failed"]
    # A subtest's id has its parameters behind that of the test.
    failed_ids = {test_id.partition(" ")[0] for test_id in failed}
    passed = report["run"] - report["skipped"] - len(failed_ids)
    print(
        f"{name}, {witness}: {report['run']} tests, {passed} passed, "
        f"{report['skipped']} skipped, {len(failed_ids)} failed, "
        f"{len(failed_ids & expected.keys())} of them as explained:"
    )
    for test_id in sorted(failed_ids & expected.keys()):
        print(f"  {test_id.rpartition('.')[2]}: {expected[test_id]}")
    for test_id, traceback in failed.items():
        if test_id.partition(" ")[0] not in expected:
            print(f"UNEXPECTED FAILURE of {test_id}:\n{traceback}")
    gone = sorted(expected.keys() - failed_ids) + report["unexpectedly_passed"]
    for test_id in gone:
        print(f"UNEXPECTED: {test_id} passes, or is not there any more.")
    return failed_ids == expected.keys() and not gone


if __name__ == "__main__":
    main(sys.argv[1:])
