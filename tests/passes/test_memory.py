"""Compares the memory pass with a need that is known in bytes."""

from __future__ import annotations

import os
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
from bench.passes.memory import PASS
from bench.predictor import Settings

CPU = torch.device("cpu")
NEED = 400_000_000


class Hungry(Blobs):
    """Touches exactly 400 MB for the largest image, and none for others."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        if images[0].shape[0] == 90:
            np.ones(NEED, np.uint8)
        return super().preprocess(images)


class HungryTensor(Blobs):
    """Touches the same amount in a torch tensor, in ``forward``."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        if batch[0].shape[0] == 90:
            torch.ones(NEED, dtype=torch.uint8)
        return super().forward(batch)


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """Make twelve images; the pass looks at ten, and must not miss the largest."""
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
