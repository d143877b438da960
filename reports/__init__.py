"""This package turns result files into what a person reads: tables, plots, panels of masks, HTML pages.

Importing this package is cheap; pandas, matplotlib and jinja2 are imported when a report is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def build(sources: Sequence[Path], out: Path, gate: Path | None = None, split: bool = False) -> Path:
    """Write ``comparison.{md,csv,tex,html,json}``, ``differences.{csv,json}``, ``models/*.html`` and ``plots/*.png``.

    sources: run folders, folders of several runs, or ``result.json`` files. A result that cannot be read is a
        warning on stderr and is left out.
    out: the folder that the files are written into
    gate: a ``gate.json``; the page begins with its verdicts
    split: pictures and the library of the charts lie beside the pages, not inside them, so that the pages are small
    Returns the path of ``comparison.html``. A part that fails is left out, and a line on stderr names it and says why.

    Raises:
        UserError: a source does not exist, there is no readable result in any, or ``out`` cannot be written.
    """
    from reports.writing import write_report

    return write_report(sources, out, gate, split)


def terminal_table(sources: Path | Sequence[Path]) -> RenderableType:
    """Give the comparison for a terminal, which ``rich`` prints: ``console.print(terminal_table(out), crop=False)``.

    On a terminal too narrow for even a few columns the table is wider than it, and ``rich`` would cut figures off.

    sources: as in :func:`build`

    Raises:
        UserError: a source does not exist, or there is no readable result in any.
    """
    from reports.text.terminal import terminal_table as render

    return render([sources] if isinstance(sources, Path) else sources)
