"""How large and how slow a download may be. The environment raises each limit."""

from __future__ import annotations

import math
import os
import time

from bench.errors import UserError

MAX_GB = "MASKBENCH_MAX_DOWNLOAD_GB"
MIN_KB_S = "MASKBENCH_MIN_DOWNLOAD_KB_S"

WINDOW_S = 60.0
"""Seconds over which the rate of a download is taken."""

RESERVE_BYTES = 1_000_000_000
"""Room on the disk that a download leaves to everything else."""


def max_bytes() -> int:
    """Give the most bytes of one download: 20 GB, or what the environment says.

    Raises:
        UserError: the environment says no number.
    """
    return int(_number(MAX_GB, 20.0) * 1e9)


class Pace:
    """Watches the rate of a download, over all of its connections together."""

    def __init__(self) -> None:
        self._least = _number(MIN_KB_S, 1.0) * 1e3
        self._since, self._bytes = time.monotonic(), 0

    def too_slow(self, received: int) -> str | None:
        """Count bytes that have come; say how slow the last window was where it was too slow, else None."""
        self._bytes += received
        seconds = time.monotonic() - self._since
        if seconds < WINDOW_S:
            return None
        if self._bytes < self._least * seconds:
            return f"only {self._bytes} bytes came in {seconds:.0f} s; {MIN_KB_S}=0 waits all the same"
        self._since, self._bytes = time.monotonic(), 0
        return None


def _number(name: str, usual: float) -> float:
    text = os.environ.get(name) or str(usual)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"{name}={text}: must be a number of 0 or more, as {usual:g}")
    return number
