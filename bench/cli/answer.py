"""``run_bench.py --answer``: what the pytest plugin asks of finished runs, a line of JSON for each line of JSON.

The plugin is loaded into the Python of whoever has maskbench installed, whose own ``bench`` package may be what that
Python imports by this name. So it imports nothing of ours and asks this process.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    from reports.table.comparison import Comparison

Loaded = dict[tuple[str, str], "Comparison"]
"""Comparisons by session of pytest and folder, each of which is read once."""


def answer_all() -> int:
    """Answer until standard input ends; gives the exit status."""
    loaded: Loaded = {}
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # the answers stand alone
            reply = answer(json.loads(line), loaded)
        print(json.dumps(reply), flush=True)
    return 0


def answer(question: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """The answer to one question; ``{"refused": line}`` where the user is to be told what is wrong.

    ``conditions``, columns and what is asked of them, alone: ``{}`` where they can be understood. With ``folder`` and
    ``session``: ``rows`` of the results in it. ``benchmarks`` or ``document``, a list of folders: what pytest-benchmark
    writes of their results, under the same key.
    """
    try:
        if "conditions" in question:
            return _held(question, loaded)
        from reports.ci.files import rows_of
        from reports.ci.pytest_benchmark import benchmarks, document

        if "benchmarks" in question:
            return {"benchmarks": benchmarks(rows_of([Path(folder) for folder in question["benchmarks"]]))}
        return {"document": document(rows_of([Path(folder) for folder in question["document"]]))}
    except UserError as error:
        return {"refused": str(error)}


def _held(question: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """The rows of a folder, each with its cells by column and with the conditions that it breaks, as text."""
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
                "broken": [text for limit in limits if (text := limit.violation(comparison, number))],
                "cells": {name: comparison.cell(number, name) for name in columns},
            }
            for number, row in enumerate(comparison.rows)
        ]
    }
