"""The comparison for a terminal: the few columns that fit, and below them why a row is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports.columns import COLUMNS
from reports.comparison import Comparison, load, model_name

_COLUMNS = {
    **{"model": "Model", "library": "Library", "status": "Status", "mask_ap": "Mask\nAP"},
    **{"fps_model": "FPS\nmodel", "fps_end_to_end": "FPS\nend-to-end", "latency_ms_p50": "p50\nms"},
    **{"latency_ms_p95": "p95\nms", "peak_allocated_mb": "Peak\nalloc. MB", "host_rss_mb": "Host\nRSS MB"},
}
_TELLING = {"precision": "Prec.", "batch_size": "Batch", "device": "Device", "dataset": "Dataset"}
"""Shown only where rows differ in them."""

WIDTH = 120


def terminal_table(sources: Sequence[Path]) -> RenderableType:
    """A table of at most 120 columns, best values green and starred, then failed and skipped rows with their reason."""
    # The report that was just built has warned of every file that cannot be read.
    comparison = load(sources, Path(os.curdir), warn=False)
    parts: list[RenderableType] = [_table(comparison)]
    if comparison.best:
        parts.append(Text("* best among comparable rows", style="dim"))
    for title, rows, style in (
        ("Not finished", comparison.broken(), "bold red"),
        ("Skipped", comparison.rows("skipped"), "bold yellow"),
    ):
        if rows:
            parts.append(Text(f"\n{title}", style=style))
        for row in rows:
            status = comparison.text(row, "status")
            line = Text(f"  {comparison.labels[row]}: ")
            parts.append(line.append(status, style=style).append(f": {comparison.text(row, 'reason') or 'no reason'}"))
    return Group(*parts)


def _table(comparison: Comparison) -> Table:
    differing = {name: title for name, title in _TELLING.items() if comparison.frame[name].nunique() > 1}
    empty = {name for name in _COLUMNS if COLUMNS[name].decimals is not None} - set(comparison.measured(_COLUMNS))
    titles = {name: title for name, title in (_COLUMNS | differing).items() if name not in empty}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), width=None)
    for name, title in titles.items():
        text = COLUMNS[name].decimals is None
        # Only the model's name may wrap when the terminal is narrow: it has spaces to wrap at.
        table.add_column(Text(title), justify="left" if text else "right", no_wrap=name != "model", overflow="fold")
    for row in range(len(comparison.jobs)):
        table.add_row(*(_cell(comparison, row, name) for name in titles))
    return table


def _cell(comparison: Comparison, row: int, name: str) -> Text:
    text = comparison.text(row, name)
    if name == "model":
        return Text(model_name(comparison.jobs[row]))
    if name == "status":
        return Text(text, style={"ok": "green", "skipped": "yellow"}.get(text, "red"))
    if COLUMNS[name].better is None or not text:
        return Text(text)
    # A space where the star would be keeps the decimal points in one line.
    return Text(f"{text}*", style="bold green") if (row, name) in comparison.best else Text(f"{text} ")
