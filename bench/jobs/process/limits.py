"""The limits of a process: time from now on, and host memory of the process with all that it has started."""

from __future__ import annotations

import contextlib
import math
import time

import psutil

TICK_SECONDS = 0.5


class Limits:
    """Tells when a process has passed a limit and must be killed.

    seconds, key: how long it may take, None for as long as it likes; and the key of the configuration that says so
    gb: most host memory, None for any
    """

    def __init__(self, seconds: float | None, key: str, gb: float | None) -> None:
        self._seconds, self._key, self._gb = seconds, key, gb
        self._deadline = time.monotonic() + seconds if seconds else math.inf
        self._next_look = 0.0

    def exceeded(self, pid: int) -> tuple[str, str] | None:
        """Give status and reason where the process has passed a limit, else None.

        The memory is read twice a second, however often this is called.
        """
        now = time.monotonic()
        if now > self._deadline:
            return "timeout", f"not done after {self._seconds:g} s ({self._key})"
        if self._gb is None or now < self._next_look:
            return None
        self._next_look = now + 0.9 * TICK_SECONDS
        used, processes = _resident(pid)
        if used / 1e9 > self._gb:
            shared = f" in {processes} processes" if processes > 1 else ""
            return "out_of_memory", (
                f"used {used / 1e9:.2f} GB of host memory{shared}, the limit is {self._gb:g} GB "
                f"(protocol.memory_limit_gb)"
            )
        return None


def _resident(pid: int) -> tuple[int, int]:
    """Give the resident memory, in bytes, of a process with its descendants, and their number; 0 when it has ended."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):  # it has just ended
            total += member.memory_info().rss
    return total, len(family)
