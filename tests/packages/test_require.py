"""What is missing is skipped on a stranger's machine, and fails in CI."""

from __future__ import annotations

import pytest

from tests.packages.films import require


def test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAFEFIELD_REQUIRE_PACKAGES", raising=False)

    with pytest.raises(pytest.skip.Exception) as caught:
        require("no_such_package")

    assert str(caught.value) == (
        "no_such_package is not installed: see tox -e packages"
    )


def test_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFEFIELD_REQUIRE_PACKAGES", "1")

    with pytest.raises(pytest.fail.Exception) as caught:
        require("no_such_package")

    assert str(caught.value) == "no_such_package is not installed, and is required."
