"""The runs of a history: how they are named, in which order they are, and which of them may go. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bench.errors import UserError, nearest

PASSED, FAILED = "passed", "failed"

LATEST, LAST_GOOD = "latest", "last-good"

CLOCK_TOLERANCE = timedelta(minutes=1)
"""By how much two clocks that are kept right may differ."""

SHORT_COMMIT = 10
"""Digits of a commit that are shown."""


@dataclass(frozen=True)
class Run:
    """What one command appended.

    id: its place in the order of appending
    appended: when, by the clock of whoever appended it; measured: when its last job started, by the clock of the
        machine that measured; both UTC, ISO 8601
    machine: processor, cores and GPU, without a name of the host
    gate: ``passed``, ``failed``, or None where it was held against nothing
    models: names of the configurations, in the order of their jobs
    """

    id: int
    appended: str
    measured: str | None
    commit: str | None
    branch: str | None
    machine: str
    maskbench: str | None
    gate: str | None
    models: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a person would name it: ``main@0123456789``, or ``run 3`` of an unknown commit."""
        return f"{self.branch or ''}@{self.commit[:SHORT_COMMIT]}" if self.commit else f"run {self.id}"


def of_branch(runs: Sequence[Run], branch: str, where: str) -> list[Run]:
    """The runs of a branch; ``where`` they are from is for the error.

    Raises:
        UserError: there is none; the nearest branches that there are.
    """
    found = [run for run in runs if run.branch == branch]
    if not found:
        raise UserError(
            f"{where}: no run of the branch {branch!r}; {nearest(branch, {r.branch for r in runs if r.branch})}"
        )
    return found


def find_run(runs: Sequence[Run], name: str, where: str) -> Run:
    """The newest of the runs that a name stands for, as :meth:`bench.history.store.History.find` says."""
    branch, _, which = name.rpartition("@")
    if branch:
        runs = of_branch(runs, branch, where)
    if not runs:
        raise UserError(f"{where}: holds no run")
    if which == LATEST:
        return runs[-1]
    if which == LAST_GOOD:
        if good := [run for run in runs if run.gate == PASSED]:
            return good[-1]
        newest = f"{branch}@{LATEST}" if branch else LATEST
        raise UserError(
            f"{where}: no run{f' of {branch}' if branch else ''} passed a gate so far; {newest} is the newest"
        )
    if found := [run for run in runs if which and (run.commit or "").startswith(which.lower())]:
        return found[-1]
    known = {run.commit[: max(len(which), SHORT_COMMIT)] for run in runs if run.commit}
    raise UserError(f"{where}: no run {name!r}; {nearest(which, {*known, LATEST, LAST_GOOD})}")


def looks_like_name(text: str) -> bool:
    """Whether a text names a run of a history (see :meth:`History.find`), and not a folder or file that is there."""
    return bool(re.fullmatch(rf"{LATEST}|{LAST_GOOD}|[^@]*@[A-Za-z0-9-]+", text)) and not Path(text).exists()


def clock_notes(run: Run, before: Run | None) -> list[str]:
    """What the clocks say against the order of appending: a sentence each, none where they agree.

    before: the run appended before this one
    """
    if run.measured is None:
        return []
    notes = []
    order = "runs stay in the order of appending"
    measured = datetime.fromisoformat(run.measured)
    if measured > datetime.fromisoformat(run.appended) + CLOCK_TOLERANCE:
        notes.append(f"run {run.id} was measured at {run.measured}, later than it was appended; {order}")
    if before and before.measured and before.machine != run.machine:
        earlier = datetime.fromisoformat(before.measured)
        if measured < earlier - CLOCK_TOLERANCE:
            notes.append(
                f"run {run.id} was measured at {run.measured}, before run {before.id} ({before.measured}, on another "
                f"machine), which was appended first: late, or clocks that disagree; {order}"
            )
    return notes


def prunable(
    runs: Sequence[Run], keep: int | None = None, before: datetime | None = None, *, last_good: bool = False
) -> list[Run]:
    """The runs that may go: not among the newest ``keep`` of their branch, and appended before ``before``.

    last_good: also the last of each branch that passed a gate
    """
    kept: set[int] = set()
    for branch in {run.branch for run in runs}:
        mine = [run for run in runs if run.branch == branch]
        if keep is not None:
            kept |= {run.id for run in mine[max(len(mine) - keep, 0) :]}
        if not last_good:
            kept |= {run.id for run in [run for run in mine if run.gate == PASSED][-1:]}
    old = [run for run in runs if before is None or datetime.fromisoformat(run.appended) < before]
    return [run for run in old if run.id not in kept]
