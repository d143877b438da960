"""Divides the time of a worker among what the worker says that it does."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.schema.result import ALL_SECONDS_PARTS


class Parts:
    """A stopwatch for each part of a worker's time; it runs only while somebody listens to the worker.

    What a worker did beside the one before it therefore takes no time: the row did not wait for it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._doing = "start"
        self._since: float | None = None

    def listen(self) -> None:
        """Let the time run."""
        self._since = self._clock()

    def begin(self, part: str) -> None:
        """Count what follows as another part.

        Raises:
            ValueError: there is no such part.
        """
        if part not in ALL_SECONDS_PARTS:
            raise ValueError(f"no part of a worker's time: {part:.40}")
        self._count()
        self._doing = part

    def stop(self) -> None:
        """Let the time stand."""
        self._count()
        self._since = None

    @property
    def seconds(self) -> dict[str, float]:
        """Give the seconds of each part so far."""
        self._count()
        return dict(self._seconds)

    def _count(self) -> None:
        if self._since is not None:
            now = self._clock()
            self._seconds[self._doing] = self._seconds.get(self._doing, 0.0) + now - self._since
            self._since = now
