"""A plot on disk, and the words that stand beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WIDTH = 9.6
"""The width of a plot that fills the page, in inches."""


@dataclass(frozen=True)
class Picture:
    """A PNG file, and the title and the caption that a page shows with it.

    chart: the name of the chart in :mod:`reports.charts` of which it is a picture, and which the page draws itself; the
        same picture as PDF and SVG then lies beside it. "" for a picture alone
    """

    path: Path
    title: str
    caption: str
    chart: str = ""
