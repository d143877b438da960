"""A plot on disk with the words beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WIDTH = 9.6
"""Of every plot that fills the page, inches."""


@dataclass(frozen=True)
class Picture:
    """A PNG file with the words that go beside it."""

    path: Path
    title: str
    caption: str
