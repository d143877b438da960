"""Where the shards of a row run, and how many there are: what knows of several slots takes the place of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.jobs.job import PlannedJob
from bench.jobs.launcher import Launcher
from bench.schema.config import AUTO


class Places(Protocol):
    """Where the shards of a row may run."""

    def idle(self) -> int:
        """Give how many workers of one row may run at once now, 1 at least; it is the number of ``auto`` shards."""

    def launchers(self, shards: int) -> Sequence[Launcher]:
        """Give a launcher for each worker that is at work at the same time, 1 to ``shards``.

        Each is used by a thread of its own, which starts one worker after the other.
        """


@dataclass(frozen=True)
class OnePlace:
    """The place of the row itself: all its shards run at once, on the row's own device and cores."""

    launcher: Launcher

    def idle(self) -> int:
        """See :class:`Places`."""
        return 1

    def launchers(self, shards: int) -> Sequence[Launcher]:
        """See :class:`Places`."""
        return [self.launcher] * shards


def shards_of(job: PlannedJob, places: Places) -> int:
    """Give the number of shards of a row's accuracy; 1 where it is not divided.

    Results that are replayed are not divided: nothing of them takes long but reading their one file.
    """
    asked = job.config.accuracy.shards
    if asked is None or job.replays or "accuracy" not in job.config.passes:
        return 1
    if asked != AUTO:
        return int(asked)
    return max(1, min(places.idle(), job.batches or 1))
