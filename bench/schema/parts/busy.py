"""What the busy pass measures: in how much of the time the GPU did something, and what."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Agreeing, Amount, Count, PositiveCount


@dataclass
class DeviceWork:
    """All runs of one kernel, or of one kind of copy: its name, milliseconds in all, and how often it ran."""

    name: str
    milliseconds: Amount
    count: Count


@dataclass
class Gap:
    """A time in which the GPU did nothing: milliseconds, and the Python function that ran longest in it.

    function: as ``file.py:line function``, without a path of this machine; None where the profiler did not tell
    """

    milliseconds: Amount
    function: str | None = None


@dataclass
class BusyResult(Agreeing):
    """The busy pass: what the GPU did in ``batches`` batches at the ``model`` boundary, by torch's profiler (CUPTI).

    plain_ms: wall time of these batches without the profiler
    profiled_ms: wall time of the same batches under the profiler, which makes launching slower
    busy_ms: in how much of the profiled time at least one kernel or copy ran: the length of the union of their times
    kernels, copies: how many ran
    most: the five kernels or kinds of copies that took most time, the longest first
    gaps: the five longest times in which nothing ran, the longest first, from calls of their own
    """

    batches: PositiveCount
    images: PositiveCount
    plain_ms: Amount
    profiled_ms: Amount
    busy_ms: Amount
    kernels: Count
    copies: Count
    most: list[DeviceWork] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def check(self) -> None:
        """See :class:`Agreeing`. The pass is stricter by a little (:mod:`bench.passes.busy`)."""
        for name, most in (("plain_ms", 1.15 * self.plain_ms), ("profiled_ms", 1.05 * self.profiled_ms)):
            if self.busy_ms > most:
                raise ValueError(f"busy.busy_ms is {self.busy_ms:g}, of {name} {getattr(self, name):g}")
