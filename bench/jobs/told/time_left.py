"""The time that a study still takes, from what its jobs took so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Estimates the seconds that are left from the share of the work that is done.

    The estimate is the mean over the whole study: passes differ too much for a speed of the last half minute. Jobs that
    had been measured before took no time, so they say nothing of it.

    clock: gives seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._before = 0

    def begin(self) -> None:
        """Say that work is done from now on; a second call changes nothing."""
        if self._began is None:
            self._began = self._clock()

    def measured_before(self) -> None:
        """Count a job that took no time."""
        self._before += 1

    def seconds(self, done: float, total: float) -> float | None:
        """Give the seconds that are left; None while nothing can be said.

        done, total: jobs, those that took no time included; a part of a job counts as that part
        """
        worked = done - self._before
        if self._began is None or worked <= 0:
            return None
        return max(0.0, total - done) * (self._clock() - self._began) / worked


def time_text(seconds: float | None) -> str:
    """Write a time that is left as people say it: ``40 s``, ``12 min``, ``3 h 05 min``; "" for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
