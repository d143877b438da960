"""Names of the files that lie beside pages whose pictures are not inside them."""

from __future__ import annotations

import itertools
from pathlib import Path

CHARTS = "charts.js"
"""The library of the charts, in the folder of the plots."""


def photograph_of(page: Path, number: int) -> Path:
    """Give where a photograph of the page of a model lies."""
    return page.with_name(f"{page.stem}.{number}.webp")


def photographs_of(page: Path) -> list[Path]:
    """Give the photographs that lie beside the page of a model; a page's stem holds no point, so they are its own."""
    return list(itertools.takewhile(Path.exists, (photograph_of(page, number) for number in itertools.count(1))))
