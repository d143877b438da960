"""Test how a trace of torch's profiler is read: what on it is the GPU's work, and whether any of it is lost."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
import torch

from bench.device import trace as traces
from bench.device.busy import DeviceEvent, HostEvent, busy_ms
from bench.device.trace import WINDOW, python_calls, read_trace


def event(category: str, name: str, start: float, length: float, correlation: int | None = None, **more: Any) -> Any:
    arguments = {"stream": 7} | ({} if correlation is None else {"correlation": correlation})
    return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": length, "args": arguments, "tid": 1} | more


def a_trace(*events: Any) -> dict[str, Any]:
    return {"schemaVersion": 1, "traceEvents": [{"ph": "M", "name": "process_name", "args": {}}, *events]}


LAUNCHED = (
    event("cuda_runtime", "cudaLaunchKernel", 90, 5, 1),
    event("cuda_driver", "cuLaunchKernelEx", 290, 5, 2),
    event("cuda_runtime", "cudaMemcpyAsync", 500, 5, 3),
    event("kernel", "k1", 100, 50, 1),
    event("kernel", "k2", 300, 100, 2),
    event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 510, 20, 3),
    event("gpu_memset", "Memset (Device)", 540, 10, 4),
)


def test_kernels_copies_and_fills_are_the_work_of_the_gpu() -> None:
    seen = read_trace(a_trace(*LAUNCHED))
    assert seen.device == [
        DeviceEvent("k1", "kernel", 100, 150, 7),
        DeviceEvent("k2", "kernel", 300, 400, 7),
        DeviceEvent("Memcpy DtoH (Device -> Pageable)", "copy", 510, 530, 7),
        DeviceEvent("Memset (Device)", "set", 540, 550, 7),
    ]
    assert (seen.launches, seen.unseen, seen.window, seen.calls, seen.why_unfit) == (3, 0, (90, 550), [], "")


def test_what_only_mirrors_or_waits_is_not_the_work_of_the_gpu() -> None:
    others = (
        event("gpu_user_annotation", WINDOW, 0, 1000),  # spans every gap: counted, all rows would be 100 % busy
        event("user_annotation", "other", 0, 1000),
        event("overhead", "Activity Buffer Request", 0, 1000),
        event("cuda_sync", "Stream Wait Event", 0, 1000),
        event("cpu_op", "aten::add", 0, 1000),
        event("Trace", "PyTorch Profiler (0)", 0, 1000),
        {"ph": "s", "cat": "ac2g", "name": "ac2g", "ts": 1, "id": 1},
    )
    assert busy_ms(read_trace(a_trace(*LAUNCHED, *others)).device) == 0.18


def test_a_trace_without_the_gpu_says_so() -> None:
    assert "saw no work of the GPU" in read_trace(a_trace()).why_unfit
    only_launches = [one for one in LAUNCHED if one["cat"].startswith("cuda")]
    assert "saw no work of the GPU" in read_trace(a_trace(*only_launches)).why_unfit


def test_a_trace_that_lost_events_says_so() -> None:
    launches = [event("cuda_runtime", "cudaLaunchKernel", 10 * n, 1, n) for n in range(100)]
    kernels = [event("kernel", "k", 10 * n, 1, n) for n in range(100)]
    assert read_trace(a_trace(*launches, *kernels)).why_unfit == ""
    assert read_trace(a_trace(*launches, *kernels[:98])).why_unfit == ""
    assert "lost the work of 3 of 100 launches" in read_trace(a_trace(*launches, *kernels[:97])).why_unfit
    # A graph has many kernels, and a function of the host has none.
    graph = [event("cuda_runtime", "cudaGraphLaunch", 0, 1, 5), event("cuda_runtime", "cudaLaunchHostFunc", 0, 1, 6)]
    assert read_trace(a_trace(*graph, *[event("kernel", "k", n, 1, 5) for n in range(9)])).unseen == 0


@pytest.mark.parametrize("name", ["cudaMemcpyAsync", "cudaMemsetAsync", "cuMemcpyDtoHAsync_v2", "cuMemsetD32Async"])
def test_copies_and_fills_that_are_lost_are_told(name: str) -> None:
    lost = [event("cuda_runtime", name, 600 + n, 1, 10 + n) for n in range(50)]
    assert "lost the work of 50 of 53 launches" in read_trace(a_trace(*LAUNCHED, *lost)).why_unfit
    # A node of a graph that is recorded copies nothing yet.
    assert read_trace(a_trace(*LAUNCHED, event("cuda_runtime", "cudaGraphAddMemcpyNode", 1, 1, 9))).unseen == 0


def test_calls_of_python_are_counted_to_a_limit() -> None:
    calls = 0

    def called() -> None:
        nonlocal calls
        calls += 1

    def many(count: int) -> None:
        for _ in range(count):
            called()

    before = sys.getprofile()
    assert python_calls(lambda: many(1000), 5000) in range(1002, 1006)
    assert python_calls(lambda: many(1000), 100) == 101
    assert calls == 2000
    assert sys.getprofile() is before


def test_an_event_without_its_time_is_an_error() -> None:
    for wrong in ({"dur": -1.0}, {"dur": None}, {"dur": float("nan")}):
        with pytest.raises((ValueError, TypeError)):
            read_trace(a_trace({**event("kernel", "k", 0, 1, 1), **wrong}))


def test_python_functions_are_those_of_the_thread_of_the_window() -> None:
    seen = read_trace(
        a_trace(
            *LAUNCHED,
            event("user_annotation", WINDOW, 50, 600),
            event("gpu_user_annotation", WINDOW, 100, 400, tid=7),
            event("python_function", "/home/ann/model.py(3): forward", 60, 500),
            event("python_function", "nn.Module: Conv2d_0", 60, 500),
            event("python_function", "loader.py(3): decode", 0, 1000, tid=2),
        )
    )
    assert seen.window == (50, 650)
    assert seen.calls == [HostEvent("model.py:3 forward", 60, 560)]


def test_torchs_own_trace_is_read() -> None:
    """On a CPU it has no work of a GPU, but the window and the Python functions are those of a real trace."""

    def sleeper() -> None:
        time.sleep(0.03)
        torch.ones(3).add(1)

    seen = read_trace(traces._recorded(sleeper, python=True))
    assert seen.window is not None
    assert seen.window[1] - seen.window[0] >= 30_000
    [call] = [one for one in seen.calls if one.function.endswith(" sleeper")]
    assert call.function.rpartition("/")[2].startswith("test_trace.py:")
    assert 30_000 <= call.end_us - call.start_us <= seen.window[1] - seen.window[0]
    if not torch.cuda.is_available():
        assert "saw no work of the GPU" in seen.why_unfit
