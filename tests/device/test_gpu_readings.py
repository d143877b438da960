"""Test readings of a GPU, throttled batches and energy against a fake NVML."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context_of
from fake_nvml import UUID, FakeNvml
from PIL import Image
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device.gpu import INTERVAL_SECONDS, Gpu
from bench.passes import energy, speed
from bench.predictor import Settings
from bench.schema.config import BenchConfig, ProtocolConfig

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    path = tmp_path / "0.png"
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(path)
    return CocoDataset("d", tmp_path / "a.json", (ImageRecord(0, path, 20, 30),), 1, (), [], "")


def model(delay_ms: float) -> Blobs:
    return Blobs(Settings(CPU), delay_ms=delay_ms)


def config(**protocol: float) -> BenchConfig:
    given = {"rounds": 1, "warmup_batches": 0, "min_samples": 8, "precision": 10.0, "max_seconds": 20.0, **protocol}
    return BenchConfig(protocol=ProtocolConfig(**given))  # type: ignore[arg-type]


def test_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(reasons=0x1 | 0x4 | 0x40, watts=412.5))
    reading = Gpu(UUID).read()
    assert (reading.sm_clock_mhz, reading.memory_clock_mhz, reading.temperature_celsius) == (345, 2619, 41)
    assert reading.power_watts == 412.5
    assert reading.throttled == ("power cap", "heat (hardware)")  # idle is no reason to mistrust a figure


def test_what_the_gpu_refuses_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = (
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetTotalEnergyConsumption",
    )
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(refuse=refuse))
    gpu = Gpu(UUID)
    assert (gpu.read().power_watts, gpu.read().throttled, gpu.energy_joules()) == (None, (), None)
    assert gpu.read().sm_clock_mhz == 345


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Gpu.of(CPU) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpu.of(torch.device("cuda:0")) is None


def test_throttled_batches_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset) -> None:
    """A batch takes three times 40 ms, so that each has a reading of its own; two of eight are throttled."""
    reasons = itertools.chain([0, 0, 0x20, 0x20 | 0x4], itertools.repeat(0))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(reasons))
    assert INTERVAL_SECONDS < 0.12
    result = speed.PASS.measure(context_of(model(40), dataset, config(), gpu=Gpu(UUID)))
    [only] = result.rounds
    assert only.samples == len(result.model.latency_ms) == len(result.network.latency_ms) == 6
    assert len(result.detections_per_image) == len(result.image_sizes) == len(result.input_sizes) == 6
    assert only.gpu is not None
    assert (only.gpu.dropped_batches, only.gpu.kept_throttled) == (2, False)
    assert only.gpu.throttled == {"heat (software)": 2, "power cap": 1}
    assert only.gpu.sm_clock_mhz == [345] * 8


def test_a_gpu_that_is_always_throttled_keeps_its_samples_and_says_so(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(0x4))
    result = speed.PASS.measure(context_of(model(1), dataset, config(), gpu=Gpu(UUID)))
    [only] = result.rounds
    assert only.samples == len(result.model.latency_ms) == 8
    assert only.gpu is not None
    assert (only.gpu.dropped_batches, only.gpu.kept_throttled) == (0, True)


def test_energy_is_power_times_time(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset) -> None:
    """A GPU of constant 300 W and a model of 20 ms take 6 J an image, and some more for the loop."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(watts=300.0))
    began = time.perf_counter()
    result = energy.PASS.measure(context_of(model(20), dataset, config(energy_seconds=0.5), gpu=Gpu(UUID)))
    assert result is not None
    assert result.energy_joules == pytest.approx(300 * result.window_seconds, rel=0.1)
    assert 0.5 <= result.window_seconds < time.perf_counter() - began
    assert 1 <= result.images <= 32, "25 have time, and the lap of 8 that the 25th is in is made whole"
    assert result.energy_joules / result.images >= 6
    assert result.images % energy.PREPARED == 0, "whole laps, so that rows of other speed draw for the same images"


def test_no_counter_no_energy(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(refuse=("nvmlDeviceGetTotalEnergyConsumption",)))
    assert energy.PASS.measure(context_of(model(1), dataset, config(), gpu=Gpu(UUID))) is None
    assert energy.PASS.measure(context_of(model(1), dataset, config(), gpu=None)) is None
