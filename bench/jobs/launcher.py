"""What a place that runs jobs must give: workers that are started, told what to do, listened to, and always ended.

:mod:`bench.jobs.local` is the one that runs them on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from bench.jobs.job import PlannedJob
from bench.jobs.messages import Complete, Progress, Ready

TRAIN, ROUNDS = "train", "rounds"
"""Phases of a job beside those that measure passes: a training; and rounds of speed, each when it is asked for."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Ending:
    """How a worker ended.

    complete: it said that all it was started for is done
    status, reason: for the result of a worker that had to be ended, or that died; None where the worker ended by itself
        and its own result stands
    note: what a reader of a result that is complete should know; "" where there is nothing
    """

    complete: bool
    status: str | None = None
    reason: str | None = None
    note: str = ""


class Worker(Protocol):
    """One worker process of a job, wherever it runs. At the end of the ``with`` block it is gone, whatever happened."""

    def __enter__(self) -> Worker: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def tell(self, line: str) -> None:
        """Send it a line: any line lets it begin; in the phase :data:`ROUNDS` each further one asks for a round, of so
        many batches, or of as many as the protocol wants where the line is empty. One that has died does not mind."""

    def tell_no_more(self) -> None:
        """There are no more rounds: it shall complete its work."""

    def listen(self, until: type[Ready] | type[Complete], on_progress: OnProgress) -> Ending | None:
        """Pass its progress on until it says so, and after :class:`Complete` until it has ended. It is ended when it
        takes more time or memory than the protocol allows.

        Gives None when it is :class:`Ready`; else how it ended.

        Raises:
            KeyboardInterrupt: after the worker has been asked to stop and has ended.
        """


class Launcher(Protocol):
    """Starts workers in some place."""

    def start(self, job: PlannedJob, phase: str) -> Worker:
        """Start a worker for a phase of a job: :data:`TRAIN`, :data:`ROUNDS`, or the names of passes with commas
        between them. It imports what the model needs, and then waits for its first line before it touches the model or
        a device."""
