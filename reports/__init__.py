"""Reports make of result files what a person reads: tables, plots, panels of masks, HTML pages.

Importing this package is cheap; pandas, matplotlib and jinja2 are imported when a report is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def build(sources: Sequence[Path], out: Path, gate: Path | None = None) -> Path:
    """Write ``comparison.{md,csv,tex,html,json}``, ``differences.{csv,json}``, ``models/*.html`` and ``plots/*.png``.

    sources: run folders, folders of several runs, or ``result.json`` files. A result that cannot be read is a
        warning on stderr and is left out.
    out: the folder that the files are written into.
    gate: a ``gate.json``, whose verdicts then stand first on the page.
    Returns the path of ``comparison.html``.

    Raises:
        UserError: a source does not exist, there is no readable result in any, ``out`` cannot be written, or ``gate``
            cannot be read.
    """
    from reports.writing import build as write

    return write(sources, out, gate)


def terminal_table(sources: Path | Sequence[Path]) -> RenderableType:
    """The comparison for a terminal of 120 columns, which ``rich`` prints; ``sources`` are those of :func:`build`."""
    from reports.text.terminal import terminal_table as render

    return render([sources] if isinstance(sources, Path) else sources)
