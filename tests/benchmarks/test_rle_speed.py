"""Compression of 100 masks of 640x480 on one core, beside pycocotools one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from bench.rle import masks_to_rle


@pytest.fixture
def masks() -> Iterator[torch.Tensor]:
    """Wavy ellipses of 20 to 480 pixels across, as objects are; one torch thread."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    stack = np.empty((100, 480, 640), bool)
    for mask in stack:
        radii, centre = rng.uniform(10, (160, 240)), rng.uniform(0, (480, 640))
        distance = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2
        mask[:] = distance + 0.1 * np.sin(x / 5) < 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.from_numpy(stack)
    torch.set_num_threads(threads)


def one_by_one(masks: torch.Tensor) -> list[bytes]:
    return [coco_mask.encode(np.asfortranarray(mask.numpy().view(np.uint8)))["counts"] for mask in masks]


def test_four_times_faster_than_one_by_one(masks: torch.Tensor) -> None:
    """The fastest of each is compared, runs in a row, since each leaves the other a cold cache. On a machine that has
    other work the fastest needs more runs to show: rounds go on until it does, or half a minute is over."""
    fastest = {masks_to_rle: float("inf"), one_by_one: float("inf")}
    deadline = time.monotonic() + 30
    while 4 * fastest[masks_to_rle] >= fastest[one_by_one] and time.monotonic() < deadline:
        for encode in fastest:
            for _ in range(5):
                start = time.perf_counter()
                encode(masks)
                fastest[encode] = min(fastest[encode], time.perf_counter() - start)
    ratio = fastest[one_by_one] / fastest[masks_to_rle]
    assert ratio >= 4, f"{ratio:.1f} times as fast as pycocotools"
    assert [r["counts"].encode() for r in masks_to_rle(masks)] == one_by_one(masks)


@pytest.mark.benchmark(group="100 masks 640x480 to RLE")
@pytest.mark.parametrize("encode", [masks_to_rle, one_by_one], ids=["maskbench", "pycocotools"])
def test_time(benchmark: object, masks: torch.Tensor, encode: object) -> None:
    benchmark(encode, masks)  # type: ignore[operator]
