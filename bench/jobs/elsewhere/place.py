"""The interface of a cluster, and what every command that runs jobs on one does alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from bench.jobs.elsewhere.asked import Asked, Order
from bench.jobs.elsewhere.node import Planned
from bench.jobs.job import Failure, PlannedJob, read_stored
from bench.jobs.local import LocalLauncher
from bench.jobs.run_job import run_job
from bench.schema.result import UNFINISHED, Result, write_result

OnEnd = Callable[[Order, str], None]
"""Takes a job that has ended, whose result is on disk here, and the node that it was on, as a person knows it."""

OnCounts = Callable[[int, int], None]
"""Takes how many jobs run and how many wait."""


class Place(Protocol):
    """A cluster, within the ``with`` block of a command."""

    def __enter__(self) -> Place: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def plan(self, asked: Asked) -> tuple[Planned, str]:
        """Have one node plan the jobs; give what it planned, and its name for a person.

        Raises:
            UserError: a job is refused, or the cluster cannot be had.
        """

    def run(self, orders: Sequence[Order], on_end: OnEnd, on_counts: OnCounts) -> None:
        """Run the jobs; return when each has ended, with its result on disk here.

        Raises:
            KeyboardInterrupt: what was measured until then is on disk.
        """

    @property
    def on_interrupt(self) -> str:
        """What became of the jobs after Ctrl-C, in words."""


def record_unable(job: PlannedJob) -> Result:
    """Write the result of a job that cannot run, beside what was measured of it before; give it."""
    return run_job(job, [], LocalLauncher(), lambda _: None)


def record_lost(job: PlannedJob, reason: str) -> Result:
    """Write that a job ended without a word, where its result does not say how it ended; give the result.

    What was measured of it stays.
    """
    stored = read_stored(job)
    if stored is not None and stored.reason != UNFINISHED:
        return stored
    if stored is None:
        return record_unable(replace(job, failure=Failure("crashed", reason)))
    stored.status, stored.reason = "crashed", reason
    write_result(stored, job.result_path)
    return stored
