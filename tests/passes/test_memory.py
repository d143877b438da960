"""The memory pass: a need that is known in bytes, and what NVML says, from a fake NVML."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device.gpu_memory import DeviceMemory
from bench.passes.memory import PASS
from bench.predictor import Settings

CPU = torch.device("cpu")
NEED = 400_000_000


class Hungry(Blobs):
    """Touches exactly 400 MB for the largest image alone."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        if images[0].shape[0] == 90:
            np.ones(NEED, np.uint8)
        return super().preprocess(images)


class HungryTensor(Blobs):
    """The same of torch, in ``forward``."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        if batch[0].shape[0] == 90:
            torch.ones(NEED, dtype=torch.uint8)
        return super().forward(batch)


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """Twelve images; the pass looks at ten, and must not miss the largest."""
    records = []
    for i in range(12):
        height = 90 if i == 11 else 20
        Image.fromarray(np.zeros((height, 30, 3), np.uint8)).save(tmp_path / f"{i}.png")
        records.append(ImageRecord(i, tmp_path / f"{i}.png", height, 30))
    return CocoDataset("d", tmp_path / "a.json", tuple(records), 12, (), [], "")


def peak(predictor: Blobs, dataset: CocoDataset) -> int:
    result = PASS.measure(context_of(predictor, dataset))
    assert result.peak_allocated_bytes is None
    assert result.process_device_bytes is None
    assert result.host_rss_bytes is not None
    return result.host_rss_bytes


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the kernel's peak cannot be reset here")
@pytest.mark.parametrize("hungry", [Hungry, HungryTensor])
def test_host_peak_is_the_need_of_the_largest_image_within_2_percent(hungry: type[Blobs], dataset: CocoDataset) -> None:
    plain = peak(Blobs(Settings(CPU)), dataset)
    assert peak(hungry(Settings(CPU)), dataset) - plain == pytest.approx(NEED, rel=0.02)
    again = peak(Blobs(Settings(CPU)), dataset)  # the peak of an earlier pass is not counted again
    assert again - plain == pytest.approx(0, abs=0.02 * NEED)


def fake_nvml(used: list[int], processes: list[tuple[int, int]], busy: int = 0) -> types.ModuleType:
    """A pynvml of one GPU: ``used`` bytes by call, (pid, bytes) of its processes."""
    module = types.ModuleType("pynvml")
    module.nvmlInit = lambda: None  # type: ignore[attr-defined]
    module.nvmlDeviceGetCount = lambda: 1  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByIndex = lambda i: "card"  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByUUID = lambda uuid: {"GPU-1234": "card"}[uuid]  # type: ignore[attr-defined]
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
def test_a_card_in_use_by_others(monkeypatch: pytest.MonkeyPatch, used: int, busy: int, words: str | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([used], [], busy))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    found = DeviceMemory().use_by_others(torch.device("cuda:0"))
    assert found is None if words is None else words in (found or "")
    assert DeviceMemory().use_by_others(CPU) is None


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
