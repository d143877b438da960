"""Test the memory of a GPU, as a fake NVML tells it."""

from __future__ import annotations

import os
import sys
import types

import pytest
import torch

from bench.device.gpu_memory import DeviceMemory


def fake_nvml(used: list[int], processes: list[tuple[int, int]], busy: int = 0) -> types.ModuleType:
    """Give a pynvml with one GPU: ``used`` bytes at each call, and (pid, bytes) of its processes."""
    module = types.ModuleType("pynvml")
    module.nvmlInit = lambda: None  # type: ignore[attr-defined]
    module.nvmlDeviceGetCount = lambda: 1  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByIndex = lambda i: "handle"  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByUUID = lambda uuid: {"GPU-1234": "handle"}[uuid]  # type: ignore[attr-defined]
    module.nvmlDeviceGetUUID = lambda handle: "GPU-1234"  # type: ignore[attr-defined]
    module.nvmlDeviceGetMemoryInfo = lambda handle: types.SimpleNamespace(used=used.pop(0))  # type: ignore[attr-defined]
    module.nvmlDeviceGetUtilizationRates = lambda handle: types.SimpleNamespace(gpu=busy)  # type: ignore[attr-defined]
    module.nvmlDeviceGetComputeRunningProcesses = lambda handle: [  # type: ignore[attr-defined]
        types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in processes
    ]
    return module


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([(os.getpid(), 900), (1, 5)], (900, "nvml_process")),
        ([(1, 900)], (250, "device_difference")),
        ([(os.getpid(), None)], (250, "device_difference")),
    ],
)
def test_device_memory_by_nvml(
    monkeypatch: pytest.MonkeyPatch, processes: list[tuple[int, int]], expected: tuple[int, str]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1000, 1250], processes))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    assert DeviceMemory().of_process(torch.device("cuda:0")) == expected


@pytest.mark.parametrize(
    ("used", "busy", "words"),
    [
        (600_000_000, 0, None),
        (7_340_000_000, 3, "7.3 GB of its memory taken, 3 % of the time busy"),
        (600_000_000, 98, "0.6 GB of its memory taken, 98 % of the time busy"),
    ],
)
def test_a_gpu_in_use_by_others(monkeypatch: pytest.MonkeyPatch, used: int, busy: int, words: str | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([used], [], busy))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    sentence = DeviceMemory().use_by_others(torch.device("cuda:0"))
    assert sentence is None if words is None else words in (sentence or "")
    assert DeviceMemory().use_by_others(torch.device("cpu")) is None


def test_no_nvml_leaves_the_figure_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert DeviceMemory().of_process(torch.device("cuda:0")) == (None, None)


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetHandleByUUID"])
def test_an_nvml_that_refuses_leaves_the_figure_empty(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Insufficient Permissions")

    nvml = fake_nvml([9_000_000_000] * 4, [])
    setattr(nvml, refused, refuse)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    assert DeviceMemory().of_process(torch.device("cuda:0")) == (None, None)
