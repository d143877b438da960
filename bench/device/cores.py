"""The cores that this process may run on, and how a pinned worker (``protocol.pin``) and the others share them.

A pinned worker has all physical cores but the first, with both threads of each where a core has two. The first is for
the other processes of maskbench, and for what the system does there: the command with its progress, the worker that
imports libraries for the next phase, and processes beside the model. This module needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

OWN, OTHERS = "MASKBENCH_OWN_CORES", "MASKBENCH_OTHER_CORES"
"""Variables of the environment: the command tells a pinned worker its cores, and that one tells the processes that it
starts which cores are left to them. Their values are numbers with commas between them."""

_CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Split:
    """The cores of a pinned worker, by their numbers, and those of all others.

    physical: how many physical cores the worker's are
    """

    own: tuple[int, ...]
    others: tuple[int, ...]
    physical: int


def usable_cores() -> list[int] | None:
    """Give the numbers of the cores that this process may run on; None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def cores_of_command() -> list[int] | None:
    """Give the cores that the whole command may run on: in a pinned worker, its own and those that it leaves."""
    own = usable_cores()
    return own if own is None else sorted({*own, *(_told(OTHERS) or ())})


def quota_cores() -> float | None:
    """Give how many cores' time the container may use; None without such a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    return None


def split(cores: Sequence[int] | None = None, quota: float | None = None) -> Split:
    """Divide the cores of this process between a pinned worker and the others.

    cores, quota: as :func:`usable_cores` and :func:`quota_cores` give them

    The worker has no more physical cores than the container has computing time, a core for the others taken off.

    Raises:
        UserError: the system cannot pin, or there are fewer than two physical cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("protocol.pin=true: this system cannot keep a process on cores; give protocol.pin=false")
    first, *rest = physical_cores(usable_cores() or [0] if cores is None else cores)
    quota = quota_cores() if quota is None else quota
    if quota is not None:
        rest = rest[: max(0, int(quota) - 1)]
    if not rest:
        may = "process may use one" if quota is None or quota >= 2 else f"container has computing time for {quota:g}"
        raise UserError(
            "protocol.pin=true: needs two physical cores or more, one for the worker and one for all others, and this "
            f"{may}; give protocol.pin=false"
        )
    own = [core for group in rest for core in group]
    return Split(tuple(own), tuple(first), len(rest))


def physical_cores(cores: Sequence[int]) -> list[tuple[int, ...]]:
    """Group cores by the physical core that they belong to; a core of which the system tells nothing stands alone."""
    groups: dict[str, list[int]] = {}
    for core in sorted(cores):
        siblings = f"alone {core}"
        with contextlib.suppress(OSError):
            siblings = (_CPUS / f"cpu{core}/topology/thread_siblings_list").read_text(encoding="ascii").strip()
        groups.setdefault(siblings, []).append(core)
    return [tuple(group) for group in groups.values()]


def ranges(numbers: Sequence[int]) -> str:
    """Write numbers as ``0-3,8``."""
    texts: list[str] = []
    ordered = sorted(numbers)
    for place, number in enumerate(ordered):
        if place and number == ordered[place - 1] + 1:
            texts[-1] = f"{texts[-1].partition('-')[0]}-{number}"
        else:
            texts.append(str(number))
    return ",".join(texts)


def pin_worker() -> int:
    """Keep this process on the cores of a pinned worker; give the number of threads that fit on them.

    The processes that it starts inherit its cores, unless they call :func:`leave_cores_to_worker`.

    Raises:
        UserError: see :func:`split`.
    """
    told = _told(OWN)
    if told is None:
        parts = split()
        own, others = parts.own, parts.others
    else:
        own, others = told, tuple(usable_cores() or ())
    _move(own)
    os.environ[OTHERS] = _written(tuple(core for core in others if core not in own) or others)
    return len(physical_cores(own))


def leave_cores_to_worker() -> None:
    """Keep this process off the cores of the pinned worker that has started it; without such a worker do nothing.

    A process that works beside a model calls it first: a loader of images, an evaluation.
    """
    if others := _told(OTHERS):
        with contextlib.suppress(OSError):  # cores may be taken from a container meanwhile
            _move(others)


def is_pinned() -> bool:
    """Whether this process is a pinned worker."""
    return OTHERS in os.environ


class Reserve:
    """Keeps this process off the cores of its pinned workers as long as there are any.

    What it starts in this time inherits that, a worker too, which goes to its own cores when it begins.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # shards are started by threads of their own
        self._workers = 0
        self._before: tuple[int, ...] = ()

    @contextlib.contextmanager
    def of_worker(self) -> Iterator[dict[str, str]]:
        """Leave the cores for the ``with`` block; give the variables of the worker's environment.

        Raises:
            UserError: see :func:`split`.
        """
        with self._lock:
            if not self._workers:
                self._before = tuple(usable_cores() or ())
            parts = split(self._before)
            self._workers += 1
            _move(parts.others)
        try:
            yield {OWN: _written(parts.own)}
        finally:
            with self._lock:
                self._workers -= 1
                if not self._workers:
                    _move(self._before)


def _move(cores: Sequence[int]) -> None:
    """Move every thread of this process to these cores."""
    os.sched_setaffinity(0, cores)
    with contextlib.suppress(FileNotFoundError):  # no /proc: the threads that are started from now on inherit it
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread), cores)


def _written(cores: Sequence[int]) -> str:
    return ",".join(str(core) for core in cores)


def _told(variable: str) -> tuple[int, ...] | None:
    told = os.environ.get(variable)
    return tuple(int(core) for core in told.split(",")) if told else None
