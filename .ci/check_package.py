"""
Build the wheel and the sdist, and check that they hold what they should and that the
same tree always gives the same files.

The wheel is also used as the README and the tutorial say, each in an environment and a
project of its own.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hatch_build import make_readme
from tests.support.site import REPOSITORY
from tests.support.walk import make_walk

#: The tests that are run from the sdist: the operation, the hook and its files, and the
#: main example of the README.
WHEEL_TESTS = (
    "tests/test_contract.py",
    "tests/authoring/test_autodetector.py",
    "tests/authoring/test_makemigrations.py",
    "tests/project/test_readme.py::test_walk",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        wheel, sdist = build(Path(directory))
        check_reproducible(wheel, sdist, Path(directory) / "again")
        check_metadata(wheel, sdist)
        check_wheel(wheel)
        check_sdist(sdist)
        python = check_installed(wheel, Path(directory))
        check_pages(wheel, Path(directory))
        check_tests(python, wheel, sdist, Path(directory))


def build(directory: Path) -> tuple[Path, Path]:
    """Return a wheel and the sdist that it was built from."""
    command = [sys.executable, "-m", "build", "--outdir", directory, REPOSITORY]
    subprocess.run(list(map(str, command)), check=True)
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    return wheel, sdist


def check_reproducible(wheel: Path, sdist: Path, directory: Path) -> None:
    """A second build gives the same files, to the byte."""
    for first, second in zip((wheel, sdist), build(directory), strict=True):
        if first.read_bytes() != second.read_bytes():
            sys.exit(f"{first.name} is another one when it is built again.")
    print("Built twice, to the same bytes.")


def check_metadata(wheel: Path, sdist: Path) -> None:
    """A package index takes them, and the page has no link into the repository."""
    check = [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist]
    subprocess.run(list(map(str, check)), check=True)
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    page = metadata.get_payload()
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    addressed = make_readme(readme, "https://example.org/safefield")
    if broken := re.findall(r"\]\((?!https?:)[^)]*\)", page + addressed):
        sys.exit(f"The package's page has links that lead nowhere: {broken}")
    print(f"The package's page has {len(page.splitlines())} lines.")


def check_wheel(wheel: Path) -> None:
    """The package as it is in the tree, its metadata, and nothing else."""
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "safefield").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    missing = sorted(package - names)
    foreign = sorted(name for name in names - package if not name.startswith(info))
    if missing or foreign:
        sys.exit(f"{wheel.name} lacks {missing!r} and holds {foreign!r} beside it.")
    print(f"{wheel.name}: {len(package)} files of the package and its metadata.")


def check_sdist(sdist: Path) -> None:
    """The tests and all that they need go with the source."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "pyproject.toml", "tests/conftest.py"}
    if missing := sorted(wanted - names):
        sys.exit(f"{sdist.name} lacks {missing!r}.")
    print(f"{sdist.name}: {len(names)} files.")


def check_installed(wheel: Path, directory: Path) -> Path:
    """The wheel installs by itself, and its public module imports."""
    python = make_environment(directory / "venv")
    install = [python, "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True)
    code = "import safefield.operations; print(safefield.__version__, 'imports.')"
    subprocess.run([python, "-c", code], check=True, cwd=directory)
    return python


def make_environment(path: Path) -> Path:
    """Return the Python of a new environment, which has pip and nothing else."""
    venv.create(path, with_pip=True)
    return path / "bin" / "python"


def check_pages(wheel: Path, directory: Path) -> None:
    """README and tutorial hold, word for word; /path/to/safefield is the wheel."""
    for page in ["README.md", "tutorial.md"]:
        python = make_environment(directory / f"{page}-venv")
        project = directory / page
        project.mkdir()
        # Without PYTHONPATH, that is, without the safefield of the tree.
        site = {"python": str(python), "environment": {"PYTHONPATH": ""}}
        walk = make_walk(page, project, wheel=wheel, **site)
        if page == "README.md":
            walk.walk_readme()
        else:
            walk.walk()
        print(f"{page} holds, word for word.")


def check_tests(python: Path, wheel: Path, sdist: Path, directory: Path) -> None:
    """The tests of the sdist pass on the installed wheel, without the tree."""
    install = [python, "-m", "pip", "install", "--quiet", f"{wheel}[test]"]
    subprocess.run(install, check=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    source = directory / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(source / "safefield")
    # What they are to show here does not depend on the database.
    environment = os.environ | {"SAFEFIELD_DATABASES": "sqlite"}
    environment["SAFEFIELD_REQUIRE_DATABASES"] = "sqlite"
    command = [python, "-m", "pytest", "-q", "-k", "not mariadb", *WHEEL_TESTS]
    subprocess.run(command, check=True, cwd=source, env=environment)


if __name__ == "__main__":
    main()
