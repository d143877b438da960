r"""Write the comparison as a LaTeX table for ``\input``, which needs the packages booktabs and graphicx."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import visible
from bench.files.json_file import write_text_atomically
from bench.schema.metrics import FIGURES, shown_in
from reports.table.checks import PUBLISHED_TOLERANCE, published, signed
from reports.table.columns import COLUMNS, setting_columns
from reports.table.comparison import INDISTINGUISHABLE, Comparison
from reports.table.naming import row_details
from reports.text.conditions import conditions, row_notes

_SPECIAL = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", '"': "''"},
    **{"·": r"$\cdot$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "–": "--", "—": "---", "µ": r"$\mu$"},
    **{"±": r"$\pm$", "†": r"$^\dagger$", "…": r"\ldots{}", "−": r"$-$"},
}


def escape(text: str) -> str:
    """Escape text for LaTeX; a character outside Latin without a plain form becomes a question mark."""
    return "".join(_SPECIAL[char] if char in _SPECIAL else _plain(char) for char in visible(" ".join(text.split())))


def write_latex(comparison: Comparison, path: Path) -> None:
    """Write the ``ok`` rows, best values in bold; the others stand above as comments with their reason."""
    # What is the same in all rows stands in the caption once.
    settings = [*setting_columns(naming=False), *shown_in("latex", "condition")]
    same = set(settings) - set(comparison.differing(settings))
    # Columns in which no row has a value are left out.
    columns = [name for name in comparison.measured((*setting_columns(), *shown_in("latex"))) if name not in same]
    alignment = "".join("l" if COLUMNS[name].decimals is None else "r" for name in columns)
    rows = comparison.with_status("ok")
    texts = [name for name in columns if COLUMNS[name].decimals is None or name in settings]
    details = row_details([comparison.rows[row] for row in rows], texts)
    signs = _signs(comparison, rows)
    body = [_row(comparison, row, columns, details[place], signs) for place, row in enumerate(rows)]
    left_out = [
        f"% not in the table: {_comment(comparison.labels[row])}: {comparison.text(row, 'status')}: "
        f"{_comment(comparison.text(row, 'reason'))}"
        for row in (*comparison.failed(), *comparison.with_status("skipped"))
    ]
    notes = "; ".join(f"{note} [{labels}]" for note, labels in row_notes(comparison))
    said = [*conditions(comparison), *([("Notes", notes)] if notes else [])]
    facts = " ".join(rf"\textbf{{{escape(name)}:}} {escape(text)}." for name, text in said)
    legend = escape(_legend(comparison, rows)) + _footnotes(signs)
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
        *left_out,
        r"\begin{table}",
        r"\centering",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"\toprule",
        " & ".join(_head(comparison, name) for name in columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        rf"\caption{{Instance segmentation, {legend}. {{\footnotesize {facts}}}}}",
        r"\label{tab:maskbench}",
        r"\end{table}",
    ]
    write_text_atomically(path, "\n".join(lines) + "\n")


def _signs(comparison: Comparison, rows: Sequence[int]) -> dict[str, str]:
    """Give a footnote's sign, ``a`` and so on, for each mark that any of the rows has."""
    names = dict.fromkeys(mark.name for row in rows for mark in comparison.marks_of(row))
    return dict(zip(names, string.ascii_lowercase, strict=False))


def _footnotes(signs: Mapping[str, str]) -> str:
    return "".join(rf"; \textsuperscript{{{sign}}}{escape(name)}" for name, sign in signs.items())


def _row(comparison: Comparison, row: int, columns: list[str], details: Sequence[str], signs: Mapping[str, str]) -> str:
    line = " & ".join(_cell(comparison, row, name, details, signs) for name in columns) + r" \\"
    # The row before ends in a command that takes a [ or a * for an argument of its own.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _cell(comparison: Comparison, row: int, name: str, details: Sequence[str], signs: Mapping[str, str]) -> str:
    cell = escape(" · ".join((comparison.text(row, name), *(details if name == "model" else ()))))
    if comparison.noise(row, name):
        cell = rf"\textit{{{cell}}}"
    if name == "model" and (noted := ",".join(signs[mark.name] for mark in comparison.marks_of(row))):
        cell += rf"\textsuperscript{{{noted}}}"
    if (row, name) in comparison.best:
        cell = rf"\textbf{{{cell}}}"
    if name == "mask_ap" and (interval := comparison.interval(row)):
        cell += rf" {{\scriptsize {interval}}}"
    if name == "published_mask_ap" and (check := published(comparison.rows[row])):
        mark = "" if check.holds else r"$^\dagger$"
        cell += rf" {{\scriptsize ({signed(check.difference)}{mark})}}"
    return cell


def _legend(comparison: Comparison, rows: Sequence[int]) -> str:
    parts = ["best values in bold"]
    if comparison.groups:
        parts.append(f"of mask AP also those {INDISTINGUISHABLE}")
    if any(comparison.interval(row) for row in rows):
        parts.append("in brackets the 95 % interval (bootstrap over images)")
    checks = [check for row in rows if (check := published(comparison.rows[row]))]
    if checks:
        parts.append("beside the published AP measured minus published")
    if not all(check.holds for check in checks):
        parts.append(f"\N{DAGGER} where that exceeds {PUBLISHED_TOLERANCE:g} points")
    if meaning := comparison.noise_meaning(shown_in("latex")):
        parts.append(f"in italics: {meaning}")
    return "; ".join(parts)


def _head(comparison: Comparison, name: str) -> str:
    column = COLUMNS[name]
    unit = f" [{column.unit}]" if column.unit in ("ms", "MB", "J/image", "M") else ""
    figure = FIGURES.get(name)
    own = figure.latex if figure else ""
    if figure and figure.limited:
        own = comparison.with_limit(own)
    return (own or escape(comparison.title(name))) + unit


def _plain(char: str) -> str:
    if ord(char) < 0x180:
        return char
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return "".join(_SPECIAL.get(part, part) for part in plain) or "?"


def _comment(text: str) -> str:
    return visible(" ".join(text.split()))
