"""The runs of a history: their names, their order, and which of them may be removed. This module imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bench.errors import UserError, nearest
from bench.files.bounds import Agreeing

PASSED, FAILED = "passed", "failed"

LATEST, LAST_GOOD = "latest", "last-good"

CLOCK_TOLERANCE = timedelta(minutes=1)
"""By how much two clocks that are synchronised may differ."""

SHORT_COMMIT = 10
"""How many digits of a commit are shown."""

DIRTY = "-dirty"
"""The ending of a commit from which tracked files differed when the run was measured, as of ``git describe``."""


@dataclass(frozen=True)
class Run(Agreeing):
    """The results that one command appended.

    id: its place in the order of appending
    appended: when it was appended, by the clock of the machine that did; UTC, ISO 8601
    measured: when its last job started, by the clock of the machine that measured; UTC, ISO 8601
    machine: processor, cores and GPU, without the name of the host
    gate: ``passed``, ``failed``, or None where there was no gate
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

    def check(self) -> None:
        """See :class:`Agreeing`: the times are such, with their distance from UTC."""
        for name in ("appended", "measured"):
            text = getattr(self, name)
            if text is not None and datetime.fromisoformat(text).tzinfo is None:
                raise ValueError(f"{name}: {text!r} does not say its distance from UTC")

    @property
    def name(self) -> str:
        """A name for people: ``main@0123456789``, or ``run 3`` where the commit is unknown."""
        return f"{self.branch or ''}@{short(self.commit)}" if self.commit else f"run {self.id}"


def of_branch(runs: Sequence[Run], branch: str, where: str) -> list[Run]:
    """Return the runs of a branch; ``where`` they are from is for the message of the error.

    Raises:
        UserError: there is none; the message names the nearest branches.
    """
    of_it = [run for run in runs if run.branch == branch]
    if not of_it:
        raise UserError(
            f"{where}: no run of the branch {branch!r}; {nearest(branch, {r.branch for r in runs if r.branch})}"
        )
    return of_it


def find_run(runs: Sequence[Run], name: str, where: str) -> Run:
    """Return the newest run of a name, as :meth:`bench.history.store.History.find` does."""
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
    if of_commit := [run for run in runs if which and (run.commit or "").startswith(which.lower())]:
        return ([run for run in of_commit if not (run.commit or "").endswith(DIRTY)] or of_commit)[-1]
    known = {run.commit[: max(len(which), SHORT_COMMIT)] for run in runs if run.commit}
    raise UserError(f"{where}: no run {name!r}; {nearest(which, {*known, LATEST, LAST_GOOD})}")


def short(commit: str | None) -> str:
    """Give the first digits of a commit, and its ending where the working tree had changes; "" for None."""
    return "" if commit is None else commit[:SHORT_COMMIT] + (DIRTY if commit.endswith(DIRTY) else "")


def looks_like_name(text: str) -> bool:
    """Say whether a text names a run of a history (see :meth:`History.find`), and no folder or file that exists."""
    return bool(re.fullmatch(rf"{LATEST}|{LAST_GOOD}|.*@[A-Za-z0-9-]+", text)) and not Path(text).exists()


def clock_notes(run: Run, before: Run | None) -> list[str]:
    """Return a sentence for each way in which the clocks contradict the order of appending; none where they agree.

    Args:
        before: the run that was appended before this one
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
    """Return the runs that may be removed: not among the newest ``keep`` of their branch, and older than ``before``.

    Args:
        last_good: let the last run of each branch that passed its gate be removed too
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
