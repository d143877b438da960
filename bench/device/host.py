"""What others do on the cores of this process while a model is timed, read between its batches.

Whether a time was disturbed is judged for intervals of at least :data:`INTERVAL_SECONDS`, and every batch has the
judgement of the interval that it ended in. Two things must be true of a disturbed interval:

- Others took more than :data:`DISTURBED_PERCENT` of the cores' time: what the cores were neither idle nor stolen, less
  the time of this process and of the processes that it has started; and the time that other virtual machines stole.
- The process had to wait: its threads stood ready to run, without a core, for more than :data:`WAITED_PERCENT` of the
  time in which they ran or stood ready (``schedstat`` of Linux). So ten busy programs on a machine of 64 cores, which
  disturb nobody, are no disturbance. Where the kernel does not tell, less than one core's time was idle. A core that
  another virtual machine has taken needs no such evidence.

The kernel counts idle time in ticks of 10 ms and tells two kinds of it, so that an interval may have seemed two ticks a
core busier than it was. These are taken off what others took before it is compared: rounding never makes a quiet
machine a disturbed one, and an interval of a few ticks counts only beside others that take nearly everything.

In a container with a quota of computing time (``cpu.max``), others in the same container count as a share of the quota.
In an interval in which the container was held down to its quota, the waiting says nothing of others outside, so these
do not count then.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.device.cores import quota_cores, usable_cores
from bench.schema.marks import DISTURBED_PERCENT, WAITED_PERCENT
from bench.schema.parts.speed import HostReadings

INTERVAL_SECONDS = 0.4
"""The shortest time between two readings: two ticks of it are half of :data:`DISTURBED_PERCENT`."""

_TICK_SECONDS = 0.01
_COSTS = 100
"""The time between two readings is at least so many times as long as a reading took, on machines of many cores too."""


@dataclass(frozen=True)
class Counters:
    """What the kernel has counted until one moment, in seconds.

    at: the moment, by the monotonic clock
    idle, busy, stolen: of all cores of this process together; ``idle`` has waiting for a disk in it
    own: processor time of this process and of those that it has started
    waited: of each thread of this process, for how long it was ready to run and had no core; None where that is unknown
    container: processor time of the container, where it has a quota, and in how many periods it was held down to it
    """

    at: float
    idle: float
    busy: float
    stolen: float
    own: float
    waited: dict[int, float] | None = None
    container: tuple[float, int] | None = None


@dataclass(frozen=True)
class Interval:
    """What others did between two readings, as shares of the cores' time from 0 to 1.

    others: what other processes and other machines took; stolen: the part of it that other machines took
    waited: share of the time in which the process ran or stood ready, in which it stood ready; None where unknown
    disturbed: whether what was timed meanwhile was disturbed
    """

    others: float
    stolen: float
    waited: float | None
    disturbed: bool


def between(before: Counters, after: Counters, cores: int, quota: float | None = None) -> Interval | None:
    """Judge the time between two readings; None where the kernel's counters do not cover it.

    They do not where it is shorter than their ticks, and on systems whose ``/proc/stat`` holds no true counters.

    cores: how many cores this process may run on
    quota: how many cores' time the container may use
    """
    wall = after.at - before.at
    whole = cores * wall
    idle, stolen = max(0.0, after.idle - before.idle), max(0.0, after.stolen - before.stolen)
    busy = max(0.0, after.busy - before.busy)
    if wall <= 0 or idle + stolen + busy < whole / 2:
        return None
    own = max(0.0, after.own - before.own)
    waited = _waited(before, after, own)
    stolen_share = _share(stolen, whole)
    others = _share(whole - idle - own, whole)  # what was stolen is neither idle nor our own
    if quota is not None and before.container and after.container:
        others_within = _share(after.container[0] - before.container[0] - own, quota * wall)
        held_down = after.container[1] > before.container[1]
        others = others_within if held_down else max(others, others_within)
    rounding = 2 * _TICK_SECONDS / wall
    bound = DISTURBED_PERCENT / 100
    had_to_wait = idle < wall if waited is None else waited > WAITED_PERCENT / 100
    disturbed = stolen_share - rounding > bound or (others - rounding > bound and had_to_wait)
    return Interval(others, stolen_share, waited, disturbed)


def _waited(before: Counters, after: Counters, own: float) -> float | None:
    if before.waited is None or after.waited is None:
        return None
    waited = sum(max(0.0, now - before.waited.get(thread, 0.0)) for thread, now in after.waited.items())
    return _share(waited, waited + own)


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


class HostWatch:
    """Reads the host between the batches of a timing, and says of each batch whether others disturbed it.

    Make it when the timing begins. Where the system tells nothing (no ``/proc`` of Linux), no batch is disturbed, and
    there are no readings.
    """

    def __init__(
        self,
        read: Callable[[], Counters | None] | None = None,
        cores: Sequence[int] | None = None,
        quota: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch; without ``read``, this process on its own cores."""
        if read is None:
            cores, quota = usable_cores() or (), quota_cores()
            read = _Reader(cores, quota)
        self._read, self._cores, self._quota, self._clock = read, list(cores or ()), quota, clock
        self._switches = _involuntary_switches()
        self._intervals: list[Interval] = []
        self._disturbed: list[bool] = []
        self._waiting = 0  # batches since the last reading
        self._last = self._take()

    def batch_ended(self) -> None:
        """Take notice of a batch; read the host if the last reading is long enough ago."""
        self._waiting += 1
        if self._last is not None and self._clock() >= self._next:
            self._judge()

    def readings(self, left_out: Sequence[bool] = (), pinned: bool = False) -> HostReadings | None:
        """End the last interval, and give all of them in the form of the result; None where nothing was told.

        left_out: for each batch, whether it is left out of the samples; such a batch is not counted
        """
        if self._waiting:
            self._judge()
        if not self._intervals:
            return None
        left_out = left_out or [False] * len(self._disturbed)
        switches = _involuntary_switches()
        return HostReadings(
            others_percent=[_percent(one.others) for one in self._intervals],
            steal_percent=[_percent(one.stolen) for one in self._intervals],
            waited_percent=[_percent(one.waited) for one in self._intervals if one.waited is not None],
            disturbed_batches=sum(one and not out for one, out in zip(self._disturbed, left_out, strict=True)),
            involuntary_switches=None if switches is None or self._switches is None else switches - self._switches,
            load_1min=load_1min(),
            cores=self._cores,
            pinned=pinned,
        )

    def _judge(self) -> None:
        before, after = self._last, self._take()
        interval = between(before, after, len(self._cores), self._quota) if before and after else None
        if interval is not None:
            self._intervals.append(interval)
        self._disturbed += [interval is not None and interval.disturbed] * self._waiting
        self._waiting, self._last = 0, after

    def _take(self) -> Counters | None:
        began = self._clock()
        counters = self._read()
        ended = self._clock()
        self._next = ended + max(INTERVAL_SECONDS, _COSTS * (ended - began))
        return counters


def _percent(share: float) -> float:
    """Give a share as a percentage, at most 100: the clocks of two counters may differ by a tick."""
    return min(100.0, round(100 * share, 1))


def load_1min() -> float | None:
    """Give the load of the machine over the last minute, as ``uptime`` does; None where the system has none."""
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def _involuntary_switches() -> int | None:
    """Give how often a thread of this process had to leave its core; None where the system does not tell."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return None


class _Reader:
    """Reads :class:`Counters` from Linux' ``/proc``; it gives None on other systems."""

    def __init__(self, cores: Sequence[int], quota: float | None) -> None:
        self._names = {b"cpu%d" % core for core in cores}
        self._quota = quota

    def __call__(self) -> Counters | None:
        try:
            idle, busy, stolen = self._cores()
            own = time.process_time() + _seconds_of_children()
        except (OSError, ValueError, IndexError):
            return None
        return Counters(time.monotonic(), idle, busy, stolen, own, _seconds_waited(), self._container())

    def _cores(self) -> tuple[float, float, float]:
        """Give the seconds of our cores that were idle, busy and stolen.

        Raises:
            ValueError: ``/proc/stat`` lacks a core, as where a container numbers them anew.
        """
        idle = busy = stolen = found = 0
        with open("/proc/stat", "rb") as file:
            for line in file:
                name, *fields = line.split()
                if name in self._names:
                    user, nice, system, free, disk, irq, soft_irq, steal = (int(field) for field in fields[:8])
                    found += 1
                    idle += free + disk
                    busy += user + nice + system + irq + soft_irq
                    stolen += steal
                elif not name.startswith(b"cpu"):
                    break
        if not found or found < len(self._names):
            raise ValueError("/proc/stat does not list the cores of this process")
        ticks = os.sysconf("SC_CLK_TCK")
        return idle / ticks, busy / ticks, stolen / ticks

    def _container(self) -> tuple[float, int] | None:
        if self._quota is None:
            return None
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = (line.split() for line in Path("/sys/fs/cgroup/cpu.stat").read_text(encoding="ascii").splitlines())
            told = {line[0]: int(line[1]) for line in lines if len(line) == 2}
            return told["usage_usec"] / 1e6, told["nr_throttled"]
        return None


def _seconds_waited() -> dict[int, float] | None:
    """Give for each thread of this process for how long it was ready to run and had no core; None where unknown."""
    waited = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
                with open(f"/proc/self/task/{name}/schedstat", "rb") as file:
                    ran, ready, _ = (int(field) for field in file.read().split()[:3])
                if ran or ready:
                    waited[int(name)] = ready / 1e9
    return waited or None


def _seconds_of_children() -> float:
    """Give the processor time of all processes that this one has started, of those that have ended too.

    Kernels without ``task/*/children`` (CONFIG_PROC_CHILDREN) tell only of those that have ended.
    """
    ended = os.times()
    ticks, total = os.sysconf("SC_CLK_TCK"), ended.children_user + ended.children_system
    families = [os.getpid()]
    while families:
        for child in _children(families.pop()):
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{child}/stat", "rb") as file:
                # The second field is the name of the program in brackets, and may hold anything.
                fields = file.read().rpartition(b")")[2].split()
                total += sum(int(field) for field in fields[11:15]) / ticks
                families.append(child)
    return total


def _children(process: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{process}/task/{thread}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    return found
