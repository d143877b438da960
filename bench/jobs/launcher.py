"""The interface of a place that runs jobs: it starts workers, talks to them, and always ends them.

:mod:`bench.jobs.local` runs them on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from bench.jobs.job import PlannedJob
from bench.jobs.messages import Complete, Progress, Ready

TRAIN, ROUNDS = "train", "rounds"
"""The phases of a job that are no list of passes: a training; rounds of speed, each timed when it is asked for."""

OnProgress = Callable[[Progress], None]

OnUntimed = Callable[[], None]
"""Is called when a worker will time nothing any more, so that another one may start beside it."""


@dataclass(frozen=True)
class Ending:
    """How a worker ended.

    complete: whether the worker said that all its work is done
    status, reason: for the result, where the worker was killed or died; None where the worker ended by itself and its
        own result stands
    note: a note for a complete result; "" for none
    """

    complete: bool
    status: str | None = None
    reason: str | None = None
    note: str = ""


class Worker(Protocol):
    """One worker process of a job. At the end of the ``with`` block the process has ended, also after an exception."""

    def __enter__(self) -> Worker: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def complete(self) -> bool:
        """Whether the worker has said that all its work is done, also where it has not ended yet."""

    def tell(self, line: str) -> None:
        """Send a line to the worker; a worker that has died ignores it.

        The first line lets it begin, whatever the text. In the phase :data:`ROUNDS` each further line asks for a round:
        the text is the number of batches, or empty for as many as the protocol asks for.
        """

    def tell_no_more(self) -> None:
        """Tell the worker that there are no more rounds, so that it completes its work."""

    def interrupt(self) -> None:
        """Have the thread that listens raise KeyboardInterrupt, at once or when it begins to listen.

        Ctrl-C alone reaches only the main thread.
        """

    @property
    def seconds_by_part(self) -> dict[str, float]:
        """Give the parts of the time in which the worker was listened to, by what it said that it did."""

    def listen(
        self, until: type[Ready] | type[Complete], on_progress: OnProgress, on_untimed: OnUntimed = lambda: None
    ) -> Ending | None:
        """Pass the worker's progress on until it sends :class:`Ready`, or until it has ended.

        A worker that takes more time or memory than the protocol allows is killed.

        until: the message that is expected; with :class:`Complete` this waits for the end of the process
        on_untimed: is called at most once
        Gives None when the worker is ready; else how it ended.

        Raises:
            KeyboardInterrupt: after the worker has been asked to stop and has ended; a worker that had completed its
                work has not been disturbed.
        """


class Launcher(Protocol):
    """Starts workers in some place."""

    def start(self, job: PlannedJob, phase: str) -> Worker:
        """Start a worker for a phase of a job: :data:`TRAIN`, :data:`ROUNDS`, the names of passes with commas between
        them, or one of :mod:`bench.jobs.shards.phase`.

        The worker imports what the model needs and reads the data set. Then it waits for its first line before it
        touches the model or a device.
        """
