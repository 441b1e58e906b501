from __future__ import annotations

import uuid

import pytest

from safefield.filling import filled
from safefield.filling.filled import FilledKeys


# Fails if an integer that comes out of order, as a sweep finds it, is left out.
def test_integers_in_any_order() -> None:
    keys = FilledKeys()

    keys.update([-(2**63), 3, 7])
    keys.update([5, 2**63 - 1, 2**64 - 1])

    assert [key for key in range(9) if key in keys] == [3, 5, 7]
    assert -(2**63) in keys
    assert 2**63 - 1 in keys
    assert 2**64 - 1 in keys
    assert "3" not in keys
    assert keys.is_whole


# Fails if keys of other kinds are taken for integers, or equal ones for the same.
def test_other_keys() -> None:
    keys = FilledKeys()
    one = uuid.UUID(int=1)

    assert not keys
    keys.update([one, "a", (1, "b")])

    assert keys
    assert all(key in keys for key in (one, "a", (1, "b")))
    assert (1, "a") not in keys
    assert uuid.UUID(int=2) not in keys


# Fails if more keys are kept than there is memory for, or if that is not noticed.
def test_more_other_keys_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled, "MAX_OTHER_KEYS", 2)
    keys = FilledKeys()

    keys.update(["a", "b", "a"])
    assert keys.is_whole
    keys.update(["c", *range(1_000)])

    assert not keys.is_whole
    assert "c" not in keys
    assert 999 in keys
