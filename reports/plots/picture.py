"""A plot on disk, and the words that stand beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WIDTH = 9.6
"""The width of a plot that fills the page, in inches."""

OTHER_FORMS = (".pdf", ".svg")
"""What a chart is written as beside its PNG."""


@dataclass(frozen=True)
class Picture:
    """A PNG file, and the title and the caption that a page shows with it.

    chart: the name of the chart in :mod:`reports.charts` of which it is a picture, and which the page draws itself; ""
        for a picture alone
    """

    path: Path
    title: str
    caption: str
    chart: str = ""

    @property
    def for_papers(self) -> list[str]:
        """The names of the files that a paper takes, where the same picture lies beside itself as PDF and SVG."""
        others = [path for end in OTHER_FORMS if (path := self.path.with_suffix(end)).exists()]
        return [path.name for path in (*others, self.path)] if others else []
