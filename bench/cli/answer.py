"""``run_bench.py --answer`` answers the pytest plugin's questions about finished runs: a line of JSON for each line.

The plugin is loaded into the Python of every user who has maskbench installed, in which the name ``bench`` may mean a
package of the user's own. So the plugin imports nothing of ours and asks this process.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    from reports.table.comparison import Comparison

Loaded = dict[tuple[str, str], "Comparison"]
"""Comparisons by pytest session and folder, so that each folder is read once in a session."""


def answer_all() -> int:
    """Answer until standard input ends; give the exit status."""
    loaded: Loaded = {}
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # stdout holds only the answers
            reply = answer(json.loads(line), loaded)
        print(json.dumps(reply), flush=True)
    return 0


def answer(question: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """Answer one question; give ``{"refused": line}`` where the question has an error of the user.

    A question has one of these keys:

    conditions: columns and the condition for each; the answer is ``{}`` where all can be parsed. With ``folder`` and
        ``session`` too, the answer holds the ``rows`` of the results in that folder
    benchmarks, document: a list of folders; the answer holds, under the same key, what pytest-benchmark writes of the
        results in them
    """
    try:
        if "conditions" in question:
            return _checked(question, loaded)
        from reports.ci.files import rows_of
        from reports.ci.pytest_benchmark import benchmarks, document

        if "benchmarks" in question:
            return {"benchmarks": benchmarks(rows_of([Path(folder) for folder in question["benchmarks"]]))}
        return {"document": document(rows_of([Path(folder) for folder in question["document"]]))}
    except UserError as error:
        return {"refused": str(error)}


def _checked(question: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """Give the rows of a folder, each with its cells by column and the texts of its violations.

    ``marks`` says of each mark of the row what was seen and what it means, ``doubts`` says it of those that make a pass
    mean little; both are empty where no condition is on a figure that they are of.
    """
    from reports.table.comparison import load
    from reports.table.limits import parse_limits

    limits = parse_limits(question["conditions"])
    if "folder" not in question:
        return {}
    folder = Path(question["folder"])
    key = (question["session"], str(folder))
    if key not in loaded:
        loaded[key] = load([folder / "jobs"], folder)
    comparison = loaded[key]
    columns = [str(name) for name in comparison.frame]
    return {
        "rows": [
            {
                "status": row.result.status,
                "reason": comparison.text(number, "reason") or "no reason given",
                "label": comparison.labels[number],
                "path": str(row.path),
                "violations": [text for limit in limits if (text := limit.violation(comparison, number))],
                **_told(comparison, number, [limit.column for limit in limits]),
                "cells": {name: comparison.cell(number, name) for name in columns},
            }
            for number, row in enumerate(comparison.rows)
        ]
    }


def _told(comparison: Comparison, row: int, columns: Sequence[str]) -> dict[str, list[str]]:
    from bench.schema.metrics import FIGURES, NOISE

    marks = comparison.marks_of(row) if any(name in FIGURES and FIGURES[name].of_time for name in columns) else []
    noise = [f"{name}, {NOISE}" for name in columns if comparison.noise(row, name)]
    told = [(f"{mark.name}: {mark.sentence}; {mark.meaning}", mark.never_best) for mark in marks]
    return {"marks": [text for text, _ in told] + noise, "doubts": [text for text, never in told if never] + noise}
