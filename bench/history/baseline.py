"""The baseline of a gate: a folder of results, or a run of the history by its name. This module imports no torch."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.files.paths import expanded
from bench.gate.rows import Baseline, load_rows
from bench.history.runs import looks_like_name, short
from bench.history.store import History
from bench.schema.row import Row


def find_baseline(baseline: str, history: str | None) -> Baseline:
    """Return the rows of a baseline.

    Args:
        baseline: a folder; or, where no such folder exists, ``main@latest``, ``last-good``, ... (:meth:`History.find`)
        history: the folder or file of the history, for such names

    Raises:
        UserError: there is no such folder or run, none of its results can be read, or the run is damaged.
    """
    if not baseline.strip():
        raise UserError("the baseline is empty (an unset variable?); give a folder of results, or main@latest")
    folder = expanded(baseline, "baseline")
    if folder.exists() or not looks_like_name(baseline):
        return Baseline(load_rows(folder), baseline)
    if history is None:
        raise UserError(f"baseline={baseline}: names a run of a history; give history=PATH, its folder or file")
    archive = History(Path(history))
    run = archive.find(baseline)
    commit = f", commit {short(run.commit)}" if run.commit else ""
    rows = [Row(Path(archived.job) / "result.json", archived.parse()) for archived in archive.whole(run)]
    return Baseline(rows, f"{baseline} (run {run.id}{commit})")
