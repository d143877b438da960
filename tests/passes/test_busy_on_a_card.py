"""Test the busy pass on a card, with a predictor whose share is known; skipped where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.passes.busy import PASS
from bench.predictor import Settings
from bench.schema.facts import gpu_busy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

BATCH_MS = 40.0
CALIBRATED_CYCLES = 20_000_000


def cycles_of_a_millisecond() -> float:
    """Give the cycles of ``torch.cuda._sleep`` that take 1 ms, by events."""
    times = []
    for _ in range(5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        torch.cuda._sleep(CALIBRATED_CYCLES)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return CALIBRATED_CYCLES / min(times)


class HalfBusy(Blobs):
    """Lets the host sleep, and then the GPU work, for known times."""

    host_ms = gpu_ms = 0.0
    cycles = 0

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        began = time.perf_counter()
        while time.perf_counter() - began < self.host_ms / 1000:  # time.sleep would wake up late
            pass
        torch.cuda._sleep(self.cycles)
        return super().forward(batch)


@pytest.mark.parametrize("percent", [20, 50, 90])
def test_the_share_of_a_known_predictor_within_3_points(
    percent: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(tmp_path / "0.png")
    records = (ImageRecord(0, tmp_path / "0.png", 20, 30),) * 10
    dataset = CocoDataset("d", tmp_path / "a.json", records, 1, (), [], "")
    device = torch.device("cuda:0")
    model = HalfBusy(Settings(device))
    model.host_ms = BATCH_MS * (1 - percent / 100)
    model.cycles = round(cycles_of_a_millisecond() * BATCH_MS * percent / 100)
    context = replace(context_of(model, dataset), device=device)
    result = PASS.measure(context)
    assert result is not None, context.result.notes
    share = gpu_busy(result)
    assert share is not None
    record_property("gpu_busy_points_off", round(100 * share - percent, 2))
    assert 100 * share == pytest.approx(percent, abs=3)
    assert result.busy_ms / result.batches == pytest.approx(BATCH_MS * percent / 100, rel=0.05)
    assert result.kernels >= 2 * result.batches
    assert result.copies >= result.batches
    assert result.most[0].count == result.batches
    if percent < 90:
        longest = result.gaps[0]
        assert longest.milliseconds >= 0.95 * model.host_ms
        assert longest.function is not None
        assert "forward" in longest.function
