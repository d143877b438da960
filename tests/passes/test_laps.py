"""Test which images the speed pass goes round, and when it has been round them."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from typing import Any

import pytest

from bench.passes.laps import batches_of_a_lap, timed_images
from bench.schema.config import ProtocolConfig


@pytest.mark.parametrize(
    ("protocol", "on_a_gpu", "count"),
    [
        ({}, False, 10),
        ({}, True, 50),
        ({"min_samples": 31, "rounds": 7}, False, 10),
        ({"timed_images": 7}, True, 7),
        ({"timed_images": 1000}, False, 100),
    ],
)
def test_how_many(protocol: dict[str, Any], on_a_gpu: bool, count: int) -> None:
    chosen = timed_images(range(100), ProtocolConfig(**protocol), on_a_gpu)
    assert len(chosen) == len(set(chosen)) == count


def test_they_are_spread_over_the_data_set() -> None:
    ten = ProtocolConfig(timed_images=10)
    assert timed_images(range(100), ten, False) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert timed_images("abc", ten, False) == ["a", "b", "c"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 10, 16])
@pytest.mark.parametrize("images", [1, 3, 10, 50])
def test_a_lap_has_every_image_equally_often_and_no_shorter_one_has(images: int, batch_size: int) -> None:
    lap = batches_of_a_lap(images, batch_size)

    def counts(batches: int) -> set[int]:
        seen = Counter(islice(cycle(range(images)), batches * batch_size))
        return {seen[image] for image in range(images)}

    assert len(counts(lap)) == 1
    assert all(len(counts(shorter)) > 1 for shorter in range(1, lap))
