"""Give the comparison for a terminal: the columns that fit, and below them why a row has no result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.errors import visible
from bench.schema.metrics import FIGURES, shown_in
from bench.schema.settings import tabled, telling
from reports.table.checks import warnings
from reports.table.claims import claims
from reports.table.columns import COLUMNS
from reports.table.comparison import INDISTINGUISHABLE, Comparison, load
from reports.table.naming import model_name, row_details
from reports.text.styled import shown

WIDTH = 120


def terminal_table(sources: Sequence[Path]) -> RenderableType:
    """Give a table of at most 120 columns, best values green and starred, then failed and skipped rows with reasons."""
    # The report that was just built has warned of every file that cannot be read.
    comparison = load(sources, Path(os.curdir), warn=False)
    parts: list[RenderableType] = [_table(comparison)]
    if comparison.best:
        tied = f"; of mask AP also those {INDISTINGUISHABLE}" if comparison.groups else ""
        parts.append(shown(f"* best among comparable rows{tied}", style="dim"))
    if any(comparison.interval(number) for number in range(len(comparison.rows))):
        parts.append(shown("± half the width of the 95 % interval of mask AP (bootstrap over images)", style="dim"))
    for number, row in enumerate(comparison.rows):
        parts += [shown(f"! {comparison.labels[number]}: {text}", style="yellow") for text in warnings(row)]
    for claim in claims(comparison):
        style = {"more": "green", "not": "red"}.get(claim.verdict, "yellow")
        parts.append(shown(f"\nClaim: {claim.text} ({claim.source})"))
        parts.append(shown(f"  {claim.outcome}", style=style))
    for title, numbers, style in (
        ("Not finished", comparison.failed(), "bold red"),
        ("Skipped", comparison.with_status("skipped"), "bold yellow"),
    ):
        if numbers:
            parts.append(shown(f"\n{title}", style=style))
        for number in numbers:
            status, reason = comparison.text(number, "status"), comparison.text(number, "reason") or "no reason"
            line = shown(f"  {comparison.labels[number]}: ")
            parts.append(line.append(status, style=style).append(visible(f": {reason}")))
    return Group(*parts)


def _table(comparison: Comparison) -> Table:
    named = {setting.key: setting.short for setting in tabled() if setting.names and setting.short}
    figures = {name: FIGURES[name].short for name in shown_in("terminal")}
    empty = {name for name in figures if COLUMNS[name].decimals is not None} - set(comparison.measured(figures))
    # Settings are shown only where rows differ in them.
    heads = {setting.key: setting.short or setting.title for setting in telling()}
    differing = {name: heads[name] for name in comparison.differing(heads)}
    titles = {name: title for name, title in (named | figures | differing).items() if name not in empty}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), width=None)
    for name, title in titles.items():
        text = COLUMNS[name].decimals is None
        # Only the model's name may wrap when the terminal is narrow: it has spaces to wrap at.
        table.add_column(shown(title), justify="left" if text else "right", no_wrap=name != "model", overflow="fold")
    details = row_details(comparison.rows, ("model", "backbone", "library", *differing))
    for number, row in enumerate(comparison.rows):
        model = shown(" · ".join((model_name(row), *details[number])))
        table.add_row(*(model if column == "model" else _cell(comparison, number, column) for column in titles))
    return table


def _cell(comparison: Comparison, row: int, name: str) -> Text:
    text = comparison.text(row, name)
    if name == "status":
        return shown(text, style={"ok": "green", "skipped": "yellow"}.get(text, "red"))
    if COLUMNS[name].better is None or not text:
        return shown(text)
    if name == "mask_ap":
        text += _half_width(comparison, row)
    # A space where the star would be keeps the decimal points in one line.
    return shown(f"{text}*", style="bold green") if (row, name) in comparison.best else shown(f"{text} ")


def _half_width(comparison: Comparison, row: int) -> str:
    low, high = comparison.cell(row, "mask_ap_low"), comparison.cell(row, "mask_ap_high")
    return "" if low is None or high is None else f" ± {(high - low) / 2:.1f}"
