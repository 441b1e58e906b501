"""The settings of safefield: one optional dict, SAFEFIELD."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class Configuration:
    """The settings, checked, each with its default."""

    #: Seconds of pause per second of work: after each committed batch, sleep for this
    #: many times as long as the batch took. For those who must spare replicas or a
    #: loaded server; 0 is fastest.
    PAUSE_RATIO: float = 0.0
    #: Whether messages show values, shortened, and the SQL of blocking sessions. False
    #: where logs must not hold data.
    SHOW_VALUES: bool = True
    #: Whether makemigrations writes two migrations for a new required field, as with
    #: --two-phase. For sites where old code goes on inserting while the new one is
    #: deployed.
    TWO_PHASE: bool = False

    def __post_init__(self) -> None:
        ratio: Any = self.PAUSE_RATIO
        is_number = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
        # Of nan, each comparison is false.
        if not (is_number and 0 <= ratio < math.inf):
            raise ImproperlyConfigured(
                f"SAFEFIELD['PAUSE_RATIO'] must be a number of at least 0, not "
                f"{ratio!r}."
            )
        for key in ("SHOW_VALUES", "TWO_PHASE"):
            if not isinstance(value := getattr(self, key), bool):
                raise ImproperlyConfigured(
                    f"SAFEFIELD[{key!r}] must be True or False, not {value!r}."
                )


def get_configuration() -> Configuration:
    """
    Return the settings as they are now.

    Raises:
        ImproperlyConfigured: A key is unknown, or a value is not what it takes.
    """
    given: Any = getattr(settings, "SAFEFIELD", {})
    known = [field.name for field in fields(Configuration)]
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"SAFEFIELD must be a dict, not {given!r}.")
    unknown = sorted(set(given) - set(known), key=repr)
    if unknown:
        raise ImproperlyConfigured(
            f"SAFEFIELD has unknown keys {unknown!r}; the known ones are {known!r}."
        )
    return Configuration(**given)
