"""Whether the rooms of the package are as CONTRIBUTING.md draws them."""

from __future__ import annotations

from tests.support import rooms


def test_nothing_is_imported_from_above_or_beside() -> None:
    """Fails if a room imports from a higher one, or from one on the same floor."""
    wrong = [
        f"{found.importer} imports {found.imported}"
        for found in rooms.find_imports()
        if (room := rooms.get_room(found.importer))
        != (other := rooms.get_room(found.imported))
        and rooms.get_floor(room) <= rooms.get_floor(other)
    ]

    assert wrong == []


def test_no_two_files_import_each_other() -> None:
    """Fails if imports go in a circle, however long, or put off by a function."""
    assert rooms.measure_chain() is not None


def test_contributing_has_the_picture() -> None:
    """Fails if an arrow came or went and CONTRIBUTING.md does not say so."""
    text = (rooms.ROOT / "CONTRIBUTING.md").read_text()

    assert f"```text\n{rooms.draw()}\n```" in text
