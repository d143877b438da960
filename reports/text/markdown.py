"""Write the comparison as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.errors import visible
from bench.files.json_file import write_text_atomically
from bench.schema.metrics import shown_in
from bench.schema.settings import tabled
from reports.answers.measured_on import measured_on
from reports.answers.sentences import answers
from reports.conversion.costs import HEADS as COST_HEADS
from reports.conversion.costs import MEANING as COSTS_MEANING
from reports.conversion.costs import TITLE, cost_lines
from reports.cut import cut_words
from reports.table.checks import MARK, PUBLISHED_TOLERANCE, published, signed, warnings
from reports.table.claims import MEANING, claims
from reports.table.columns import COLUMNS, INTERVALS, setting_columns
from reports.table.comparison import Comparison
from reports.table.differences import METRICS
from reports.table.matrix import MATRIX_MEANING, group_conditions, matrix_rows, matrix_texts
from reports.table.naming import row_details
from reports.text.conditions import ROW_COLUMNS, conditions, row_conditions, row_notes
from reports.text.published import HEADS, published_lines
from reports.text.published import MEANING as MEANING_OF_PUBLISHED

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#$]|&(?=#?\w+;))")


NOISE_MARK = "\N{DOUBLE DAGGER}"
"""Stands behind a value whose masks are noise."""


def escape(text: str) -> str:
    """Escape text so that Markdown shows it as it is, on one line and inside one cell of a table."""
    return _SPECIAL.sub(r"\\\1", visible(" ".join(text.split())))


def answers_text(comparison: Comparison) -> str:
    """Give what the rows were measured on, and the answers of the first screen as a list."""
    listed = "\n".join(f"- **{one.title}:** {escape(one.text)}" for one in answers(comparison))
    return "\n\n".join(text for text in (escape(measured_on(comparison)), listed) if text)


def write_markdown(comparison: Comparison, path: Path) -> None:
    """Write the table, its legend, claims, costs of conversions, differences, rows without a result, and conditions."""
    sections = [
        "# Comparison",
        answers_text(comparison),
        escape(cut_words(comparison)),
        table(comparison),
        _legend(comparison),
        _checks(comparison),
        _notes(comparison),
        _claims(comparison),
        _published(comparison),
        _conversions(comparison),
        *_differences(comparison),
        problems(comparison, "Not finished", comparison.failed()),
        problems(comparison, "Skipped", comparison.with_status("skipped")),
        "## Conditions",
        "\n".join(f"- **{name}:** {escape(text)}" for name, text in conditions(comparison)),
        grid(ROW_COLUMNS, row_conditions(comparison)),
        "## Columns",
        "\n".join(
            f"- **{comparison.title(name)}**{f' [{COLUMNS[name].unit}]' if COLUMNS[name].unit else ''}: "
            f"{escape(COLUMNS[name].description)}"
            for name in shown_columns(comparison)
        ),
    ]
    write_text_atomically(path, "\n\n".join(section for section in sections if section) + "\n")


def _claims(comparison: Comparison) -> str:
    rows = [(f"{c.text} ({c.source})", c.rows, c.claimed, c.measured, c.verdict) for c in claims(comparison)]
    heads = ("Claim", "Rows", "Said", "Measured here, with its 95 % interval", "Verdict")
    return f"## Claims\n\n{grid(heads, rows)}\n\n{escape(MEANING)}." if rows else ""


def _published(comparison: Comparison) -> str:
    lines = published_lines(comparison)
    return f"## Published and measured\n\n{grid(HEADS, lines)}\n\n{escape(MEANING_OF_PUBLISHED)}." if lines else ""


def _conversions(comparison: Comparison) -> str:
    lines = [line.cells for line in cost_lines(comparison)]
    return f"## {TITLE}\n\n{grid(COST_HEADS, lines)}\n\n{escape(COSTS_MEANING)}." if lines else ""


def shown_columns(comparison: Comparison) -> list[str]:
    """Give the columns of the table that hold a value in any row."""
    said = {setting.key for setting in tabled() if setting.in_titles} - set(comparison.differing(setting_columns()))
    columns = (name for name in setting_columns() if name not in said)
    return comparison.measured((*columns, *shown_in("markdown")))


def table(comparison: Comparison) -> str:
    """Give every row but the skipped ones, best values in bold."""
    columns = shown_columns(comparison)
    numbers = [number for number, row in enumerate(comparison.rows) if row.result.status != "skipped"]
    if not numbers:
        return "No row was measured."
    titles = [comparison.title(name) + (f" [{COLUMNS[name].unit}]" if _has_unit(name) else "") for name in columns]
    lines = [
        f"| {' | '.join(titles)} |",
        f"| {' | '.join('---' if COLUMNS[name].decimals is None else '---:' for name in columns)} |",
    ]
    details = row_details(comparison.rows, [name for name in columns if COLUMNS[name].decimals is None])
    for number in numbers:
        cells = [_cell(comparison, number, name, details[number]) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(comparison: Comparison, row: int, name: str, details: Sequence[str]) -> str:
    text = comparison.text(row, name)
    if name == "model":
        names = comparison.mark_names(row)
        return escape(" · ".join((text, *details))) + (f" *({escape(names)})*" if names else "")
    text = f"{text} {comparison.interval(row, name)}".strip()
    if name == "published_mask_ap" and (check := published(comparison.rows[row])):
        text = f"{text} ({signed(check.difference)}){'' if check.holds else f' {MARK}'}"
    if comparison.noise(row, name):
        return f"*{escape(text)}* {NOISE_MARK}"
    return f"**{escape(text)}**" if (row, name) in comparison.best else escape(text)


def _legend(comparison: Comparison) -> str:
    parts = [f"In bold: {comparison.best_words()}."] if comparison.best else []
    if names := [comparison.title(name) for name in INTERVALS if comparison.has_intervals(name)]:
        parts.append(f"In brackets: the 95 % interval of {' and '.join(names)}.")
    if any(published(row) for row in comparison.rows):
        parts.append(
            f"Beside the published AP: measured minus published, with {MARK} where they differ by more than "
            f"{PUBLISHED_TOLERANCE:g} points."
        )
    if meaning := comparison.noise_meaning(shown_columns(comparison)):
        parts.append(f"{NOISE_MARK} {meaning}.")
    return escape(" ".join(parts))


def _checks(comparison: Comparison) -> str:
    lines = [
        f"- **{escape(comparison.labels[number])}**: {escape(text)}"
        for number, row in enumerate(comparison.rows)
        for text in warnings(row)
    ]
    return "\n".join(["## Not as it should be", "", *lines]) if lines else ""


def _notes(comparison: Comparison) -> str:
    lines = [f"- {escape(note)} [{escape(labels)}]" for note, labels in row_notes(comparison)]
    return "\n".join(["## Notes", "", *lines]) if lines else ""


def _differences(comparison: Comparison) -> list[str]:
    """Give the matrix of each group and metric, rows and columns by falling mask AP, with every pair once."""
    sections = ["## Differences", escape(MATRIX_MEANING)] if comparison.groups else []
    for group in comparison.groups:
        for metric in METRICS:
            if cells := matrix_texts(group, metric):
                names = [escape(comparison.labels[row]) for row in matrix_rows(group)]
                heads = [f"{comparison.title(metric)}: row against column", *names[1:]]
                body = [[name, *row[1:]] for name, row in zip(names, cells, strict=True)][:-1]
                sections += [escape(group_conditions(comparison, group)), grid_of_markdown(heads, body)]
    return sections


def problems(comparison: Comparison, title: str, rows: Sequence[int]) -> str:
    """List rows with their reason; "" where there are none."""
    if not rows:
        return ""
    lines = [
        f"- **{escape(comparison.labels[row])}**: {escape(comparison.text(row, 'status'))}: "
        f"{escape(comparison.text(row, 'reason') or 'no reason given')} ({escape(comparison.text(row, 'result'))})"
        for row in rows
    ]
    return "\n".join([f"## {title}", "", *lines])


def _has_unit(name: str) -> bool:
    return COLUMNS[name].unit in ("ms", "MB", "J/image")


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table of texts; "" without rows."""
    if not rows:
        return ""
    return grid_of_markdown(titles, [[escape(cell) for cell in row] for row in rows])


def grid_of_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table whose titles and cells are already Markdown."""
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
