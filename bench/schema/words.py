"""How the value of a setting is said: in a label, or by what differs between nested values.

Needs the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Said = Callable[[Any], str]

LONGEST_VALUE = 40


def said(text: str = "{}", unsaid: object = None) -> Said:
    """The value in a text; nothing for None and for ``unsaid``."""
    return lambda value: "" if value is None or value == unsaid else text.format(value)


def if_so(text: str) -> Said:
    """The text where the value is true."""
    return lambda value: text if value else ""


def differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """``roi_pooling=pool`` for each entry in which the settings differ; unset ones are not named."""
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    varying = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    return [", ".join(f"{name}={setting[name]}" for name in varying if name in setting) for setting in settings]


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings with dotted names; null is as good as unset."""
    if isinstance(value, dict):
        texts: dict[str, str] = {}
        for name, inner in value.items():
            texts |= flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return texts
    return {} if value is None else {prefix: short_text(value)}


def short_text(value: Any) -> str:
    """A path by its file's name, other values as JSON, at most :data:`LONGEST_VALUE` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and "/" in value:
        text = Path(value).name or value
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
