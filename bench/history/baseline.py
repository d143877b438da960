"""What a gate holds results against: a folder of results, or a run of the history by its name. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.gate.rows import Baseline, load_rows
from bench.history.runs import looks_like_name
from bench.history.store import History
from bench.schema.row import Row


def find_baseline(baseline: str, history: str | None) -> Baseline:
    """The rows that a baseline's name stands for.

    baseline: a folder, or where there is none of that name, ``main@latest``, ``last-good``, ... (:meth:`History.find`)
    history: the folder or file of the history, for such names

    Raises:
        UserError: no such folder or run, no result in it, or one that cannot be read.
    """
    folder = Path(baseline).expanduser()
    if folder.exists() or not looks_like_name(baseline):
        return Baseline(load_rows(folder), baseline)
    if history is None:
        raise UserError(f"baseline={baseline}: names a run of a history; give history=, its folder or file")
    kept = History(Path(history))
    run = kept.find(baseline)
    commit = f", commit {run.commit[:10]}" if run.commit else ""
    rows = [Row(Path(stored.job) / "result.json", stored.parse()) for stored in kept.results(run)]
    return Baseline(rows, f"{baseline} (run {run.id}{commit})")
