"""Add Markdown to the summary that GitHub shows of a job: the file that ``$GITHUB_STEP_SUMMARY`` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from reports.parts import Parts

VARIABLE = "GITHUB_STEP_SUMMARY"

LIMIT_BYTES = 1 << 20
"""The longest summary of one step that GitHub takes; it drops a longer one whole."""


def append(summary: Callable[[int], str]) -> Path | None:
    """Add a summary to the file, and give its path; None outside of GitHub's CI.

    summary: gives the text, of at most so many bytes: what the step has already written counts towards the limit
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    path = Path(name)
    before = path.stat().st_size if path.exists() else 0
    with path.open("a", encoding="utf-8") as file:
        file.write(summary(LIMIT_BYTES - before))
    return path


def append_answers(sources: Sequence[Path]) -> None:
    """Add the answers of a report that was just built of these sources; a line on stderr says where that fails."""
    if os.environ.get(VARIABLE):  # else nothing is loaded
        with Parts("the job's summary") as parts:
            parts.run(f"${VARIABLE}", _append_answers, sources)


def _append_answers(sources: Sequence[Path]) -> None:
    from reports.cut import cut
    from reports.table.comparison import load, loaded
    from reports.text.markdown import answers_text

    comparison = cut(loaded(sources) or load(sources, Path(os.curdir), warn=False))
    text = f"## Instance segmentation, compared\n\n{answers_text(comparison)}\n\n"
    append(lambda limit: text if len(text.encode()) <= limit else "")
