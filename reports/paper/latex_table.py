r"""Write chosen columns of chosen rows as a LaTeX table with booktabs and siunitx, to be read by ``\input``.

Rows that may be compared stand together between two rules, the best of each figure among them in bold.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.errors import UserError, nearest
from bench.files.json_file import write_text_atomically
from bench.schema.metrics import FIGURES
from bench.schema.settings import SETTINGS
from reports.table.columns import COLUMNS, INTERVALS, decimals_of
from reports.table.comparison import INDISTINGUISHABLE, Comparison, comparison_key, load
from reports.table.condition import parse
from reports.table.naming import row_details
from reports.table.selection import select
from reports.text.latex import escape

COLUMNS_UNLESS_GIVEN = ("model", "backbone", "library", "mask_ap", "fps_model")
INTERVALS_AS = ("pm", "small", "none")
CAPTION = "Instance segmentation models."
LABEL = "tab:maskbench"

_SYMBOLS = (r"\dagger", r"\ddagger", r"\S", r"\P", r"\ast", r"\star", r"\circ", r"\diamond")
"""What stands behind the name of a row that must not be read without a mark; after these come letters."""

_UNITS = {"images/s": "", "points": "", "images": "", "per image": "", "%": r"\%"}
"""How units stand in a head; "" where the title says it."""


@dataclass(frozen=True)
class Paper:
    """What the author asks for.

    columns: names of columns, in their order
    rows: a condition as that of ``--where``; None is all that ended well
    intervals: ``pm`` writes ± the distance to the further end of the 95 % interval, ``small`` both ends in small type
    """

    columns: tuple[str, ...] = COLUMNS_UNLESS_GIVEN
    rows: str | None = None
    caption: str = CAPTION
    label: str = LABEL
    intervals: str = "pm"


def write_paper(sources: Sequence[Path], path: Path, paper: Paper) -> int:
    """Write the table to ``path`` and give the number of its rows.

    Raises:
        UserError: there is no such column, the condition cannot be read, no row meets it, or ``path`` cannot be
            written.
    """
    for name in paper.columns:
        if name not in COLUMNS:
            raise UserError(f"--columns {name}: no such column; {nearest(name, COLUMNS)}")
    comparison = load(sources, path.parent)
    try:
        chosen = _chosen(comparison, paper.rows)
    except UserError as error:
        raise UserError(str(error).replace("--where", "--rows", 1)) from error
    if not chosen:
        raise UserError(f"--rows {paper.rows}: no row meets it" if paper.rows else "no row ended well")
    if len(chosen) < len(comparison.rows):
        # The best, and what cannot be told from it, are those among the rows of the table.
        comparison = load([comparison.rows[row].path for row in sorted(chosen)], path.parent, warn=False)
    try:
        write_text_atomically(path, latex(comparison, paper))
    except OSError as error:
        raise UserError(f"--latex {path}: cannot be written ({error.strerror or error})") from error
    return len(comparison.rows)


def _chosen(comparison: Comparison, condition: str | None) -> list[int]:
    """Give the rows of the table, by their figures as they were measured: the table has their intervals beside them."""
    selection = select(comparison, condition, None)
    asked = parse(condition) if condition else None
    open_rows = [row for row, _ in selection.unsure if asked and asked.met(partial(comparison.cell, row))]
    return [*selection.satisfying, *open_rows]


def latex(comparison: Comparison, paper: Paper) -> str:
    """Give the table of all rows of a comparison."""
    columns = [_Column(comparison, name, paper.intervals) for name in paper.columns]
    details = _details(comparison, paper.columns)
    said = next((place for place, name in enumerate(paper.columns) if COLUMNS[name].decimals is None), None)
    symbols = _symbols(comparison) if said is not None else {}
    body: list[str] = []
    before = None
    for row, own in enumerate(details):
        key = comparison_key(comparison.rows[row])
        body += [r"\midrule"] if before not in (None, key) else []
        before = key
        cells = [column.cell(row, own if place == said else ()) for place, column in enumerate(columns)]
        if said is not None:
            cells[said] += "".join(rf"$^{{{symbols[mark.name]}}}$" for mark in comparison.marks_of(row))
        line = " & ".join(cells) + r" \\"
        # The row before ends in a command that takes a [ or a * for an argument of its own.
        body.append(f"{{}}{line}" if line.startswith(("[", "*")) else line)
    return "\n".join(
        (
            r"% Needs \usepackage{booktabs} and \usepackage{siunitx}.",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(_ended(paper.caption))} {_legend(comparison, columns)}{_marks(symbols)}}}",
            rf"\label{{{_label(paper.label)}}}",
            rf"\begin{{tabular}}{{@{{}}{''.join(column.kind for column in columns)}@{{}}}}",
            r"\toprule",
            " & ".join(column.head for column in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        )
    )


def _symbols(comparison: Comparison) -> dict[str, str]:
    """Give a symbol for each mark that any row has, by its name."""
    names = dict.fromkeys(mark.name for row in range(len(comparison.rows)) for mark in comparison.marks_of(row))
    letters = (rf"\mathrm{{{letter}}}" for letter in "abcdefghijklmnopqrstuvwxyz")
    return dict(zip(names, itertools.chain(_SYMBOLS, letters), strict=False))


def _marks(symbols: Mapping[str, str]) -> str:
    """Say in the caption what each symbol stands for; "" without one."""
    said = ", ".join(rf"$^{{{symbol}}}$ {escape(name)}" for name, symbol in symbols.items())
    return f" Rows bear marks: {said}." if said else ""


def _details(comparison: Comparison, columns: Sequence[str]) -> list[list[str]]:
    """Give what must be added to each row so that no two look alike."""
    texts = [name for name in columns if COLUMNS[name].decimals is None or name in SETTINGS]
    rows = range(len(comparison.rows))
    names = [name for name in ("model", "backbone", "library") if name not in texts and comparison.differing([name])]
    shown = [tuple(comparison.text(row, name) for name in texts) for row in rows]
    added: list[list[str]] = [[] for _ in rows]
    for name in names:
        alike: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            alike.setdefault(shown[row], set()).add(comparison.text(row, name))
        for row in rows:
            added[row] += [comparison.text(row, name)] if len(alike[shown[row]]) > 1 else []
    return [[*own, *more] for own, more in zip(added, row_details(comparison.rows, [*texts, *names]), strict=True)]


class _Column:
    """One column: its alignment (``kind``), its head and its cells.

    A figure with an interval has a second column for it.
    """

    def __init__(self, comparison: Comparison, name: str, intervals: str) -> None:
        self._comparison, self.name = comparison, name
        known = INTERVALS.get(name)
        rows = range(len(comparison.rows))
        has_one = known is not None and any(comparison.cell(row, known[0]) is not None for row in rows)
        self.intervals = intervals if has_one else "none"
        values = [value for row in rows if (value := comparison.cell(row, name)) is not None]
        self._is_text = COLUMNS[name].decimals is None
        # One column has one number of decimals, or its figures could not be compared by eye.
        self._decimals = max((decimals_of(name, value) for value in values if isinstance(value, float)), default=0)
        self.kind, self.head = self._layout(values)

    def cell(self, row: int, details: Sequence[str]) -> str:
        """Give a cell; ``details`` are what tells the row from others, where this is the first column of texts."""
        if self._is_text:
            return escape(" · ".join(part for part in (self._comparison.text(row, self.name), *details) if part))
        value = self._comparison.cell(row, self.name)
        if value is None:
            return "{--}" + ("" if self.intervals == "none" else " &")
        text = self._number(value)
        if (row, self.name) in self._comparison.best:
            text = rf"\bfseries {text}"
        return text if self.intervals == "none" else f"{text} &{self._interval(row, value)}"

    def _interval(self, row: int, value: float) -> str:
        low, high = (self._comparison.cell(row, end) for end in INTERVALS[self.name])
        if low is None or high is None:
            return ""
        if self.intervals == "pm":
            return rf" $\pm\,{self._number(max(high - value, value - low))}$"
        return rf" {{\scriptsize [{self._number(low)}, {self._number(high)}]}}"

    def _number(self, value: float) -> str:
        return f"{value:.{self._decimals}f}"

    def _layout(self, values: Sequence[float]) -> tuple[str, str]:
        if self._is_text:
            return "l", escape(COLUMNS[self.name].title)
        before = max((len(f"{abs(value):.0f}") for value in values), default=1)
        sign = "-" if any(value < 0 for value in values) else ""
        form = f"table-format={sign}{before}.{self._decimals}"
        kind = f"S[{form}, detect-weight]"
        head = self._title()
        if self.intervals != "none":
            return kind + r"@{\hspace{0.4em}}l", rf"\multicolumn{{2}}{{c}}{{{head}}}"
        return kind, f"{{{head}}}"

    def _title(self) -> str:
        figure, column = FIGURES.get(self.name), COLUMNS[self.name]
        own = figure.latex if figure else ""
        if own and figure and figure.limited:
            own = self._comparison.with_limit(own)
        unit = _UNITS.get(column.unit, escape(column.unit))
        return (own or escape(self._comparison.title(self.name))) + (f" [{unit}]" if unit else "")


def _legend(comparison: Comparison, columns: Sequence[_Column]) -> str:
    """Say what the marks of the table are, as far as it has any."""
    names = {column.name for column in columns}
    parts = []
    if any(name in names for _, name in comparison.best):
        text = "Best values of comparable rows in bold"
        tied = "mask_ap" in names and comparison.tied
        parts.append(f"{text}, of mask AP also those {INDISTINGUISHABLE}." if tied else f"{text}.")
    shown = {column.intervals for column in columns}
    if "pm" in shown:
        parts.append("± is the distance to the further end of the 95 % interval.")
    if "small" in shown:
        parts.append("In small type the 95 % interval.")
    if len({comparison_key(row) for row in comparison.rows}) > 1:
        parts.append("Rows that a rule divides are not comparable.")
    if meaning := comparison.noise_meaning(names):
        parts.append(f"{meaning[0].upper()}{meaning[1:]}.")
    return escape(" ".join(parts))


def _ended(text: str) -> str:
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def _label(text: str) -> str:
    """Give a label that LaTeX takes: what would end it, or begin a command, is left out."""
    return "".join(char for char in text if char not in "\\{}%#~^$&")
