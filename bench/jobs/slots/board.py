"""Who of the slots is at work: it says of a timing what its neighbours did meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from bench.schema.parts.speed import Neighbours
from bench.schema.result import read_result, write_result

_TIMED_PART = "speed"
"""The part of a worker's time in which the samples of a round are taken."""


class Board:
    """When each of several slots was at work. Threads may use it at once."""

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._worked: list[list[tuple[float, float | None]]] = [[] for _ in range(slots)]

    @contextlib.contextmanager
    def at_work(self, place: int) -> Iterator[None]:
        """Count a slot, given by its place, as at work for the ``with`` block."""
        with self._lock:
            self._worked[place].append((self._clock(), None))
        try:
            yield
        finally:
            with self._lock:
                began, _ = self._worked[place][-1]
                self._worked[place][-1] = began, self._clock()

    def neighbours(self, place: int, began: float, ended: float) -> Neighbours:
        """Say what the other slots did from one moment of the clock to a later one."""
        with self._lock:
            others = [
                (max(begin, began), min(ended if end is None else end, ended))
                for other, spans in enumerate(self._worked)
                if other != place
                for begin, end in spans
            ]
        spans = [(begin, end) for begin, end in others if end > begin]
        whole = ended - began
        marks = sorted({moment for span in spans for moment in span})
        # Between two moments at which a slot began or ended, the same slots are at work.
        covered = sum(
            later - earlier
            for earlier, later in pairwise(marks)
            if any(begin <= earlier and later <= end for begin, end in spans)
        )
        total = sum(end - begin for begin, end in spans)
        share = min(1.0, covered / whole) if whole > 0 else 0.0
        return Neighbours(len(self._worked) - 1, round(100 * share, 1), round(total / whole, 2) if whole > 0 else 0.0)


class Timing:
    """Notes when a round was timed, by what its worker says that it does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._last: tuple[float, float] | None = None

    def on_part(self, part: str) -> None:
        """Take the part of its work that a worker begins."""
        now = self._clock()
        if self._began is not None:
            # The pass has this name too, so its own preparations come first, and its samples last.
            self._last, self._began = (self._began, now), None
        if part == _TIMED_PART:
            self._began = now

    def taken(self) -> tuple[float, float] | None:
        """Give the begin and the end of the last timing, once."""
        last, self._last = self._last, None
        return last


def rounds_in(result_path: Path) -> int:
    """Give the number of timed rounds in a result; 0 where there is none."""
    if not result_path.exists():
        return 0
    speed = read_result(result_path).speed
    return len(speed.rounds) if speed else 0


def record_neighbours(result_path: Path, rounds_before: int, neighbours: Neighbours) -> None:
    """Write into the round that a result has gained what the neighbours did; a result without a new one stays."""
    if rounds_in(result_path) > rounds_before:
        result = read_result(result_path)
        assert result.speed is not None
        result.speed.rounds[-1].neighbours = neighbours
        write_result(result, result_path)
