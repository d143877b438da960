"""Runs a call under torch's profiler and reads what it saw, as the events of :mod:`bench.device.busy`.

The trace is read in the form of a file that torch writes for ``chrome://tracing``. Of all that torch gives, this form
alone names the kind of every event in each version from 2.4 on. The objects of ``kineto_results.events()`` say it only
in new versions, and what mirrors a ``record_function`` on the GPU looks there like a kernel that never pauses.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch.profiler import ProfilerActivity, profile, record_function

from bench.device.busy import DeviceEvent, HostEvent, Interval, python_function

WINDOW = "maskbench: one batch"
"""The name of the range around the call; with Python functions the trace tells when it began and ended."""

UNSEEN = 0.02
"""A trace that lacks a larger share of the work that was launched is cut: a full buffer loses events."""

_KINDS: Mapping[str, Literal["kernel", "copy", "set"]] = {"kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "set"}
"""Kinds of events in which the GPU works. ``gpu_user_annotation`` is none: it spans gaps. Nor is ``overhead``."""

_LAUNCH = re.compile(r"Launch(?:Cooperative)?Kernel|GraphLaunch|^(?:cuda|cu|hip)Mem(?:cpy|set)")
_RUNTIMES = ("cuda_runtime", "cuda_driver", "hip_runtime")


@dataclass(frozen=True)
class Trace:
    """What the profiler saw of one call.

    device, calls: the events of the GPU, and the calls of Python functions in the thread of the call
    window: when the call began and ended. Without Python functions the trace does not tell it: then it is from the
        first call of CUDA or work of the GPU to the last, and a call that begins and ends by waiting for the GPU is
        whole in it; None where there is neither
    launches, unseen: how many kernels, graphs, copies and fills were launched, and of how many the GPU's work is not in
        the trace
    """

    device: list[DeviceEvent]
    calls: list[HostEvent]
    window: Interval | None
    launches: int
    unseen: int

    @property
    def why_unfit(self) -> str:
        """Say why the trace does not tell what the GPU did; "" where it does."""
        if not self.device:
            return "torch's profiler saw no work of the GPU, as where its driver refuses CUPTI to a container"
        if self.unseen > UNSEEN * self.launches:
            return f"torch's profiler lost the work of {self.unseen} of {self.launches} launches"
        return ""


def profiled(call: Callable[[], object], *, python: bool = False) -> Trace:
    """Run a call under the profiler and give what it saw.

    python: also record Python functions, which slows the host much

    Raises:
        Exception: of any kind, where the profiler fails.
    """
    return read_trace(_recorded(call, python))


def python_calls(call: Callable[[], object], most: int) -> int:
    """Run a call and count the functions that its thread calls in Python and C, up to one more than ``most``.

    The profiler takes about 3 kB and 60 microseconds for each of them, this count less than a microsecond.
    """
    count, before = 0, sys.getprofile()

    def counts(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")
        if count > most:
            sys.setprofile(before)

    sys.setprofile(counts)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def _recorded(call: Callable[[], object], python: bool) -> dict[str, Any]:
    """Run a call under the profiler and give its trace as torch writes it."""
    # Ending CUPTI between two traces has crashed programs with CUDA graphs (pytorch 144455, kineto 1554).
    os.environ.setdefault("TEARDOWN_CUPTI", "0")
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if python else [ProfilerActivity.CUDA]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=activities, with_stack=python) as profiler, record_function(WINDOW):
            call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        trace: dict[str, Any] = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    return trace


def read_trace(trace: Mapping[str, Any]) -> Trace:
    """Read the events of a trace in Chrome's format.

    Raises:
        KeyError, TypeError, ValueError: it is no such trace, or an event of the GPU has no time.
    """
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    device, seen, launched = [], set(), []
    times: list[float] = []
    for event in events:
        category, arguments = event.get("cat"), event.get("args", {})
        if category in _KINDS:
            start, end = _times(event)
            stream = arguments.get("stream", 0)
            device.append(DeviceEvent(event["name"], _KINDS[category], start, end, stream))
            times += start, end
            seen.add(arguments.get("correlation"))
        elif category in _RUNTIMES:
            times += _times(event)
            if _LAUNCH.search(event["name"]):
                launched.append(arguments.get("correlation"))
    window = next((one for one in events if one.get("cat") == "user_annotation" and one["name"] == WINDOW), None)
    unseen = sum(correlation not in seen for correlation in launched)
    calls = _calls(events, window["tid"]) if window else []
    told = (min(times), max(times)) if times else None
    return Trace(device, calls, _times(window) if window else told, len(launched), unseen)


def _calls(events: list[Any], thread: Any) -> list[HostEvent]:
    """Give the calls of Python functions in a thread; those of modules repeat the call of their function."""
    return [
        HostEvent(python_function(event["name"]), *_times(event))
        for event in events
        if event.get("cat") == "python_function"
        and event.get("tid") == thread
        and not event["name"].startswith("nn.Module:")
    ]


def _times(event: Mapping[str, Any]) -> Interval:
    start, length = float(event["ts"]), float(event["dur"])
    if not length >= 0:
        raise ValueError(f"an event of {length} microseconds")
    return start, start + length
