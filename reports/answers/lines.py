"""The first answers of a report as lines of a terminal."""

from __future__ import annotations

from rich.text import Text

from bench.errors import visible
from reports.answers.measured_on import measured_on
from reports.answers.sentences import answers
from reports.table.comparison import Comparison

_STYLES = {"Beware": "yellow"}


def answer_lines(comparison: Comparison) -> list[Text]:
    """Give what the rows were measured on, and a line for each answer; they stand below the table, where one looks."""
    on = measured_on(comparison)
    lines = [Text(visible(f"\n{on}"), style="dim")] if on else []
    for answer in answers(comparison):
        style = _STYLES.get(answer.title, "")
        title = Text(f"{answer.title}: ", style=f"bold {style}".strip())
        lines.append(title.append_text(Text(visible(answer.text), style=style)))
    return lines
