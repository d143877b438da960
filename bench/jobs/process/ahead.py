"""Starts the first worker of a study's next row while the row before it times nothing any more."""

from __future__ import annotations

import contextlib
from types import TracebackType

from bench.jobs.job import PlannedJob
from bench.jobs.launcher import Launcher, Worker


class AheadLauncher:
    """A launcher whose next worker may have been started already: it has imported its libraries and read the data
    set, and waits.

    At most one worker is started ahead. At the end of the ``with`` block it has ended, also where nobody asked for it.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._waiting: tuple[PlannedJob, str, Worker] | None = None

    def __enter__(self) -> AheadLauncher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_waiting()

    def prepare(self, job: PlannedJob, phase: str) -> None:
        """Start a worker ahead; where that fails it is not told, since starting it in its turn will fail again."""
        self._end_waiting()
        with contextlib.suppress(OSError):
            job.folder.mkdir(parents=True, exist_ok=True)
            self._waiting = job, phase, self._launcher.start(job, phase)

    def start(self, job: PlannedJob, phase: str) -> Worker:
        """See :class:`bench.jobs.launcher.Launcher`."""
        if self._waiting is not None and self._waiting[:2] == (job, phase):
            worker, self._waiting = self._waiting[2], None
            return worker
        # Another one starts: the row is not the one that was expected, and the cores are for it alone.
        self._end_waiting()
        return self._launcher.start(job, phase)

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            worker, self._waiting = self._waiting[2], None
            worker.__exit__(None, None, None)
