"""Give the comparison for a terminal: the columns that fit, and below them why a row has no result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bench.errors import visible
from bench.schema.metrics import FIGURES, shown_in
from bench.schema.settings import tabled, telling
from reports.answers.lines import answer_lines
from reports.conversion.costs import TITLE, cost_lines
from reports.cut import cut, cut_words
from reports.table.checks import warnings
from reports.table.claims import claims
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.comparison import Comparison, load, loaded
from reports.table.naming import model_name, row_details
from reports.text.conditions import row_notes
from reports.text.contents import other_contents
from reports.text.styled import shown

WIDTH = 120

SPARED = ("host_rss_mb", "latency_ms_p95", "peak_allocated_mb", "boundary_ap", "library", "fps_end_to_end")
"""Columns that a narrow terminal leaves out, the first first, until the others fit; then the settings go, the last
first, then :data:`SPARED_LAST`."""

SPARED_LAST = ("gpu_busy_percent", "latency_ms_p50", "status")
"""What a narrower terminal leaves out; the names then hold every status but ok. All other columns stay, and are never
cut: then the table is wider than it."""

INTERVAL_OF_FPS = "fps_model_low"
"""Stands for the half widths behind FPS, which go before any column does."""

NAME_WIDTHS = 14, 20
"""The model's name has at least the first width, and the second where it holds so long a word, before a column goes."""

_IN_NAMES = ("library", "status")
"""Columns that go into the names where they are left out, so that nothing of them is lost."""

_GAP = 2
"""Spaces between two columns."""


def terminal_table(sources: Sequence[Path]) -> RenderableType:
    """Give a table that fits where it can, best values green and starred, then failed and skipped rows with reasons.

    Print it with ``crop=False``: on a very narrow terminal it is wider, and rich would cut figures off.
    """
    # The report that was just built has warned of every file that cannot be read.
    comparison = cut(loaded(sources) or load(sources, Path(os.curdir), warn=False))
    parts: list[RenderableType] = [_Fitting(comparison)]
    if words := cut_words(comparison):
        parts.append(shown(words, style="yellow"))
    if comparison.best:
        parts.append(shown(_best_words(comparison), style="dim"))
    parts += [shown(line, style="yellow") for line in _marks(comparison)]
    if names := [name for name in INTERVALS if comparison.has_intervals(name) and name in shown_in("terminal")]:
        figures = " and ".join(comparison.title(name) for name in names)
        parts.append(shown(f"± half the width of the 95 % interval of {figures}", style="dim"))
    if meaning := comparison.noise_meaning(shown_in("terminal")):
        parts.append(shown(f"in brackets: {meaning}", style="dim"))
    for number, row in enumerate(comparison.rows):
        parts += [shown(f"! {comparison.labels[number]}: {text}", style="yellow") for text in warnings(row)]
    parts += [shown(f"! {name}: {text}", style="yellow") for name, text in other_contents(comparison)]
    parts += [shown(f"note, {labels}: {note}") for note, labels in row_notes(comparison)]
    for claim in claims(comparison):
        style = {"more": "green", "not": "red"}.get(claim.verdict, "yellow")
        parts.append(shown(f"\nClaim: {claim.text} ({claim.source})"))
        parts.append(shown(f"  {claim.outcome}", style=style))
    parts += _conversions(comparison)
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
    return Group(*parts, *answer_lines(comparison))


def _best_words(comparison: Comparison) -> str:
    """Say what the star means."""
    tied = "".join(f"; {words}" for words in comparison.also_best_words())
    never = " or ".join(comparison.never_best_names())
    without = f" (of speed, busy and energy without rows that are marked {never})" if never else ""
    return f"* best among comparable rows{without}{tied}"


def _conversions(comparison: Comparison) -> list[Text]:
    """Give each base with its conversions below it: what they lose in AP and gain in FPS."""
    parts: list[Text] = []
    for line in cost_lines(comparison):
        label, _, lost, _, gained, unlike = line.cells
        if line.is_base:
            parts.append(shown(f"\n{TITLE}: against {label} ({unlike})"))
            continue
        figures = [f"AP lost {lost}" if lost else "", f"FPS gained {gained}" if gained else "", unlike]
        style = "red" if line.lost < 0 else ""
        parts.append(shown(f"  {label}: {'; '.join(text for text in figures if text)}", style=style))
    return parts


class _Fitting:
    """The table without as many of its columns as keep it from fitting into the terminal, and their names below it."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spared: list[str] = []
        table, least = _table(self._comparison, (), options.max_width)
        for name in self._spareable():
            if least <= options.max_width:
                break
            spared.append(name)
            table, least = _table(self._comparison, spared, options.max_width)
        yield table
        left_out = [name for name in spared if name not in (*_IN_NAMES, INTERVAL_OF_FPS)]
        if left_out:
            titles = ", ".join(self._comparison.title(name) for name in left_out)
            yield shown(f"left out, since the terminal is narrow: {titles}", style="dim")
        if "status" in spared:
            yield shown("a row is ok where its name says nothing else", style="dim")

    def _spareable(self) -> list[str]:
        """Give the columns that may go, the first first: at least one column of figures stays."""
        differing = _differing(self._comparison)
        titles = _titles(self._comparison, differing)
        order = [name for name in (*SPARED, *reversed(differing), *SPARED_LAST) if name in titles]
        figures = [name for name in titles if name in FIGURES and name != "status"]
        kept = order if set(figures) - set(order) else [name for name in order if name not in figures[:1]]
        return [INTERVAL_OF_FPS, *kept]


def _marks(comparison: Comparison) -> list[str]:
    """Say what each mark means; and of those whose figure is in no column, what was seen in which row."""
    lines: dict[str, list[str]] = {}
    for row in range(len(comparison.rows)):
        for mark in comparison.marks_of(row):
            seen = [f"{mark.sentence} [{comparison.labels[row]}]"] if mark.never_best else []
            lines.setdefault(f"{mark.name}: {mark.meaning}", []).extend(seen)
    return ["; ".join((meaning, *seen)) for meaning, seen in lines.items()]


def _table(comparison: Comparison, spared: Sequence[str], width: int) -> tuple[Table, int]:
    """Give the table without the columns ``spared``, in ``width`` if it can be, and the least width that it can have.

    Without the library's column, the models' names hold it, and without that of the status every status but ok; without
    that of a setting, they hold it if it is needed to tell two rows apart.
    """
    differing = {name: head for name, head in _differing(comparison).items() if name not in spared}
    titles = {name: title for name, title in _titles(comparison, differing).items() if name not in spared}
    details = row_details(comparison.rows, ("model", "backbone", "library", *differing))
    lines = []
    for number, row in enumerate(comparison.rows):
        library = [comparison.text(number, "library")] if "library" in spared else []
        model = shown(" · ".join((model_name(row), *library, *details[number])))
        if names := comparison.mark_names(number):
            model.append(f" [{names}]", style="yellow")
        status = comparison.text(number, "status")
        if "status" in spared and status != "ok":
            model.append(f" [{status}]", style=_status_style(status))
        lines.append([model if column == "model" else _cell(comparison, number, column, spared) for column in titles])
    widths = {}
    for place, (name, title) in enumerate(titles.items()):
        widths[name] = max(cell_len(text) for text in (*title.splitlines(), *(line[place].plain for line in lines)))
    least_name = _least_name_width([line[list(titles).index("model")].plain for line in lines])
    others = sum(widths.values()) - widths["model"] + _GAP * (len(widths) - 1)
    # Rich cuts figures where a table is too wide for it, so every column has its width from here.
    widths["model"] = max(least_name, min(widths["model"], width - others))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    table.width = others + widths["model"]
    for name, title in titles.items():
        table.add_column(
            shown(title),
            justify="left" if COLUMNS[name].decimals is None else "right",
            no_wrap=name != "model",
            overflow="fold",
            width=widths[name],
        )
    for line in lines:
        table.add_row(*line)
    return table, others + least_name


def _least_name_width(names: Sequence[str]) -> int:
    """Give the least width of the column of names: a word that is longer than :data:`NAME_WIDTHS` goes on below."""
    least, most = NAME_WIDTHS
    word = max(cell_len(word) for name in (*names, "Model") for word in name.split())
    return min(max(map(cell_len, (*names, "Model"))), max(least, min(word, most)))


def _differing(comparison: Comparison) -> dict[str, str]:
    """Give the settings in which rows differ, which alone have a column, and their heads."""
    heads = {setting.key: setting.short or setting.title for setting in telling()}
    return {name: heads[name] for name in comparison.differing(heads)}


def _titles(comparison: Comparison, differing: Mapping[str, str]) -> dict[str, str]:
    """Give the columns and their heads; a figure that no row has is left out."""
    named = {setting.key: setting.short for setting in tabled() if setting.names and setting.short}
    limit = "" if comparison.limit is None else f"\n{comparison.limit} det."
    figures = {name: FIGURES[name].short + (limit if FIGURES[name].limited else "") for name in shown_in("terminal")}
    empty = {name for name in figures if COLUMNS[name].decimals is not None} - set(comparison.measured(figures))
    return {name: title for name, title in (named | figures | dict(differing)).items() if name not in empty}


def _cell(comparison: Comparison, row: int, name: str, spared: Sequence[str]) -> Text:
    text = comparison.text(row, name)
    if name == "status":
        return shown(text, style=_status_style(text))
    if COLUMNS[name].better is None or not text:
        return shown(text)
    if f"{name}_low" not in spared:
        text += _half_width(comparison, row, name)
    if comparison.noise(row, name):
        return shown(f"({text})", style="dim")
    # A space where the star would be keeps the decimal points in one line.
    return shown(f"{text}*", style="bold green") if (row, name) in comparison.best else shown(f"{text} ")


def _status_style(status: str) -> str:
    return {"ok": "green", "skipped": "yellow"}.get(status, "red")


def _half_width(comparison: Comparison, row: int, name: str) -> str:
    """Give half the width of a figure's 95 % interval, with its decimals; "" where it has none."""
    ends = [comparison.cell(row, end) for end in INTERVALS.get(name, ())]
    if not ends or None in ends:
        return ""
    return f" ± {(ends[1] - ends[0]) / 2:.{comparison.decimals(name)}f}"
