"""Tests of masks without overlap on their runs, against pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bench.evaluation import overlaps
from bench.evaluation.overlaps import complement, without_overlap


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def scene(kind: str) -> list[np.ndarray]:
    """Give masks of 30 x 50 pixels by falling score."""
    rng = np.random.default_rng(len(kind))
    if kind == "noise":
        return [rng.random((30, 50)) < share for share in (0.3, 0.5, 0.9, 0.1)]
    if kind == "whole image":
        return [np.zeros((30, 50), bool), np.ones((30, 50), bool), np.ones((30, 50), bool), np.eye(30, 50) > 0]
    made = []
    for _ in range(12):
        mask = np.zeros((30, 50), bool)
        top, left, height, width = rng.integers(0, (25, 45, 12, 20))
        mask[top : top + height, left : left + width] = True
        made.append(mask)
    corner = np.zeros((30, 50), bool)
    corner[0, 0] = corner[-1, -1] = True
    return [*made, corner, corner]


@pytest.mark.parametrize("kind", ["boxes", "noise", "whole image"])
@pytest.mark.parametrize("library", ["hotcoco", "pycocotools"])
def test_each_pixel_goes_to_the_first_mask(kind: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "pycocotools":
        monkeypatch.setattr(overlaps, "mask_library", lambda: coco_mask)
    masks = scene(kind)
    taken = np.zeros((30, 50), bool)
    wanted = []
    for mask in masks:
        wanted.append(rle_of(mask & ~taken))
        taken |= mask
    given = [rle_of(mask) for mask in masks]
    apart = without_overlap(given)
    assert apart == wanted
    kept = [after is before for before, after in zip(given, apart, strict=True)]
    assert kept == [before == after for before, after in zip(given, wanted, strict=True)]
    assert without_overlap([]) == []


def test_masks_with_runs_of_no_pixel() -> None:
    """Counts 2 0 0 4, 0 0 2 4 and 0 0 0 6 of an image of two by three; the last covers all of it."""
    given = [{"size": [2, 3], "counts": counts} for counts in ("2004", "0024", "0006")]
    decoded = [coco_mask.decode(rle).astype(bool) for rle in given]
    taken = np.zeros((2, 3), bool)
    for mask, after in zip(decoded, without_overlap(given), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(after), mask & ~taken)
        taken |= mask


@pytest.mark.parametrize("kind", ["boxes", "noise", "whole image"])
def test_the_complement_is_that_of_the_pixels(kind: str) -> None:
    for mask in scene(kind):
        assert complement(rle_of(mask)["counts"]) == rle_of(~mask)["counts"]
        assert complement(rle_of(~mask)["counts"]) == rle_of(mask)["counts"]


@pytest.mark.parametrize(
    "runs", [[6], [0, 6], [2, 4], [0, 2, 4], [900, 4, 96], [0, 900, 4, 96], [1, 70, 2000, 3, 1, 9]]
)
def test_the_complement_of_literal_runs(runs: list[int]) -> None:
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).reshape(-1, 1)
    assert complement(rle_of(pixels)["counts"]) == rle_of(1 - pixels)["counts"]
