"""The timing pass on models whose true times are known."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_models import Blobs

from bench.config import BenchConfig, ProtocolConfig
from bench.dataset import CocoDataset, ImageRecord
from bench.predictor import Instances, Settings
from bench.runner import Runner
from bench.speed import Clock, MaskFunctionTimer, measure

CPU = torch.device("cpu")


def nap(milliseconds: float) -> None:
    time.sleep(milliseconds / 1000)


class Naps(Blobs):
    """Sleeps 5 ms in preprocess, 10 ms in forward, 20 ms in postprocess."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        nap(5)
        return super().preprocess(images)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        nap(10)
        return super().forward(batch)

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        nap(20)
        return super().postprocess(raw)


class PastesInside(Naps):
    """Makes its masks inside forward, in a function of its "library"."""

    mask_functions = ("test_speed_library:Head.paste",)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        sys.modules["test_speed_library"].Head().paste(7)
        return super().forward(batch)


@pytest.fixture
def library() -> types.ModuleType:
    """A module with a class whose method sleeps 30 ms."""
    module = types.ModuleType("test_speed_library")

    class Head:
        def paste(self, value: int) -> int:
            nap(30)
            return value

        @staticmethod
        def still(value: int) -> int:
            nap(15)
            return value

    module.Head = Head  # type: ignore[attr-defined]
    sys.modules["test_speed_library"] = module
    return module


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    records = []
    for i, (height, width) in enumerate([(20, 30), (40, 20), (25, 25)]):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((height, width, 3), i, np.uint8)).save(path)
        records.append(ImageRecord(i, path, height, width))
    return CocoDataset("d", tmp_path / "a.json", tuple(records), 3, (), [], "")


def config(batch_size: int = 1) -> BenchConfig:
    protocol = ProtocolConfig(warmup_batches=1, min_images=8, min_seconds=0.0, max_seconds=20.0)
    return BenchConfig(protocol=protocol, batch_size=batch_size)


def quiet(*_: object) -> None:
    """Progress that nobody watches."""


def test_boundaries_and_stages_hold_what_they_should(dataset: CocoDataset) -> None:
    speed = measure(Runner(Naps(Settings(CPU)), CPU, "fp32"), dataset, config(), CPU, quiet)
    # Sleeps never end early; the median stays within 5 ms of what was slept on any machine that is not swamped.
    for timing, slept in (
        (speed.model, 30),
        (speed.end_to_end, 35),
        (speed.preprocess, 5),
        (speed.network, 10),
        (speed.postprocess, 20),
    ):
        assert min(timing.latency_ms) >= slept
        assert np.median(timing.latency_ms) < slept + 5
    assert len(speed.model.latency_ms) == 8
    assert speed.image_sizes[:4] == [[20, 30], [40, 20], [25, 25], [20, 30]]
    assert speed.input_sizes == speed.image_sizes


def test_batches_count_images(dataset: CocoDataset) -> None:
    speed = measure(Runner(Naps(Settings(CPU)), CPU, "fp32"), dataset, config(batch_size=2), CPU, quiet)
    assert len(speed.model.latency_ms) == 4
    assert len(speed.detections_per_image) == 8


def test_mask_functions_inside_forward_count_as_postprocess(dataset: CocoDataset, library: types.ModuleType) -> None:
    original = vars(library.Head)["paste"]
    speed = measure(Runner(PastesInside(Settings(CPU)), CPU, "fp32"), dataset, config(), CPU, quiet)
    assert np.median(speed.network.latency_ms) == pytest.approx(10, abs=5)
    assert np.median(speed.postprocess.latency_ms) == pytest.approx(50, abs=8)
    assert np.median(speed.model.latency_ms) == pytest.approx(60, abs=8)
    assert vars(library.Head)["paste"] is original


def test_a_static_method_stays_one(library: types.ModuleType) -> None:
    with MaskFunctionTimer(["test_speed_library:Head.still"], Clock(CPU)) as timer:
        assert library.Head.still(3) == 3
        assert library.Head().still(4) == 4
    assert timer.spent_ms == pytest.approx(30, abs=8)
    assert isinstance(vars(library.Head)["still"], staticmethod)


def test_max_seconds_ends_a_slow_boundary(dataset: CocoDataset) -> None:
    slow = config()
    slow.protocol = ProtocolConfig(warmup_batches=0, min_images=10_000, min_seconds=0.0, max_seconds=0.5)
    began = time.monotonic()
    speed = measure(Runner(Naps(Settings(CPU)), CPU, "fp32"), dataset, slow, CPU, quiet)
    assert time.monotonic() - began < 5
    assert 5 <= len(speed.model.latency_ms) <= 17
