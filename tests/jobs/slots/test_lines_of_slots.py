"""Test what a terminal shows of several slots: a line for each, and a bar for all."""

from __future__ import annotations

import io
import re

from rich.console import Console

from bench.jobs.messages import Progress
from bench.jobs.progress import StudyProgress


def test_each_slot_has_a_line_of_its_own() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with StudyProgress(console, 2) as progress:
        progress.expect(2)
        one, two = (progress.line(name) for name in ("cuda:0", "cuda:2"))
        one.begin("mask_rcnn", ["accuracy"], "")
        two.begin("solo", ["memory"], "")
        one.on_progress(Progress("accuracy", 1, 2, 10))
        two.next_job()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(_lines(progress, console)))
    lines = [line.split("━")[0].strip() for line in shown.splitlines() if line.strip()]
    assert lines == ["all slots", "cuda:0: mask_rcnn: accuracy", "cuda:2: idle"]
    assert re.search(r"all slots.* 50%", shown)  # one of two turns
    assert re.search(r"cuda:0.* 25%", shown)  # loading and the pass are two halves of the job


def _lines(progress: StudyProgress, console: Console) -> list[str]:
    """Give the lines that the bar would draw now."""
    drawn = Console(file=io.StringIO(), force_terminal=True, width=console.width)
    drawn.print(progress._bar.get_renderable())
    assert isinstance(drawn.file, io.StringIO)
    return drawn.file.getvalue().splitlines()
