"""Texts of the values of settings: one value in a label, or the entries in which nested values differ.

This module needs the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Said = Callable[[Any], str]
"""Makes the text of a value; "" for none."""

_MOST_DECIMALS = 17

LONGEST_VALUE = 40
"""Characters of one value in a text."""


def said(text: str = "{}", unsaid: object = None) -> Said:
    """Make a function that puts a value into ``text``; it gives "" for None and for ``unsaid``."""
    return lambda value: "" if value is None or value == unsaid else text.format(value)


def if_so(text: str) -> Said:
    """Make a function that gives ``text`` for a value that is true, else ""."""
    return lambda value: text if value else ""


def figure_text(value: float, decimals: int, holds: Callable[[float], bool]) -> str:
    """Print a figure with ``decimals``, or with as many more as it takes until the same holds of the text.

    79.6, of which it holds that it is below 80, is not printed as ``80``.

    holds: tells it of a figure
    """
    wanted = holds(value)
    texts = (f"{value:.{places}f}" for places in range(decimals, _MOST_DECIMALS))
    return next((text for text in texts if holds(float(text)) == wanted), repr(value))


def differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Give for each mapping ``roi_pooling=pool, ...``: its entries in which the mappings differ, without unset ones."""
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    varying = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    return [", ".join(f"{name}={setting[name]}" for name in varying if name in setting) for setting in settings]


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Give nested settings as texts under dotted names; null counts as unset and is left out."""
    if isinstance(value, dict):
        texts: dict[str, str] = {}
        for name, inner in value.items():
            texts |= flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return texts
    return {} if value is None else {prefix: short_text(value)}


def short_text(value: Any) -> str:
    """Give a path by its file's name and other values as JSON, in at most :data:`LONGEST_VALUE` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and "/" in value:
        text = Path(value).name or value
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def short_target(target: Any) -> str:
    """Give a class as ``package.module.Class``, or ``folder/file.py:Class`` without the folders before it."""
    return "/".join(str(target or "").split("/")[-2:])
