"""Ids of images, categories and annotations, as other tools write them.

They are whole numbers of any size and sign, or texts. No evaluator gets them: it counts from 1
(:mod:`bench.evaluation.evaluators`).
"""

from __future__ import annotations

import re
from typing import Any

Id = int | str
"""The id of an image or a category, as :func:`as_id` gives it."""

MAX_DIGITS = 100
"""The most digits of an id that is a number; no tool writes more than 39, those of a UUID."""

_WHOLE_NUMBER = re.compile(rf"0|-?[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")
_TOO_LARGE = 10**MAX_DIGITS


def as_id(value: Any) -> Id | None:
    """Give an id in its one form; None for what can be no id.

    1.0 is 1, and so is "1", since tools write the same id in these ways. Any other text but an empty one is an id.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if isinstance(value, int):
        return value if abs(value) < _TOO_LARGE else None
    if isinstance(value, str) and value:
        return int(value) if _WHOLE_NUMBER.fullmatch(value) else value
    return None


def rising(identity: Id) -> tuple[bool, Id]:
    """Give the key by which ids are sorted: whole numbers by size, then texts."""
    return isinstance(identity, str), identity
