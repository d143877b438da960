"""The comparison as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reports.columns import COLUMNS
from reports.comparison import Comparison
from reports.conditions import ROW_COLUMNS, conditions, row_conditions

TABLE_COLUMNS = tuple(name for name in COLUMNS if name not in ("reason", "result"))
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line and inside one table cell."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def write_markdown(comparison: Comparison, path: Path) -> None:
    sections = [
        "# Comparison",
        table(comparison),
        problems(comparison, "Not finished", comparison.broken()),
        problems(comparison, "Skipped", comparison.rows("skipped")),
        "## Conditions",
        "\n".join(f"- **{name}:** {escape(text)}" for name, text in conditions(comparison)),
        _grid(ROW_COLUMNS, row_conditions(comparison)),
        "## Columns",
        "\n".join(
            f"- **{COLUMNS[name].title}**{f' [{COLUMNS[name].unit}]' if COLUMNS[name].unit else ''}: "
            f"{escape(COLUMNS[name].description)}"
            for name in shown_columns(comparison)
        ),
    ]
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")


def shown_columns(comparison: Comparison) -> list[str]:
    """Columns that hold something; the reasons and paths stand apart."""
    return comparison.measured(TABLE_COLUMNS)


def table(comparison: Comparison) -> str:
    """Every row but the skipped ones, best values in bold."""
    columns = shown_columns(comparison)
    rows = [row for row, job in enumerate(comparison.jobs) if job.result.status != "skipped"]
    if not rows:
        return "No row was measured."
    titles = [
        f"{COLUMNS[name].title} [{COLUMNS[name].unit}]" if _has_unit(name) else COLUMNS[name].title for name in columns
    ]
    lines = [
        f"| {' | '.join(titles)} |",
        f"| {' | '.join('---' if COLUMNS[name].decimals is None else '---:' for name in columns)} |",
    ]
    for row in rows:
        cells = [escape(comparison.text(row, name)) for name in columns]
        marked = [
            f"**{cell}**" if (row, name) in comparison.best else cell for name, cell in zip(columns, cells, strict=True)
        ]
        lines.append(f"| {' | '.join(marked)} |")
    return "\n".join(lines)


def problems(comparison: Comparison, title: str, rows: Sequence[int]) -> str:
    """Rows with their reason, "" when there are none."""
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


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return "\n".join(lines + [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows])
