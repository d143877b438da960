"""What a GPU did, from the events of a profiler: how long it was busy, with what, and what it waited for.

Pure functions on plain data; times are microseconds of one clock, intervals are half open. :mod:`bench.device.trace`
reads the events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.schema.parts.busy import DeviceWork, Gap

LONGEST = 5
"""How many kernels and gaps a result names."""

_MOST_OF_IT = 0.5
"""A function explains a gap where it ran for a larger share of it."""

_LONGEST_NAME = 80

_IN_C = re.compile(r"<(?!.*:\d+ ).*>", re.DOTALL)
"""A function in C has no line, and is told as Python shows it."""

_NAME_IN_C = re.compile(
    r"<(?:built-in (?:method|function)|method-wrapper|slot wrapper|method) '?(\S+?)'?(?: of .*)?>", re.DOTALL
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PYTHON = re.compile(r"(?P<file>.*)\((?P<line>\d+)\): (?P<name>.*)", re.DOTALL)
_INSTALLED = re.compile(r".*/(?:site|dist)-packages/", re.DOTALL)
_CUTLASS = re.compile(r"cutlass\w*::(?:Kernel\d*|device_kernel)")
"""Names that say nothing: what runs is the first argument of their template."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class DeviceEvent:
    """One run of a kernel, of a copy or of a fill (``set``) on a stream of the GPU."""

    name: str
    kind: Literal["kernel", "copy", "set"]
    start_us: float
    end_us: float
    stream: int = 0


@dataclass(frozen=True)
class HostEvent:
    """One call of a Python function: ``file.py:line name``, or of a function in C: ``<built-in function name>``."""

    function: str
    start_us: float
    end_us: float


def busy_intervals(events: Iterable[DeviceEvent]) -> list[Interval]:
    """Give the union of the events' times, over all streams: intervals that do not touch, in the order of time."""
    union: list[Interval] = []
    for start, end in sorted((event.start_us, event.end_us) for event in events):
        if union and start <= union[-1][1]:
            union[-1] = union[-1][0], max(union[-1][1], end)
        elif end > start:
            union.append((start, end))
    return union


def busy_ms(events: Iterable[DeviceEvent]) -> float:
    """Give for how many milliseconds at least one event ran."""
    return sum(end - start for start, end in busy_intervals(events)) / 1000


def most_work(events: Iterable[DeviceEvent], count: int = LONGEST) -> list[DeviceWork]:
    """Give the kernels and the kinds of copies that took most time, the longest first.

    Kernels that differ in the arguments of their templates alone count as one. Their times may overlap, on streams.
    """
    times_us: dict[str, list[float]] = {}
    for event in events:
        name = short_kernel(event.name) if event.kind == "kernel" else event.name
        times_us.setdefault(name, []).append(event.end_us - event.start_us)
    work = [DeviceWork(name, sum(times) / 1000, len(times)) for name, times in times_us.items()]
    return sorted(work, key=lambda one: (-one.milliseconds, one.name))[:count]


def longest_gaps(
    events: Iterable[DeviceEvent], calls: Sequence[HostEvent], window: Interval, count: int = LONGEST
) -> list[Gap]:
    """Give the longest times in the window in which nothing ran, each with the function that the host was in.

    The time before the first event and the time after the last one count too.
    """
    gaps: list[Interval] = []
    at, end_of_all = window
    for start, end in busy_intervals(events):
        if min(start, end_of_all) > at:
            gaps.append((at, min(start, end_of_all)))
        at = max(at, end)
    if end_of_all > at:
        gaps.append((at, end_of_all))
    gaps.sort(key=lambda gap: (gap[0] - gap[1], gap[0]))
    return [Gap((end - start) / 1000, function_in(calls, (start, end))) for start, end in gaps[:count]]


def function_in(calls: Sequence[HostEvent], gap: Interval) -> str | None:
    """Name the innermost Python function that ran for most of a gap; None where none did.

    Where it spent most of the gap in a function in C, that one is named too: ``file.py:line name, in nonzero``.
    """
    least = _MOST_OF_IT * (gap[1] - gap[0])
    there = [call for call in calls if min(call.end_us, gap[1]) - max(call.start_us, gap[0]) > least]
    # Of calls within one another the innermost is the shortest; of equally long ones the later began inside.
    there.sort(key=lambda call: (call.end_us - call.start_us, -call.start_us))
    python = [call.function for call in there if not _IN_C.fullmatch(call.function)]
    if not python:
        return None
    in_c = _NAME_IN_C.fullmatch(there[0].function)
    return f"{python[0]}, in {in_c[1]}" if in_c else python[0]


def python_function(name: str) -> str:
    """Give a function of the profiler as ``file.py:line name``, without a path of this machine or an address.

    Of an installed module the path within its package is left: ``torch/nn/functional.py:5 relu``.
    """
    found = _PYTHON.fullmatch(name)
    if found is None:
        return _ADDRESS.sub("", name)
    file = _INSTALLED.sub("", found["file"].replace("\\", "/"))
    if file.startswith(("/", "..")) or ":" in file:
        file = file.rpartition("/")[2]
    return f"{file}:{found['line']} {found['name']}"


def short_kernel(name: str) -> str:
    """Give a kernel's name without its type, its template's arguments and its parameters.

    ``void at::native::elementwise_kernel<128, 4, ...>(int, ...)`` is ``at::native::elementwise_kernel``.
    """
    name = name.replace("(anonymous namespace)", "anonymous")
    words = _outside_brackets(name).split()
    short = words[-1] if words else name
    if _CUTLASS.fullmatch(short) and "<" in name:
        short = short_kernel(name.partition("<")[2].partition(",")[0])
    return short if len(short) <= _LONGEST_NAME else f"{short[: _LONGEST_NAME - 1]}…"


def _outside_brackets(name: str) -> str:
    """Give what of a C++ name stands in no angle bracket and before its parameters."""
    depth, parentheses, kept = 0, 0, ""
    for char in name:
        if char == "(" and depth == 0:
            break
        if char in "()":
            parentheses += 1 if char == "(" else -1
        elif parentheses > 0:
            continue  # of a template's argument: what looks like a bracket there may be "less than"
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == "<":
            depth += 1
        elif depth == 0:
            kept += char
    return kept
