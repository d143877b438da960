"""The first answers of a report as lines of a terminal."""

from __future__ import annotations

from rich.text import Text

from reports.answers.measured_on import measured_on
from reports.answers.sentences import answers
from reports.table.comparison import Comparison
from reports.text.styled import shown

_STYLES = {"Beware": "yellow"}


def answer_lines(comparison: Comparison) -> list[Text]:
    """Give what the rows were measured on, and a line for each answer; they stand below the table, where one looks."""
    on = measured_on(comparison)
    lines = [shown(f"\n{on}", style="dim")] if on else []
    for answer in answers(comparison):
        style = _STYLES.get(answer.title, "")
        lines.append(shown(f"{answer.title}: ", style=f"bold {style}".strip()).append_text(shown(answer.text, style)))
    return lines
