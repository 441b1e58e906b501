"""Make each change in a copy of the tree, and see whether the tests notice it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.mutants import FOLDER, ROOT, Mutant, read_mutants

#: Percent of the mutants that the tests have to notice.
BAR = 95

#: The groups whose changes lose data or lock a site. They have to reach the bar
#: alone, too.
CORE = {
    *("answers", "attempts", "bad-rows", "collisions", "computed", "fill"),
    *("expression-sql", "expression-values", "free-answers", "function-values"),
    *("key-pages", "preparation", "problems", "pursuit", "reversal", "reverse-answers"),
    *("row-reader", "rows", "table-walk", "unfilled", "verify"),
    *("mysql-sizes", "mysql-writer"),
    *("postgresql-writer", "writer"),
    *("catalogue", "guard", "keys", "preflight", "schema", "wanted"),
    *("mysql-catalogue", "mysql-definition", "mysql-guard", "mysql-online"),
    "mysql-schema",
    *("postgresql-online", "postgresql-preflight", "postgresql-schema"),
    *("sqlite-catalogue", "sqlite-preflight", "sqlite-remake", "sqlite-schema"),
    "sqlite-surroundings",
    *("locks", "retries", "session", "sql", "mysql-locks", "mysql-session"),
    *("postgresql-claims", "postgresql-locks"),
}

#: A run may take so many times as long as the same tests without a change, and so many
#: seconds more. Then it hangs, which somebody would notice.
PATIENCE = 4
PATIENCE_SECONDS = 30

#: Seconds in which a run that is stopped may drop its databases.
TEARDOWN_SECONDS = 10

#: What pytest says of the first test that failed.
FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

#: What pytest exits with. Source: pytest.ExitCode.
PASSED, FAILED = 0, 1


class Outcome(NamedTuple):
    """How a run of pytest ended; its exit code is None if it was stopped."""

    code: int | None
    text: str
    seconds: float


class Copy:
    """
    A copy of the tree, with one change at a time.

    Args:
        folder: Where to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes = 0
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)

    def try_mutant(self, mutant: Mutant, seconds: float) -> Outcome:
        """Run the tests of a mutant, with it."""
        path = self.folder / mutant.module
        text = path.read_text()
        times = path.stat()
        path.write_text(mutant.change(text))
        # Python compiles again what has another second in it.
        self.changes += 1
        os.utime(path, (times.st_atime, times.st_mtime + self.changes))
        try:
            return self.run_tests(mutant.tests, mutant.databases, seconds)
        finally:
            path.write_text(text)
            os.utime(path, (times.st_atime, times.st_mtime))

    def run_tests(
        self, tests: Iterable[str], databases: str, seconds: float | None = None
    ) -> Outcome:
        """Run tests until the first that fails."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        if "sqlite" not in databases:
            command += ["-k", "not sqlite"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "SAFEFIELD_DATABASES": databases,
            # Tests of plain Python need no database, and SQLite is always there.
            "SAFEFIELD_REQUIRE_DATABASES": databases.replace("sqlite", ""),
        }
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, *tests],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        code: int | None = None
        try:
            text, _ = process.communicate(timeout=seconds)
            code = process.returncode
        except subprocess.TimeoutExpired:
            text = stop(process)
        except BaseException:
            stop(process)
            raise
        return Outcome(code, text, time.monotonic() - started)


def stop(process: subprocess.Popen[str]) -> str:
    """Stop a run and all that it started; return what it wrote."""
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(TEARDOWN_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


class Score(NamedTuple):
    """What became of some mutants."""

    tried: int
    caught: int
    equivalent: int

    def __str__(self) -> str:
        percent = 100 * self.caught / max(self.tried, 1)
        text = f"{self.caught} of {self.tried} noticed ({percent:.1f}%)"
        return f"{text}, {self.equivalent} equivalent" if self.equivalent else text

    @property
    def is_enough(self) -> bool:
        """Whether the tests notice as many as they have to."""
        return self.caught * 100 >= BAR * self.tried


def add_up(scores: Iterable[Score]) -> Score:
    """Return the score of several groups."""
    tried, caught, equivalent = map(sum, zip(*scores, strict=True))
    return Score(tried, caught, equivalent)


def run_group(copy: Copy, chosen: Sequence[Mutant]) -> Score:
    """Try the mutants of one group; print a line for each."""
    mutants = [mutant for mutant in chosen if not mutant.equivalent]
    caught = 0
    for databases in sorted({mutant.databases for mutant in mutants}):
        mine = [mutant for mutant in mutants if mutant.databases == databases]
        tests = sorted({test for mutant in mine for test in mutant.tests})
        quiet = copy.run_tests(tests, databases)
        if quiet.code != PASSED:
            sys.exit(f"{quiet.text}\nThese tests do not pass without a change.")
        limit = PATIENCE * quiet.seconds + PATIENCE_SECONDS
        for mutant in mine:
            outcome = copy.try_mutant(mutant, limit)
            if outcome.code not in (None, PASSED, FAILED):
                sys.exit(
                    f"{outcome.text}\n{mutant.group} {mutant.name} breaks the run."
                )
            is_caught = outcome.code != PASSED
            caught += is_caught
            word = "noticed " if is_caught else "SURVIVED"
            how = "hangs" if outcome.code is None else f"{outcome.seconds:.1f} s"
            if found := FAILED_TEST.search(outcome.text):
                how += f", {found[1]}"
            print(
                f"{word}  {mutant.label} ({databases}, {how}): {mutant.harm}",
                flush=True,
            )
    return Score(len(mutants), caught, len(chosen) - len(mutants))


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    groups = sorted(path.stem for path in FOLDER.glob("*.toml"))
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__
    )
    parser.add_argument(
        "groups",
        nargs="*",
        default=groups,
        metavar="MODULE",
        help=f"One or more of: {', '.join(groups)}. All of them by default.",
    )
    parser.add_argument("--list", action="store_true", help="Only list the changes.")
    parser.add_argument(
        "--database",
        choices=["sqlite", "postgresql", "mariadb", "mysql"],
        help="Only the changes that are tried on this one.",
    )
    parser.add_argument(
        "--only", default="", metavar="NAME", help="Only the change of this name."
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.groups) - set(groups)):
        parser.error(f"no such module: {', '.join(unknown)}")
    return options


def main() -> int:
    """Run what the command line says; return the exit code."""
    # So that the tests under way are stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    options = parse()
    chosen = {
        group: [
            mutant
            for mutant in read_mutants(group)
            if options.database in (None, *mutant.databases.split(","))
            and options.only in ("", mutant.name)
        ]
        for group in options.groups
    }
    if not any(chosen.values()):
        sys.exit("There is no such change.")
    for mutants in chosen.values():
        for mutant in mutants:
            # None may be for code that is there no more.
            mutant.change((ROOT / mutant.module).read_text())
    if options.list:
        for mutants in chosen.values():
            for mutant in mutants:
                why = f" Equivalent: {mutant.equivalent}" if mutant.equivalent else ""
                print(f"{mutant.label} ({mutant.databases}): {mutant.harm}{why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="safefield-mutants-") as folder:
        copy = Copy(Path(folder))
        scores = {
            group: run_group(copy, mutants)
            for group, mutants in chosen.items()
            if mutants
        }
    for group, score in scores.items():
        print(f"{group}: {score}")
    sums = [add_up(scores.values())]
    if core := [score for group, score in scores.items() if group in CORE]:
        sums.append(add_up(core))
        print(f"what loses data or locks a site: {sums[1]}")
    print(f"in all: {sums[0]}; the bar is {BAR} %")
    return 0 if all(score.is_enough for score in sums) else 1


if __name__ == "__main__":
    sys.exit(main())
