"""The one settings dict."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from safefield.conf import Configuration, get_configuration


def test_defaults() -> None:
    assert get_configuration() == Configuration(
        PAUSE_RATIO=0.0, SHOW_VALUES=True, TWO_PHASE=False
    )


@override_settings(SAFEFIELD={"PAUSE_RATIO": 2})
def test_given() -> None:
    assert get_configuration() == Configuration(PAUSE_RATIO=2, SHOW_VALUES=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "SAFEFIELD must be a dict, not []."),
        (
            {"PAUSE": 1},
            "SAFEFIELD has unknown keys ['PAUSE']; the known ones are "
            "['PAUSE_RATIO', 'SHOW_VALUES', 'TWO_PHASE'].",
        ),
        (
            {"PAUSE_RATIO": -1},
            "SAFEFIELD['PAUSE_RATIO'] must be a number of at least 0, not -1.",
        ),
        # Which time.sleep() refuses, after the first batch.
        (
            {"PAUSE_RATIO": float("nan")},
            "SAFEFIELD['PAUSE_RATIO'] must be a number of at least 0, not nan.",
        ),
        (
            {"PAUSE_RATIO": float("inf")},
            "SAFEFIELD['PAUSE_RATIO'] must be a number of at least 0, not inf.",
        ),
        # Which cannot be compared.
        (
            {"PAUSE": 1, 2: 3},
            "SAFEFIELD has unknown keys ['PAUSE', 2]; the known ones are "
            "['PAUSE_RATIO', 'SHOW_VALUES', 'TWO_PHASE'].",
        ),
        (
            {"SHOW_VALUES": "no"},
            "SAFEFIELD['SHOW_VALUES'] must be True or False, not 'no'.",
        ),
        (
            {"TWO_PHASE": 2},
            "SAFEFIELD['TWO_PHASE'] must be True or False, not 2.",
        ),
    ],
)
def test_mistakes(given: Any, message: str) -> None:
    with (
        override_settings(SAFEFIELD=given),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        get_configuration()

    assert str(caught.value) == message
